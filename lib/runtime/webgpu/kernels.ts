import * as tf from '@tensorflow/tfjs';
import type { KernelFunc, NamedAttrMap, NamedTensorInfoMap, TensorInfo } from '@tensorflow/tfjs';
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import type { Conv2dGeometry, GroupNormOptions, Kernels } from '../../core/kernels.js';
import { PackedTensor, type HalfFormat, type Operand, type PackedFormat, type Packing } from '../../core/packed_tensor.js';
import { attention, threadsOfQuery } from './attention.js';
import { bandsOf, inBands, inImageBands, withParts } from './bands.js';
import { GEGLU } from './geglu.js';
import { GELU_BY_TANH } from './gelu_tanh.js';
import { groupBands, groupMoments, groupNormalize, groupNumbers, partsOf } from './group_norm.js';
import { layerNorm } from './layer_norm.js';
import { appendOnHost, lookUpOnHost } from './look_up.js';
import { packWords, unpackWords } from './packed_words.js';
import { convolution, isOfHalves, kindOf, linearProduct, type WeightForm } from './product.js';
import { runKernel, WORKGROUP, type Kernel, type Run } from './program.js';
import { REPEAT_PIXELS } from './repeat_pixels.js';
import { rmsNorm } from './rms_norm.js';
import { SILU } from './silu.js';

/** tfjs's name for the backend. */
export const BACKEND = 'webgpu';

type Inputs = Record<string, TensorInfo>;
type Attributes = Record<string, unknown>;

/** How a kernel runs with a thread for each element, which is told how many there are, and what else it is told. */
function ofElements(elements: number, ...numbers: number[]): Pick<Run, 'workgroups' | 'numbers'> {
  return { workgroups: Math.ceil(elements / WORKGROUP), numbers: [elements, ...numbers] };
}

/** A kernel of `x` that takes each element by itself. */
function eachElement(kernel: Kernel): (inputs: Inputs, attrs: Attributes, backend: WebGPUBackend) => TensorInfo {
  return ({ x }, attrs, backend) => {
    void attrs;
    const rows = tf.util.sizeFromShape(x.shape) / x.shape.at(-1)!;
    return inBands(backend, { shape: x.shape, rows, tensors: { x } }, ({ x }, shape, result) =>
      runKernel(backend, kernel, { ...ofElements(tf.util.sizeFromShape([...shape])), shape, inputs: [x], result }));
  };
}

