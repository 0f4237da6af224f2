import { totalCode, WORKGROUP, type Kernel } from './program.js';

/** A workgroup for each row: its mean square, then the row by that. */
export const rmsNorm = (subgroups: boolean): Kernel => ({
  key: `rms norm ${subgroups}`, features: subgroups ? ['subgroups'] : [], inputs: ['x', 'weight'],
  numbers: ['rows', 'features'], fractions: ['epsilon'],
  code: () => `${totalCode(subgroups)}
  fn main(index: i32) {
    let n = uniforms.features;
    let base = min(index / ${WORKGROUP}, uniforms.rows - 1) * n;
    var squares = 0.0;
    for (var i = i32(localIndex); i < n; i += ${WORKGROUP}) { squares += x[base + i] * x[base + i]; }
    let scale = inverseSqrt(total(squares) / f32(n) + uniforms.epsilon);
    for (var i = i32(localIndex); i < n; i += ${WORKGROUP}) { result[base + i] = x[base + i] * scale * weight[i]; }
  }`,
});
