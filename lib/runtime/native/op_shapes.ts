import * as tf from '@tensorflow/tfjs';
import type { Attribute, Values } from './binding.js';
import type { Shape } from './tensor_data.js';

/** What is known of a tensor of TensorFlow without asking it. */
export interface Known {
  readonly shape: Shape;
  /** Of few integers that JavaScript made: shapes, axes, sizes. */
  readonly values?: Values;
}

interface Rule {
  /** How many an op takes at least; one that is called with fewer is left to TensorFlow to complain of. */
  readonly inputs: number;
  readonly shapes: (inputs: readonly Known[], attribute: (name: string) => unknown) => Shape[] | undefined;
}

const FIRST: Rule = { inputs: 1, shapes: ([{ shape }]) => [shape] };

const BROADCAST: Rule = {
  inputs: 2,
  shapes: ([a, b]) => {
    const shape = broadcast(a.shape, b.shape);
    return shape && [shape];
  },
};

const REDUCE: Rule = {
  inputs: 2,
  shapes: ([{ shape }, { values: axes }], attribute) => {
    if (!axes) return undefined;
    const reduced = new Set([...axes as Int32Array].map(axis => axis < 0 ? axis + shape.length : axis));
    return [attribute('keep_dims') === true
      ? shape.map((length, axis) => reduced.has(axis) ? 1 : length) : shape.filter((_, axis) => !reduced.has(axis))];
  },
};

const MATRIX_PRODUCT: Rule = {
  inputs: 2,
  shapes: ([{ shape: a }, { shape: b }], attribute) =>
    [[a[attribute('transpose_a') === true ? 1 : 0], b[attribute('transpose_b') === true ? 0 : 1]]],
};

const CONVOLVE: Rule = {
  inputs: 2,
  shapes: ([{ shape: [batch, ...image] }, { shape: [height, width, , channels] }], attribute) => {
    if (attribute('data_format') !== 'NHWC') return undefined;
    const [strides, dilations, padding] = ['strides', 'dilations', 'padding'].map(attribute) as [number[], number[], string];
    const paddings = padding === 'EXPLICIT' ? attribute('explicit_paddings') as number[] : [];
    const [rows, columns] = [height, width].map((kernel, i) => {
      const [size, stride, reach] = [image[i], strides[i + 1], (kernel - 1) * dilations[i + 1] + 1];
      const around = (paddings[2 * i + 2] ?? 0) + (paddings[2 * i + 3] ?? 0);
      return padding === 'SAME' ? Math.ceil(size / stride) : Math.floor((size + around - reach) / stride) + 1;
    });
    return [[batch, rows, columns, channels]];
  },
};

const RESIZE: Rule = {
  inputs: 2,
  shapes: ([{ shape: [batch, , , channels] }, { values: size }]) => size && [[batch, size[0] as number, size[1] as number, channels]],
};

