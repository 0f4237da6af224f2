import { totalCode, WORKGROUP, type Kernel } from './program.js';

/**
 * A workgroup for each row: mean, then deviation from it, as the layer has it. `first` is how many rows lie before the first one, and of
 * `rowsOfWeight` each there are a weight and a bias.
 */
export const layerNorm = (subgroups: boolean): Kernel => ({
  key: `layer norm ${subgroups}`, features: subgroups ? ['subgroups'] : [], inputs: ['x', 'weight', 'bias'],
  numbers: ['rows', 'features', 'first', 'rowsOfWeight'], fractions: ['epsilon'],
  code: () => `${totalCode(subgroups)}
  fn main(index: i32) {
    let n = uniforms.features;
    let row = min(index / ${WORKGROUP}, uniforms.rows - 1);
    let base = row * n;
    let at = (uniforms.first + row) / uniforms.rowsOfWeight * n;
    var sum = 0.0;
    for (var i = i32(localIndex); i < n; i += ${WORKGROUP}) { sum += x[base + i]; }
    let mean = total(sum) / f32(n);
    var squares = 0.0;
    for (var i = i32(localIndex); i < n; i += ${WORKGROUP}) { let d = x[base + i] - mean; squares += d * d; }
    let scale = inverseSqrt(total(squares) / f32(n) + uniforms.epsilon);
    for (var i = i32(localIndex); i < n; i += ${WORKGROUP}) {
      result[base + i] = (x[base + i] - mean) * scale * weight[at + i] + bias[at + i];
    }
  }`,
});
