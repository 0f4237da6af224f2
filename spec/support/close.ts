import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';

/** Values with a shape: a tensor, or what a golden file holds. */
export interface Values {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

/** Asserts the same shape, no NaN, and |actual - expected| <= atol + rtol * |expected| everywhere; the worst element names itself. */
export function expectClose(actual: tf.Tensor | Values, expected: Values, { atol = 1e-5, rtol = 1e-5 } = {}): void {
  assert.deepEqual([...actual.shape], [...expected.shape], 'shape');
  const data = actual instanceof tf.Tensor ? actual.dataSync() : actual.data;
  let worst = 0;
  let at = -1;
  for (let i = 0; i < expected.data.length; i++) {
    const excess = Math.abs(data[i] - expected.data[i]) / (atol + rtol * Math.abs(expected.data[i]));
    if (!(excess <= worst)) [worst, at] = [excess, i];
    if (Number.isNaN(excess)) break;
  }
  assert.ok(worst <= 1, `worst at ${at}: got ${data[at]}, expected ${expected.data[at]} (atol ${atol}, rtol ${rtol})`);
}

/** As expectClose, of a tensor whose values it waits for: WebGPU in Node gives them no other way. */
export async function expectValues(actual: tf.Tensor, expected: Values, tolerance?: { atol?: number; rtol?: number }): Promise<void> {
  expectClose({ shape: actual.shape, data: await actual.data() }, expected, tolerance);
}
