import type { Kernel } from './program.js';

/** value * gelu(gate); the first half of the features is the value. erf by Abramowitz and Stegun 7.1.26, as tfjs has it, to 1.5e-7. */
export const GEGLU: Kernel = {
  key: 'geglu', inputs: ['x'], numbers: ['elements', 'features'], code: () => `
  fn errorFunction(v: f32) -> f32 {
    let a = abs(v);
    let t = 1.0 / (1.0 + 0.3275911 * a);
    return sign(v) * (1.0 - ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * exp(-a * a));
  }
  fn main(index: i32) {
    if (index < uniforms.elements) {
      let at = index / uniforms.features * uniforms.features * 2 + index % uniforms.features;
      let gate = x[at + uniforms.features];
      result[index] = x[at] * 0.5 * gate * (1.0 + errorFunction(gate * 0.7071067811865476));
    }
  }`,
};
