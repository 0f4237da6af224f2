import * as tf from '@tensorflow/tfjs';
import type { ControlNetOutput } from './controlnet_output.js';
import type { Model } from './model.js';
import type { SD3ControlNetOutput } from './sd3_controlnet.js';
import { SeveralModels } from './several_models.js';

/** What they give, by name. */
type Output = ControlNetOutput | SD3ControlNetOutput;

/** Several ControlNets of a kind that steer together: what they give is added up. */
export abstract class SeveralControlNets<N extends Model<unknown>> extends SeveralModels<N> {
  /** @throws TypeError for none. */
  constructor(readonly nets: readonly N[]) {
    super('nets', nets);
    if (nets.length === 0) throw new TypeError('controlnet: got an empty list, takes at least one');
  }

  /** What those give whose scale is not 0, as `run` runs them; undefined if there are none. */
  protected sum<O extends Output>(
    run: (net: N, i: number, conditioningScale: number) => O, scales: readonly number[] = this.nets.map(() => 1),
  ): O | undefined {
    let sum: O | undefined;
    this.nets.forEach((net, i) => {
      if (scales[i] === 0) return;
      const one = run(net, i, scales[i]);
      sum = sum ? addUp(sum, one) : one;
    });
    return sum;
  }
}

/** The sum of what two gave, which are taken over. */
function addUp<O extends Output>(a: O, b: O): O {
  const others = new Map<string, tf.Tensor | tf.Tensor[]>(Object.entries(b));
  const sums = Object.entries<tf.Tensor | tf.Tensor[]>(a).map(([name, one]) => {
    const other = others.get(name)!;
    return [name, Array.isArray(one) ? one.map((state, i) => tf.add(state, (other as tf.Tensor[])[i])) : tf.add(one, other as tf.Tensor)];
  });
  tf.dispose([a, b]);
  return Object.fromEntries(sums) as O;
}
