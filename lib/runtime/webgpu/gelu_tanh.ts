import { GELU_TANH } from '../../core/kernels.js';
import type { Kernel } from './program.js';

/** GELU by tanh, which is x times a sigmoid. */
export const GELU_BY_TANH: Kernel = {
  key: 'gelu tanh', inputs: ['x'], numbers: ['elements'], code: () => `
  fn main(index: i32) {
    if (index < uniforms.elements) {
      let v = x[index];
      result[index] = v / (1.0 + exp(-v * (${GELU_TANH.linear} + ${GELU_TANH.cubic} * v * v)));
    }
  }`,
};
