import { totalCode, WORKGROUP, type Kernel } from './program.js';

/** Elements of a group that one workgroup goes over: a large group is shared by several. */
const ELEMENTS = 8192;
const MOST_PARTS = 64;

/** How many workgroups share a group of so many elements. */
export function partsOf(elements: number): number {
  return Math.max(1, Math.min(MOST_PARTS, Math.ceil(elements / ELEMENTS)));
}

const NUMBERS = ['rows', 'pixels', 'channels', 'groups', 'parts'];

/** A row is a group of a sample; a part of it some of its pixels. */
const PLACE = `
    let tile = min(index / ${WORKGROUP}, uniforms.rows * uniforms.parts - 1);
    let row = tile / uniforms.parts;
    let part = tile % uniforms.parts;
    let per = uniforms.channels / uniforms.groups;
    let chunk = (uniforms.pixels + uniforms.parts - 1) / uniforms.parts;
    let count = max(0, min(uniforms.pixels, (part + 1) * chunk) - part * chunk) * per;
    let base = (row / uniforms.groups * uniforms.pixels + part * chunk) * uniforms.channels + row % uniforms.groups * per;`;

/** Mean of each part, and its squares about that mean, so that nothing cancels. */
export const groupMoments = (subgroups: boolean): Kernel => ({
  key: `group moments ${subgroups}`, features: subgroups ? ['subgroups'] : [], inputs: ['x'], numbers: NUMBERS,
  code: () => `${totalCode(subgroups)}
  fn main(index: i32) {${PLACE}
    var sum = 0.0;
    for (var i = i32(localIndex); i < count; i += ${WORKGROUP}) { sum += x[base + i / per * uniforms.channels + i % per]; }
    let mean = total(sum) / max(1.0, f32(count));
    var squares = 0.0;
    for (var i = i32(localIndex); i < count; i += ${WORKGROUP}) {
      let d = x[base + i / per * uniforms.channels + i % per] - mean;
      squares += d * d;
    }
    let moment = total(squares);
    if (localIndex == 0u) { result[tile * 2] = mean; result[tile * 2 + 1] = moment; }
  }`,
});

/** Normalizes by the moments of the parts, added up as Chan et al. do (1979); then SiLU, if it is wanted. */
export const groupNormalize = (silu: boolean): Kernel => ({
  key: `group normalize${silu ? ' silu' : ''}`, inputs: ['x', 'moments', 'weight', 'bias'], numbers: NUMBERS, fractions: ['epsilon'],
  code: () => `
  fn main(index: i32) {${PLACE}
    var mean = 0.0; var moment = 0.0; var n = 0.0;
    for (var p = 0; p < uniforms.parts; p++) {
      let m = f32(max(0, min(uniforms.pixels, (p + 1) * chunk) - p * chunk) * per);
      if (m > 0.0) {
        let at = (row * uniforms.parts + p) * 2;
        let d = moments[at] - mean;
        let sum = n + m;
        mean += d * m / sum;
        moment += moments[at + 1] + d * d * n * m / sum;
        n = sum;
      }
    }
    let scale = inverseSqrt(moment / n + uniforms.epsilon);
    let first = row % uniforms.groups * per;
    for (var i = i32(localIndex); i < count; i += ${WORKGROUP}) {
      let at = base + i / per * uniforms.channels + i % per;
      let c = first + i % per;
      let y = (x[at] - mean) * scale * weight[c] + bias[c];
      result[at] = ${silu ? 'y / (1.0 + exp(-y))' : 'y'};
    }
  }`,
});
