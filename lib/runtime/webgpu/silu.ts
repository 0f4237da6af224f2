import type { Kernel } from './program.js';

/** x * sigmoid(x) */
export const SILU: Kernel = {
  key: 'silu', inputs: ['x'], numbers: ['elements'], code: () => `
  fn main(index: i32) {
    if (index < uniforms.elements) { result[index] = x[index] / (1.0 + exp(-x[index])); }
  }`,
};
