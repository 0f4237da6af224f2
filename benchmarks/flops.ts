import * as tf from '@tensorflow/tfjs';
import { networkKernels } from '../lib/core/kernels.js';
import type { WeightForm } from '../lib/runtime/webgpu/product.js';

/** Of kernels, as far as they matter here. */
interface Attributes {
  transposeA?: boolean;
  weight?: WeightForm;
}

/** Runs `work` and counts the multiplications and additions of its convolutions and matrix products, which are nearly all there are. */
export async function countFlops<T>(work: () => T | Promise<T>): Promise<{ result: T; flops: number }> {
  let flops = 0;
  const engine = tf.engine();
  const runKernel = engine.runKernel.bind(engine);
  engine.runKernel = ((kernel: string, inputs: tf.NamedTensorMap, attrs: Attributes) => {
    const out = runKernel(kernel, inputs, attrs as never);
    if (out instanceof tf.Tensor) flops += 2 * out.size * termsPerElement(kernel, inputs, attrs);
    return out;
  }) as typeof engine.runKernel;
  const { current: kernels } = networkKernels;
  const { linear } = kernels ?? {};
  const backend = tf.getBackend();
  if (linear) {
    networkKernels.provide(backend, { ...kernels, linear: (x, weight, ...more) => {
      const out = linear(x, weight, ...more);
      if (out) flops += 2 * out.size * weight.shape[0];
      return out;
    } });
  }
  try {
    return { result: await work(), flops };
  } finally {
    engine.runKernel = runKernel;
    if (kernels) networkKernels.provide(backend, kernels);
  }
}

/** How many products each element of the output sums. */
function termsPerElement(kernel: string, inputs: tf.NamedTensorMap, attrs: Attributes): number {
  if (kernel === tf.Conv2D || kernel === tf.FusedConv2D) {
    const [height, width, channels] = inputs.filter.shape;
    return height * width * channels!;
  }
  if (kernel === 'NetworkConv2d') return attrs.weight!.shape.slice(0, 3).reduce((product, size) => product * size); // the input may lie packed
  if (kernel === 'NetworkAttention') return 2 * inputs.key.shape[1]!;
  if (kernel === tf.BatchMatMul || kernel === tf._FusedMatMul) return inputs.a.shape.at(attrs.transposeA ? -2 : -1)!;
  return 0;
}