const RULES: Readonly<Record<string, Rule | undefined>> = {
  ...Object.fromEntries([
    'AddN', 'Cast', 'Cos', 'Erf', 'Exp', 'Identity', 'IsNan', 'Neg', 'Relu', 'Round', 'Rsqrt', 'Sigmoid', 'Sin', 'Softmax', 'SoftplusGrad',
    'Sqrt', 'Square', 'Tanh', '_MklSoftmax',
  ].map(op => [op, FIRST])),
  ...Object.fromEntries(['Add', 'AddV2', 'Maximum', 'Minimum', 'Mul', 'RealDiv', 'Sub'].map(op => [op, BROADCAST])),
  ...Object.fromEntries(['Max', 'Mean', 'Sum'].map(op => [op, REDUCE])),
  ...Object.fromEntries(['Conv2D', '_MklNativeConv2DWithBias'].map(op => [op, CONVOLVE])),
  ...Object.fromEntries(['ResizeBilinear', 'ResizeNearestNeighbor'].map(op => [op, RESIZE])),

  Reshape: {
    inputs: 2,
    shapes: ([{ shape }, { values }]) => {
      if (!values) return undefined;
      const lengths = [...values as Int32Array];
      const given = lengths.reduce((product, length) => length < 0 ? product : product * length, 1);
      return [lengths.map(length => length < 0 ? tf.util.sizeFromShape(shape as number[]) / given : length)];
    },
  },
  MirrorPad: {
    inputs: 2,
    shapes: ([{ shape }, { values: around }]) =>
      around && [shape.map((length, axis) => (around[2 * axis] as number) + length + (around[2 * axis + 1] as number))],
  },
  AvgPool: {
    inputs: 1,
    shapes: ([{ shape }], attribute) => {
      const [kernel, strides, padding] = ['ksize', 'strides', 'padding'].map(attribute) as [number[], number[], string];
      if (attribute('data_format') !== 'NHWC' || !['SAME', 'VALID'].includes(padding)) return undefined;
      return [shape.map((length, axis) => Math.ceil((padding === 'SAME' ? length : length - kernel[axis] + 1) / strides[axis]))];
    },
  },
  Transpose: { inputs: 2, shapes: ([{ shape }, { values: axes }]) => axes && [[...axes as Int32Array].map(axis => shape[axis])] },
  Slice: {
    inputs: 3,
    shapes: ([{ shape }, { values: begin }, { values: size }]) =>
      begin && size && [shape.map((length, axis) => size[axis] === -1 ? length - (begin[axis] as number) : size[axis] as number)],
  },
  SplitV: {
    inputs: 3,
    shapes: ([{ shape }, { values: sizes }, { values: axes }]) => {
      if (!sizes || !axes || (sizes as Int32Array).includes(-1)) return undefined;
      const along = axisOf(axes, shape);
      return [...sizes as Int32Array].map(size => shape.map((length, axis) => axis === along ? size : length));
    },
  },
  ConcatV2: {
    inputs: 2,
    shapes: inputs => {
      const { values: axes } = inputs[inputs.length - 1];
      if (!axes) return undefined;
      const parts = inputs.slice(0, -1);
      const [{ shape }] = parts;
      const along = axisOf(axes, shape);
      return [shape.map((length, axis) => axis === along ? parts.reduce((sum, part) => sum + part.shape[axis], 0) : length)];
    },
  },

  ...Object.fromEntries(['MatMul', '_MklMatMul'].map(op => [op, MATRIX_PRODUCT])),
  BatchMatMulV2: {
    inputs: 2,
    shapes: ([{ shape: a }, { shape: b }], attribute) => {
      const batches = broadcast(a.slice(0, -2), b.slice(0, -2));
      const [rows, columns] = [a[a.length - (attribute('adj_x') === true ? 1 : 2)], b[b.length - (attribute('adj_y') === true ? 2 : 1)]];
      return batches && [[...batches, rows, columns]];
    },
  },
};

/**
 * The shapes of what an op gives, where that follows from what is known; undefined where TensorFlow must be asked, which waits for the op.
 * Inputs are taken to fit each other: whether they do is seen when the op runs.
 */
export function outputShapes(op: string, attributes: readonly Attribute[], inputs: ReadonlyArray<Known | undefined>): Shape[] | undefined {
  const rule = RULES[op];
  if (!rule || inputs.length < rule.inputs || inputs.includes(undefined)) return undefined;
  return rule.shapes(inputs as Known[], name => attributes.find(each => each.name === name)?.value);
}

function broadcast(a: Shape, b: Shape): Shape | undefined {
  if (b.length > a.length) return broadcast(b, a);
  const shape = [...a];
  for (let i = 1; i <= b.length; i++) {
    const [x, y] = [a[a.length - i], b[b.length - i]];
    if (x !== y && x !== 1 && y !== 1) return undefined;
    shape[a.length - i] = x === 1 ? y : x;
  }
  return shape;
}

function axisOf(axes: Values, shape: Shape): number {
  const axis = axes[0] as number;
  return axis < 0 ? axis + shape.length : axis;
}
