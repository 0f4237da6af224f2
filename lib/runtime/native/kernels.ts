import * as tf from '@tensorflow/tfjs';
import { flag, ints, isHalf, PLAIN_TENSORS, text, TF, type, type Attribute } from './binding.js';
import type { NativeBackend } from './native_backend.js';

type Inputs = Record<string, tf.Tensor>;

/**
 * Up to how large an image oneDNN's convolution is as fast as TensorFlow's own on processors that it is not made for, with AVX2 alone: at
 * 256 x 256 it takes three times as long, and from 512 x 512 on minutes.
 */
const MOST_PIXELS = 128 * 128;

/** Replaces kernels of tfjs-node in tfjs's registry by faster ones. The same values but for rounding. */
export function installKernels(backendName: string, backend: NativeBackend): void {
  const { context } = backend;
  const replace = (kernelName: string, kernel: (inputs: Inputs, attrs: tf.NamedAttrMap, former: () => tf.TensorInfo) => tf.TensorInfo) => {
    const former = tf.getKernel(kernelName, backendName).kernelFunc as (call: object) => tf.TensorInfo;
    tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel({
      kernelName, backendName, kernelFunc: call => kernel(call.inputs as Inputs, call.attrs!, () => former(call)),
    });
  };

  replace('Reshape', ({ x: { dataId, dtype, size } }, { shape }) => { // see lazy_shapes.ts
    backend.incRef(dataId);
    return { dataId, dtype, shape: tf.util.inferFromImplicitShape(shape as number[], size) };
  });
  replace('Mean', ({ x }, { axis, keepDims }) => { // tfjs-node's own copies its input first
    const axes = tf.util.parseAxisParam(axis as number[], x.shape);
    return backend.compute(scope => scope.mean(scope.cast(backend.lend(x), TF.FLOAT), axes, keepDims as boolean));
  });
  replace('BatchMatMul', ({ a, b }, attrs, former) => {
    const turned = [flag('transpose_a', attrs.transposeA as boolean), flag('transpose_b', attrs.transposeB as boolean)];
    return a.rank === 2 && b.rank === 2 // for which TensorFlow has a faster op
      ? backend.executeSingleOutput('MatMul', [type('T', TF.FLOAT), ...turned], [a, b]) : former();
  });
  if (backend.onGpu) return;

  // What TensorFlow replaces by oneDNN's in graphs, but not where it runs op by op: softmax in fewer passes, a convolution with its bias.
  const softmax: [string, Attribute[]] = context.has('_MklSoftmax')
    ? ['_MklSoftmax', [type('T', TF.FLOAT), PLAIN_TENSORS]] : ['Softmax', [type('T', TF.FLOAT)]];
  replace('Softmax', ({ logits }) => tf.tidy(() => // which GPUs compute in float32 whatever it is of, but CPUs do not
    backend.narrow(backend.executeSingleOutput(...softmax, [backend.widen(logits)]), logits)));
  if (context.has('_MklNativeConv2DWithBias')) {
    const most = backend.binding.usesOneDnn() ? Infinity : MOST_PIXELS;
    replace('FusedConv2D', ({ x, filter, bias }, attrs, former) => {
      const halves = [x, filter, bias].some(each => each && isHalf(backend.dataOf(each.dataId).dtype)); // for which few processors have it
      const [, height, width] = x.shape;
      const plain = attrs.activation === 'linear' && attrs.dataFormat === 'NHWC' && typeof attrs.pad !== 'number';
      return bias && plain && !halves && height * width! <= most
        ? backend.executeSingleOutput('_MklNativeConv2DWithBias', [...convolution(attrs), PLAIN_TENSORS], [x, filter, bias])
        : former();
    });
  }
}

/** The attributes of a Conv2D, of tfjs's. */
function convolution({ strides, pad, dilations }: tf.NamedAttrMap): Attribute[] {
  const ofImage = (value: unknown) => [1, ...Array.isArray(value) ? value as number[] : [value as number, value as number], 1];
  const paddings = Array.isArray(pad) ? (pad as unknown as number[][]).flat() : [];
  const padding = typeof pad === 'string' ? pad.toUpperCase() : paddings.some(size => size > 0) ? 'EXPLICIT' : 'VALID';
  return [
    type('T', TF.FLOAT), ints('strides', ofImage(strides)), text('padding', padding), text('data_format', 'NHWC'),
    flag('use_cudnn_on_gpu', true), ints('dilations', ofImage(dilations)),
    ...padding === 'EXPLICIT' ? [ints('explicit_paddings', paddings)] : [],
  ];
}
