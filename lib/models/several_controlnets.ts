import * as tf from '@tensorflow/tfjs';
import type { ControlPath } from './control_path.js';
import type { ControlNetOutput } from './controlnet_output.js';
import { SeveralModels } from './several_models.js';

/** Several ControlNets of a kind that steer together: what they give is added up. */
export abstract class SeveralControlNets<N extends ControlPath> extends SeveralModels<N> {
  /** @throws TypeError for none. */
  constructor(readonly nets: readonly N[]) {
    super('nets', nets);
    if (nets.length === 0) throw new TypeError('controlnet: got an empty list, takes at least one');
  }

  /** What those give whose scale is not 0, as `run` runs them; undefined if there are none. */
  protected sum(
    run: (net: N, i: number, conditioningScale: number) => ControlNetOutput, scales: readonly number[] = this.nets.map(() => 1),
  ): ControlNetOutput | undefined {
    let sum: ControlNetOutput | undefined;
    this.nets.forEach((net, i) => {
      if (scales[i] === 0) return;
      const one = run(net, i, scales[i]);
      sum = sum ? addUp(sum, one) : one;
    });
    return sum;
  }
}

function addUp(a: ControlNetOutput, b: ControlNetOutput): ControlNetOutput {
  const down = a.downBlockResSamples.map((state, i) => tf.add(state, b.downBlockResSamples[i]));
  const mid = tf.add(a.midBlockResSample, b.midBlockResSample);
  tf.dispose([a, b]);
  return { downBlockResSamples: down, midBlockResSample: mid };
}
