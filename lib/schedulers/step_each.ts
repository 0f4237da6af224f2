import * as tf from '@tensorflow/tfjs';
import { show } from '../core/checks.js';

/** `step` for each sample of a batch with its own timestep and output. @throws RangeError unless there are as many timesteps as samples. */
export function stepEach(
  name: string, timesteps: readonly number[], modelOutput: tf.Tensor, sample: tf.Tensor,
  step: (timestep: number, modelOutput: tf.Tensor, sample: tf.Tensor) => tf.Tensor,
): tf.Tensor {
  const [batch] = sample.shape;
  if (timesteps.length !== batch) throw new RangeError(`${name}: got ${show(timesteps)}, takes ${batch}, one per sample`);
  return tf.tidy(() => {
    const [outputs, samples] = [modelOutput, sample].map(x => tf.split(x, batch));
    return tf.concat(timesteps.map((timestep, i) => step(timestep, outputs[i], samples[i])));
  });
}
