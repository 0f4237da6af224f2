import type { Kernels } from '../../core/kernels.js';
import { TF, type Metadata, type NativeBackend } from './backend.js';
import type { Gpu } from './nvidia.js';
import { Scope } from './scope.js';

/** Elements of a sample from which on a CPU takes longer to go over them than to begin an op. A GPU hardly ever does. */
const MANY_ELEMENTS = 2 ** 17;

/** How much of a GPU's memory the scores of attention may take, of which there are some copies at a time. */
const SCORES_OF_GPU = 1 / 64;

/** What networks compute, in as few ops as TensorFlow has for it. All of them are known to XLA and have kernels for CPUs and GPUs. */
export function networkKernels(backend: NativeBackend, gpu?: Gpu): Partial<Kernels> {
  const onGpu = backend.binding.isUsingGpuDevice();
  return {
    scoreBytes: gpu?.memory && gpu.memory * 2 ** 20 * SCORES_OF_GPU,

    silu: x => Scope.run(backend, scope => {
      const features = scope.input(x);
      return scope.op('SoftplusGrad', features, features); // softplus' is the sigmoid, and it multiplies by what comes first
    }),

    groupNorm: (x, weight, bias, { groups, epsilon }) => {
      const [batch] = x.shape;
      if (!onGpu && x.size / batch > MANY_ELEMENTS) return undefined;
      const perGroup = weight.size / groups;
      const axes = onGpu ? [[1, 3]] : [[1], [3]]; // for each op, which a CPU takes one axis at a time, much faster
      return Scope.run(backend, scope => {
        const mean = (of: Metadata) => axes.reduce((last, each) => scope.mean(last, each), of);
        const [scale, offset] = [weight, bias].map(parameter => scope.cast(scope.reshape(scope.input(parameter), [groups, perGroup]), TF.FLOAT));
        const given = scope.input(x);
        const wide = scope.cast(scope.reshape(given, [batch, x.size / batch / weight.size, groups, perGroup]), TF.FLOAT);
        const centered = scope.op('Sub', wide, mean(wide));
        scope.free(wide);
        const squares = scope.op('Square', centered);
        const deviation = scope.op('Rsqrt', scope.op('AddV2', mean(squares), scope.number(epsilon)));
        scope.free(squares);
        const normalized = scope.op('Mul', centered, scope.op('Mul', deviation, scale));
        scope.free(centered);
        return scope.reshape(scope.cast(scope.op('AddV2', normalized, offset), given.dtype), x.shape);
      });
    },
  };
}
