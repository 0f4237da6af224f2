import type { TensorInfo } from '@tensorflow/tfjs';
import { bandsOf, bytesOfRow, rowsToAlign, samplesAlign, type Band } from './bands.js';
import { totalCode, WORKGROUP, type Kernel } from './program.js';

/** Elements of a group that one workgroup goes over: a large group is shared by several. */
const ELEMENTS = 8192;
const MOST_PARTS = 64;

/** In how many parts workgroups share a group, and of how many pixels each is; aligned, so that bands of parts can be bound. */
export function partsOf(
  { pixels, channels, groups }: Pick<GroupNumbers, 'pixels' | 'channels' | 'groups'>,
): Pick<GroupNumbers, 'parts' | 'chunk'> {
  const wanted = Math.max(1, Math.min(MOST_PARTS, Math.ceil(pixels * channels / groups / ELEMENTS)));
  const step = rowsToAlign(4 * channels);
  const chunk = Math.ceil(pixels / wanted / step) * step;
  return { parts: Math.ceil(pixels / chunk), chunk };
}

/** What both kernels are told besides their inputs. */
export interface GroupNumbers {
  readonly batch: number;
  readonly pixels: number;
  readonly channels: number;
  readonly groups: number;
  readonly parts: number;
  readonly chunk: number;
  /** Rows of what is added to the pixels before: one for all samples or one for each. */
  readonly shifts: number;
}

/**
 * A row is a group of a sample. Bound are `bound` of the `pixels` of some samples, in parts of `chunk` pixels, of which the first is
 * `firstPart` of its row.
 */
const NUMBERS = ['rows', 'firstRow', 'bound', 'firstPart', 'pixels', 'channels', 'groups', 'parts', 'chunk', 'shifts'];

/** Some parts of a sample. */
export interface GroupBand {
  readonly sample: number;
  readonly band: Band;
}

/** Parts of each sample that the device can bind; undefined for everything, where that fits. */
export function groupBands(device: GPUDevice, x: TensorInfo, { batch, pixels, parts, chunk }: GroupNumbers): Array<GroupBand | undefined> {
  if (bytesOfRow(x, 1) <= device.limits.maxStorageBufferBindingSize || !samplesAlign(batch, x)) return [undefined];
  const bands = bandsOf(device, parts, [chunk * bytesOfRow(x, batch * pixels)]);
  return Array.from({ length: batch }, (_, sample) => bands.map(band => ({ sample, band }))).flat();
}

/** The numbers for parts of one sample, or for all parts of all samples. */
export function groupNumbers({ batch, pixels, channels, groups, parts, chunk, shifts }: GroupNumbers, only?: GroupBand): number[] {
  const { sample = 0, band = { first: 0, count: parts } } = only ?? {};
  const bound = Math.min(pixels, (band.first + band.count) * chunk) - band.first * chunk;
  return [(only ? 1 : batch) * groups, sample * groups, bound, band.first, pixels, channels, groups, parts, chunk, shifts];
}

/** What a workgroup works on: some pixels of a row, at the row's channels, from `base` on. */
const place = (shifted: boolean) => `
    let parts = (uniforms.bound + uniforms.chunk - 1) / uniforms.chunk;
    let tile = min(index / ${WORKGROUP}, uniforms.rows * parts - 1);
    let row = tile / parts;
    let part = tile % parts;
    let per = uniforms.channels / uniforms.groups;
    let count = min(uniforms.chunk, uniforms.bound - part * uniforms.chunk) * per;
    let channel = row % uniforms.groups * per;
    let base = (row / uniforms.groups * uniforms.bound + part * uniforms.chunk) * uniforms.channels + channel;
    let moment = (uniforms.firstRow + row) * uniforms.parts;
    ${shifted ? 'let shifts = (uniforms.firstRow + row) / uniforms.groups % uniforms.shifts * uniforms.channels + channel;' : ''}`;

const EACH = `for (var i = i32(localIndex); i < count; i += ${WORKGROUP})`;
const AT = 'base + i / per * uniforms.channels + i % per';
const value = (shifted: boolean) => `x[${AT}]${shifted ? ' + shift[shifts + i % per]' : ''}`;

/** Mean of each part, and its squares about that mean, so that nothing cancels. */
export const groupMoments = ({ shifted, subgroups }: { shifted: boolean; subgroups: boolean }): Kernel => ({
  key: `group moments ${shifted} ${subgroups}`, features: subgroups ? ['subgroups'] : [], inputs: ['x', ...shifted ? ['shift'] : []],
  numbers: NUMBERS, code: () => `${totalCode(subgroups)}
  fn main(index: i32) {${place(shifted)}
    var sum = 0.0;
    ${EACH} { sum += ${value(shifted)}; }
    let mean = total(sum) / f32(count);
    var squares = 0.0;
    ${EACH} { let d = ${value(shifted)} - mean; squares += d * d; }
    let all = total(squares);
    if (localIndex == 0u) {
      let at = (moment + uniforms.firstPart + part) * 2;
      result[at] = mean;
      result[at + 1] = all;
    }
  }`,
});

/** Normalizes by the moments of the parts, added up as Chan et al. do (1979); then SiLU, if it is wanted. */
export const groupNormalize = ({ silu, shifted }: { silu: boolean; shifted: boolean }): Kernel => ({
  key: `group normalize ${silu} ${shifted}`, inputs: ['x', 'moments', 'weight', 'bias', ...shifted ? ['shift'] : []],
  numbers: NUMBERS, fractions: ['epsilon'], code: () => `
  fn main(index: i32) {${place(shifted)}
    var mean = 0.0; var squares = 0.0; var n = 0.0;
    for (var p = 0; p < uniforms.parts; p++) {
      let m = f32(min(uniforms.chunk, uniforms.pixels - p * uniforms.chunk) * per);
      let d = moments[(moment + p) * 2] - mean;
      let sum = n + m;
      mean += d * m / sum;
      squares += moments[(moment + p) * 2 + 1] + d * d * n * m / sum;
      n = sum;
    }
    let scale = inverseSqrt(squares / n + uniforms.epsilon);
    ${EACH} {
      let c = channel + i % per;
      let y = (${value(shifted)} - mean) * scale * weight[c] + bias[c];
      result[${AT}] = ${silu ? 'y / (1.0 + exp(-y))' : 'y'};
    }
  }`,
});