/** Each as a kernel of tfjs, which then frees what is made, and counts and times it as its own. */
const FUNCTIONS: Record<string, (inputs: Inputs, attrs: Attributes, backend: WebGPUBackend) => TensorInfo> = {
  NetworkGroupNorm({ x, weight, bias, shift }, attrs, backend) {
    const { groups, epsilon, silu } = attrs as unknown as GroupNormOptions;
    const [batch] = x.shape;
    const [channels] = weight.shape;
    const pixels = tf.util.sizeFromShape(x.shape) / batch / channels;
    const { parts, chunk } = partsOf({ pixels, channels, groups });
    const shifts = shift ? tf.util.sizeFromShape(shift.shape) / channels : 1;
    const numbers = { batch, pixels, channels, groups, parts, chunk, shifts };
    const [shifted, subgroups] = [shift !== undefined, hasSubgroups(backend)];
    const more = shift ? [shift] : [];
    const moments = backend.makeTensorInfo([batch * groups, parts, 2], 'float32');
    const y = backend.makeTensorInfo(x.shape, 'float32');
    withParts(backend, () => batch * pixels, partOf => {
      const runs = groupBands(backend.device, x, numbers).map(only => {
        const all = groupNumbers(numbers, only);
        const [rows, , bound] = all;
        const part = (x: TensorInfo) => only ? partOf(x, only.sample * pixels + only.band.first * chunk, [1, bound, channels]) : x;
        return { workgroups: rows * Math.ceil(bound / chunk), numbers: all, part };
      });
      for (const { part, ...run } of runs) {
        const inputs = [part(x), ...more];
        runKernel(backend, groupMoments({ shifted, subgroups }), { ...run, shape: moments.shape, inputs, result: moments });
      }
      for (const { part, ...run } of runs) {
        const [inputs, result] = [[part(x), moments, weight, bias, ...more], part(y)];
        runKernel(backend, groupNormalize({ silu, shifted }), { ...run, shape: result.shape, inputs, fractions: [epsilon], result });
      }
    });
    backend.disposeData(moments.dataId);
    return y;
  },

  NetworkLayerNorm({ x, weight, bias }, { epsilon }, backend) {
    const features = weight.shape.at(-1)!;
    const all = tf.util.sizeFromShape(x.shape) / features;
    const rowsOfWeight = all * features / tf.util.sizeFromShape(weight.shape);
    return inBands(backend, { shape: x.shape, rows: all, tensors: { x } }, ({ x }, shape, result, first = 0) => {
      const rows = tf.util.sizeFromShape(x.shape) / features;
      const run = { workgroups: rows, numbers: [rows, features, first, rowsOfWeight], fractions: [epsilon as number], result };
      return runKernel(backend, layerNorm(hasSubgroups(backend)), { ...run, shape, inputs: [x, weight, bias] });
    });
  },

  NetworkRmsNorm({ x, weight }, { epsilon }, backend) {
    const [features] = weight.shape;
    return inBands(backend, { shape: x.shape, rows: tf.util.sizeFromShape(x.shape) / features, tensors: { x } }, ({ x }, shape, result) => {
      const rows = tf.util.sizeFromShape(x.shape) / features;
      const run = { workgroups: rows, numbers: [rows, features], fractions: [epsilon as number], result };
      return runKernel(backend, rmsNorm(hasSubgroups(backend)), { ...run, shape, inputs: [x, weight] });
    });
  },

  NetworkSilu: eachElement(SILU),

  NetworkGeluTanh: eachElement(GELU_BY_TANH),

  NetworkGeglu({ x }, attrs, backend) {
    void attrs;
    const features = x.shape.at(-1)! / 2;
    const rows = tf.util.sizeFromShape(x.shape) / features / 2;
    return inBands(backend, { shape: [...x.shape.slice(0, -1), features], rows, tensors: { x } }, ({ x }, shape, result) =>
      runKernel(backend, GEGLU, { ...ofElements(tf.util.sizeFromShape([...shape]), features), shape, inputs: [x], result }));
  },

  NetworkAttention({ query, key, value, mask }, attrs, backend) {
    const heads = attrs.heads as number;
    const [batch, queries, features] = query.shape;
    const [, keys] = key.shape;
    const headSize = features / heads;
    const groups = batch * heads * Math.ceil(queries * threadsOfQuery(headSize)! / WORKGROUP);
    const halves = [query, key, value].every(isOfHalves);
    return runKernel(backend, attention({ headSize, masked: mask !== undefined, halves }), {
      shape: query.shape, workgroups: groups, inputs: [query, key, value, ...mask ? [mask] : []],
      numbers: [groups, heads, queries, keys], fractions: [1 / Math.sqrt(headSize)],
    });
  },

  NetworkLinear: (inputs, { weight }, backend) => linearProduct(backend, inputs, weight as WeightForm),

  NetworkConv2d: (inputs, { weight, stride, padding }, backend) =>
    convolution(backend, inputs, weight as WeightForm, { stride, padding } as Conv2dGeometry),

  NetworkRepeatPixels({ x }, { size }, backend) {
    const [batch, rows, width, channels] = x.shape;
    const shape = [batch, ...size as number[], channels];
    const bands = () => bandsOf(backend.device, rows, [4 * width * channels, 2 * 4 * shape[2] * channels]).map(({ first, count }) =>
      ({ first: 2 * first, count: Math.min(2 * count, shape[1] - 2 * first), begin: first, end: first + count }));
    return inImageBands(backend, { x, shape }, bands, ({ x }, shape, into) => {
      const run = ofElements(tf.util.sizeFromShape([...shape]) / 4); // four channels each
      return runKernel(backend, REPEAT_PIXELS, { ...run, shape, inputs: [x], result: into?.result });
    });
  },

  NetworkUnpack({ weight, scales, minimums }, attrs, backend) {
    const { format, shape, groupSize } = attrs.weight as WeightForm & { format: PackedFormat };
    const inputs = [weight, scales, minimums].filter(Boolean);
    const run = ofElements(tf.util.sizeFromShape([...shape]), shape.at(-1)!, ...groupSize ? [groupSize] : []);
    return runKernel(backend, unpackWords(kindOf(format, { scales, minimums })), { ...run, shape, inputs });
  },

  NetworkPack({ x }, { format }, backend) {
    const elements = tf.util.sizeFromShape(x.shape);
    const words = Math.ceil(elements / 2);
    const run = { shape: [words], workgroups: Math.ceil(words / WORKGROUP), inputs: [x], numbers: [elements], dtype: 'int32' } as const;
    return runKernel(backend, packWords(format as HalfFormat), run);
  },
};

