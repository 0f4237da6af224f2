import * as tf from '@tensorflow/tfjs';
import type { KernelFunc, NamedAttrMap, NamedTensorInfoMap, TensorInfo } from '@tensorflow/tfjs';
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import type { Conv2dGeometry, GroupNormOptions, Kernels } from '../../core/kernels.js';
import { attention, threadsOfQuery } from './attention.js';
import { GEGLU } from './geglu.js';
import { GROUP_MOMENTS, groupNormalize, partsOf } from './group_norm.js';
import { LAYER_NORM } from './layer_norm.js';
import { matrixProduct, TILE } from './matrix_product.js';
import { runKernel, WORKGROUP } from './program.js';

const BACKEND = 'webgpu';

type Inputs = Record<string, TensorInfo>;
type Attributes = Record<string, unknown>;

/** Each as a kernel of tfjs, which then frees what is made, and counts and times it as its own. */
const FUNCTIONS: Record<string, (inputs: Inputs, attrs: Attributes, backend: WebGPUBackend) => TensorInfo> = {
  NetworkGroupNorm({ x, weight, bias }, attrs, backend) {
    const { groups, epsilon, silu } = attrs as unknown as GroupNormOptions;
    const [batch] = x.shape;
    const [channels] = weight.shape;
    const pixels = tf.util.sizeFromShape(x.shape) / batch / channels;
    const rows = batch * groups;
    const parts = partsOf(pixels * channels / groups);
    const run = { workgroups: rows * parts, numbers: [rows, pixels, channels, groups, parts] };
    const moments = runKernel(backend, GROUP_MOMENTS, { ...run, shape: [rows, parts, 2], inputs: [x] });
    const inputs = [x, moments, weight, bias];
    const y = runKernel(backend, groupNormalize(silu), { ...run, shape: x.shape, inputs, fractions: [epsilon] });
    backend.disposeData(moments.dataId);
    return y;
  },

  NetworkLayerNorm({ x, weight, bias }, { epsilon }, backend) {
    const [features] = weight.shape;
    const rows = tf.util.sizeFromShape(x.shape) / features;
    const run = { workgroups: rows, numbers: [rows, features], fractions: [epsilon as number] };
    return runKernel(backend, LAYER_NORM, { ...run, shape: x.shape, inputs: [x, weight, bias] });
  },

  NetworkGeglu({ x }, attrs, backend) {
    void attrs;
    const features = x.shape.at(-1)! / 2;
    const shape = [...x.shape.slice(0, -1), features];
    const elements = tf.util.sizeFromShape(shape);
    return runKernel(backend, GEGLU, { shape, workgroups: Math.ceil(elements / WORKGROUP), inputs: [x], numbers: [elements, features] });
  },

  NetworkAttention({ query, key, value, mask }, attrs, backend) {
    const heads = attrs.heads as number;
    const [batch, queries, features] = query.shape;
    const [, keys] = key.shape;
    const headSize = features / heads;
    const groups = batch * heads * Math.ceil(queries * threadsOfQuery(headSize)! / WORKGROUP);
    return runKernel(backend, attention({ headSize, masked: mask !== undefined }), {
      shape: query.shape, workgroups: groups, inputs: [query, key, value, ...mask ? [mask] : []],
      numbers: [groups, heads, queries, keys], fractions: [1 / Math.sqrt(headSize)],
    });
  },

  NetworkLinear({ x, weight, ...more }, attrs, backend) {
    void attrs;
    const [depth, columns] = weight.shape;
    const rows = tf.util.sizeFromShape(x.shape) / depth;
    return product(backend, { x, weight, ...more }, [...x.shape.slice(0, -1), columns], [rows, depth, columns]);
  },

  NetworkConv2d({ x, weight, ...more }, attrs, backend) {
    const { stride, padding: [top, bottom, left, right] } = attrs as unknown as Conv2dGeometry;
    const [kernel, , channels, columns] = weight.shape;
    const [batch, height, width] = x.shape;
    const out = (size: number, around: number) => Math.floor((size + around - kernel) / stride) + 1;
    const shape = [batch, out(height, top + bottom), out(width, left + right), columns];
    const rows = shape[0] * shape[1] * shape[2];
    return product(backend, { x, weight, ...more }, shape, [rows, kernel * kernel * channels, columns, kernel, stride, top, left]);
  },
};

function product(
  backend: WebGPUBackend, { x, weight, bias, residual }: Inputs, shape: number[], numbers: number[],
): TensorInfo {
  const kernel = matrixProduct({ convolves: numbers.length > 3, biased: bias !== undefined, residual: residual !== undefined });
  const [rows, , columns] = numbers;
  const inputs = [x, weight, ...bias ? [bias] : [], ...residual ? [residual] : []];
  return runKernel(backend, kernel, { shape, workgroups: Math.ceil(rows / TILE) * Math.ceil(columns / TILE), inputs, numbers });
}

/** What networks compute, in as few kernels as can be, each of which reads what it needs once. */
export const webgpuKernels: Partial<Kernels> = {
  groupNorm: (x, weight, bias, { groups, epsilon, silu }) => run('NetworkGroupNorm', { x, weight, bias }, { groups, epsilon, silu }),

  layerNorm: (x, weight, bias, { epsilon }) => run('NetworkLayerNorm', { x, weight, bias }, { epsilon }),

  geglu: x => run('NetworkGeglu', { x }),

  attention(query, key, value, { heads, mask }) {
    if (threadsOfQuery(query.shape[2]! / heads) === undefined) return undefined;
    return run('NetworkAttention', { query, key, value, ...mask && { mask } }, { heads });
  },

  linear(x, weight, bias, addend) {
    if (weight.shape.some(size => size % 4 !== 0)) return undefined;
    return run('NetworkLinear', { x, weight, ...bias && { bias }, ...addend && { residual: addend() } });
  },

  conv2d(x, weight, bias, { stride, padding }, addend) {
    if (weight.shape[2]! % 4 !== 0 || weight.shape[3]! % 4 !== 0) return undefined;
    return run('NetworkConv2d', { x, weight, ...bias && { bias }, ...addend && { residual: addend() } }, { stride, padding: [...padding] });
  },
};

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
