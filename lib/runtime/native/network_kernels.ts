import type * as tf from '@tensorflow/tfjs';
import { GELU_TANH, type Kernels } from '../../core/kernels.js';
import { isHalf, TF, type, type Metadata } from './binding.js';
import type { Gpu } from './cuda/nvidia.js';
import type { NativeBackend } from './native_backend.js';
import type { Scope } from './scope.js';

/** Elements of a sample from which on a CPU takes longer to go over them than to begin an op. A GPU hardly ever does. */
const MANY_ELEMENTS = 2 ** 17;

/** Bytes that attention's scores may take on a GPU, which are there in some copies: so many, and so much of its memory at most. */
const SCORES_OF_GPU = { bytes: 2 ** 28, share: 1 / 64 };

/**
 * From how many rows and columns on oneDNN's product of two matrices is faster on a CPU than TensorFlow's own, where this is not oneDNN's
 * anyway: by 2 to 30%, the most where rows of the second lie a multiple of 4 KiB apart. With fewer rows it is slower, by up to 40%.
 */
const LARGE_PRODUCT = { rows: 320, columns: 1536 };

/** What networks compute, in as few ops as TensorFlow has for it, all of which XLA knows too. */
export function nativeKernels(backend: NativeBackend, gpu?: Gpu): Partial<Kernels> {
  const { onGpu } = backend;
  const hasOneDnnProduct = !onGpu && !backend.binding.usesOneDnn() && backend.context.has('_MklMatMul');
  const silu = (x: tf.Tensor) => backend.executeSingleOutput('SoftplusGrad', [type('T', TF.FLOAT)], [x, x]); // x times softplus' slope
  return {
    scoreBytes: gpu?.memory && Math.min(SCORES_OF_GPU.bytes, gpu.memory * 2 ** 20 * SCORES_OF_GPU.share),

    silu,

    geluTanh: x => backend.compute(scope => {
      const given = backend.lend(x);
      const number = (value: number) => scope.cast(scope.number(value), given.dtype);
      const cubic = scope.op('Mul', scope.op('Square', given), number(GELU_TANH.cubic));
      return scope.op('SoftplusGrad', given, scope.op('Mul', scope.op('AddV2', cubic, number(GELU_TANH.linear)), given));
    }, x.shape),

    linear: (x, weight: tf.Tensor, bias, addend) => {
      const [inFeatures, outFeatures] = weight.shape;
      const dtype = [x, weight].map(({ dataId }) => backend.dataOf(dataId).dtype).find(isHalf) ?? TF.FLOAT;
      const added = addend?.();
      const rows = x.size / inFeatures;
      const large = rows >= LARGE_PRODUCT.rows && outFeatures >= LARGE_PRODUCT.columns;
      return backend.compute(scope => {
        const factors = [backend.lend(x, [rows, inFeatures], dtype), backend.lend(weight, weight.shape, dtype)] as const;
        const product = large && hasOneDnnProduct && dtype === TF.FLOAT ? scope.oneDnnMatMul(...factors) : scope.matMul(...factors);
        const biased = bias ? scope.op('AddV2', product, backend.lend(bias, bias.shape, dtype)) : product;
        return added ? scope.op('AddV2', biased, backend.lend(added, [rows, outFeatures], dtype)) : biased;
      }, [...x.shape.slice(0, -1), outFeatures]);
    },

    groupNorm: (x, weight, bias, { groups, epsilon, silu: activated }) => {
      const [batch] = x.shape;
      const channels = weight.size;
      if (!onGpu && x.size / batch > MANY_ELEMENTS) return undefined;
      const axes = onGpu ? [[1, 3]] : [[1], [3]]; // of one op each: a CPU takes one axis at a time, much faster
      const normalized = backend.compute(scope => {
        const inGroups = [groups, channels / groups];
        const given = backend.lend(x, [batch, x.size / batch / channels, ...inGroups]);
        const { centered, scale } = standardize(scope, given, epsilon, of => axes.reduce((last, each) => scope.mean(last, each), of));
        const scaled = scope.op('Mul', centered, scope.op('Mul', scale, backend.lend(weight, inGroups, TF.FLOAT)));
        scope.free(centered);
        return scope.cast(scope.op('AddV2', scaled, backend.lend(bias, inGroups, TF.FLOAT)), given.dtype);
      }, x.shape);
      return activated ? silu(normalized) : normalized;
    },

    layerNorm: (x, weight, bias, { epsilon }) => backend.compute(scope => {
      const features = weight.shape.at(-1)!;
      const rows = [x.size / features, features];
      const given = backend.lend(x, weight.rank === 1 ? rows : x.shape);
      const { centered, scale } = standardize(scope, given, epsilon, of => scope.mean(of, [given.shape.length - 1]));
      const normalized = scope.op('Mul', centered, scale);
      scope.free(centered);
      const scaled = scope.op('Mul', normalized, backend.lend(weight, weight.shape, TF.FLOAT));
      scope.free(normalized);
      return scope.cast(scope.op('AddV2', scaled, backend.lend(bias, bias.shape, TF.FLOAT)), given.dtype);
    }, x.shape),
  };
}

/** `x` minus its mean, and 1 / sqrt(variance + epsilon), both float32; in two passes: no cancellation where |mean| >> deviation. */
function standardize(
  scope: Scope, x: Metadata, epsilon: number, meanOf: (x: Metadata) => Metadata,
): { centered: Metadata; scale: Metadata } {
  const wide = scope.cast(x, TF.FLOAT);
  const centered = scope.op('Sub', wide, meanOf(wide));
  scope.free(wide);
  const squares = scope.op('Square', centered);
  const scale = scope.op('Rsqrt', scope.op('AddV2', meanOf(squares), scope.number(epsilon)));
  scope.free(squares);
  return { centered, scale };
}