function hasSubgroups({ device }: WebGPUBackend): boolean {
  return device.features.has('subgroups');
}

/** What networks compute, in as few kernels as can be, each of which reads what it needs once. */
export const webgpuKernels: Partial<Kernels> = {
  silu: x => run('NetworkSilu', { x }),

  groupNorm: (x, weight, bias, { groups, epsilon, silu }) => run('NetworkGroupNorm', { x, weight, bias }, { groups, epsilon, silu }),

  shiftedGroupNorm: (x, shift, weight, bias, { groups, epsilon, silu }) =>
    run('NetworkGroupNorm', { x, shift, weight, bias }, { groups, epsilon, silu }),

  layerNorm: (x, weight, bias, { epsilon }) => run('NetworkLayerNorm', { x, weight, bias }, { epsilon }),

  rmsNorm: (x, weight, { epsilon }) => run('NetworkRmsNorm', { x, weight }, { epsilon }),

  geluTanh: x => run('NetworkGeluTanh', { x }),

  geglu: x => run('NetworkGeglu', { x }),

  attention(query, key, value, { heads, mask }) {
    if (threadsOfQuery(query.shape[2]! / heads) === undefined) return undefined;
    return run('NetworkAttention', { query, key, value, ...mask && { mask } }, { heads });
  },

  linear(x, weight, bias, addend) {
    if (weight.shape.some(size => size % 4 !== 0)) return undefined;
    const inputs = { x, ...tensorsOf(weight), ...bias && { bias }, ...addend && { residual: addend() } };
    return run('NetworkLinear', inputs, { weight: formOf(weight) });
  },

  conv2d(x, weight, bias, { stride, padding }, addend) {
    if (weight.shape[2]! % 4 !== 0 || weight.shape[3]! % 4 !== 0) return undefined;
    const inputs = { x, ...tensorsOf(weight), ...bias && { bias }, ...addend && { residual: addend() } };
    return run('NetworkConv2d', inputs, { weight: formOf(weight), stride, padding: [...padding] });
  },

  repeatPixels(x, size) {
    const [, height, width, channels] = x.shape;
    const doubles = [height, width!].every((from, axis) => size[axis] === 2 * from || size[axis] === 2 * from - 1);
    return doubles && channels! % 4 === 0 ? run('NetworkRepeatPixels', { x }, { size: [...size] }) : undefined;
  },

  lookUp: lookUpOnHost,
  appendRows: appendOnHost,
};

/** Weights stay packed in the GPU's memory, and products widen them. */
export const webgpuPacking: Packing = {
  unpack: packed => run('NetworkUnpack', tensorsOf(packed), { weight: formOf(packed) }),
  pack: (x, format) => new PackedTensor(format, format, x.shape, run('NetworkPack', { x }, { format })),
};

function tensorsOf(weight: Operand): Record<string, tf.Tensor> {
  if (!(weight instanceof PackedTensor)) return { weight };
  const { words, groups } = weight;
  return { weight: words, ...groups && { scales: groups.scales, ...groups.minimums && { minimums: groups.minimums } } };
}

function formOf(weight: Operand): WeightForm {
  if (!(weight instanceof PackedTensor)) return { format: 'float32', dtype: 'float32', shape: weight.shape };
  const { format, dtype, shape, groups } = weight;
  return { format, dtype, shape, groupSize: groups?.size };
}

function run(name: string, inputs: Record<string, tf.Tensor>, attrs: Attributes = {}): tf.Tensor {
  return tf.engine().runKernel(name, inputs as unknown as NamedTensorInfoMap as never, attrs as NamedAttrMap) as tf.Tensor;
}

/** Makes tfjs know the kernels. */
export function registerKernels(): void {
  for (const [kernelName, compute] of Object.entries(FUNCTIONS)) {
    if (tf.getKernel(kernelName, BACKEND)) continue;
    const kernelFunc: KernelFunc = ({ inputs, attrs, backend }) =>
      compute(inputs as Inputs, attrs as Attributes, backend as WebGPUBackend);
    tf.registerKernel({ kernelName, backendName: BACKEND, kernelFunc });
  }
}
