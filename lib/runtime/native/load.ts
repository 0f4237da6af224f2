import * as tf from '@tensorflow/tfjs';
import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { join } from 'node:path';
import util from 'node:util';
import { graphRecorders } from '../../core/graph.js';
import { hostCopies } from '../../core/host_copy.js';
import { networkKernels } from '../../core/kernels.js';
import { precisions } from '../../core/precision.js';
import { runningAhead } from '../../core/run_ahead.js';
import { wideners } from '../../core/stored_quantized.js';
import { weightReaders } from '../../weights/weight_reader.js';
import type { Binding } from './binding.js';
import { BINDING_PACKAGE, TFJS_SYMBOL } from './build_folder.js';
import { describeGpu, type Gpu } from './cuda/nvidia.js';
import { EagerContext } from './eager_context.js';
import { graphRecorder } from './functions.js';
import type { Proto } from './graph_def.js';
import { nativeHostCopy } from './host_copy.js';
import { installKernels } from './kernels.js';
import { NativeBackend } from './native_backend.js';
import { NativeWeightReader } from './native_weight_reader.js';
import { nativeWidener } from './widen.js';
import { nativeKernels } from './network_kernels.js';
import { XlaCache } from './xla_cache.js';

export type NativeDevice = 'cuda' | 'cpu';

const BACKEND = 'tensorflow';

export interface LoadOptions {
  /** What CUDA_VISIBLE_DEVICES says meanwhile; -1 for no GPU. */
  visibleGpus?: string;
  /** The most of each GPU's memory that TensorFlow may take, from 0 to 1. */
  memoryFraction?: number;
  /** What TensorFlow will run on. */
  gpu?: Gpu;
}

/** Of addon/quiet.cc. */
interface QuietAddon {
  configure(config: Uint8Array): void;
  load(): void;
  setEnvironment(name: string, value: string): void;
}

/** Makes a build tfjs's backend 'tensorflow'. Once per process: TensorFlow takes its settings and its device when it is loaded. */
export function loadBuild(folder: string, { visibleGpus, memoryFraction, gpu }: LoadOptions = {}): void {
  process.env.TF_CPU_ALLOCATOR_USE_BFC ??= '1'; // keeps freed buffers: fresh ones page-fault, which costs more than most ops
  process.env.TF_FORCE_GPU_ALLOW_GROWTH ??= 'true'; // else it takes the whole GPU at once
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '3'; // what matters throws; CUDA's absence and XLA's reads from disk are told as errors
  // tfjs-node's kernels lie in the build and are run as they are: they call two functions that Node 23 has no more, and import tfjs, of
  // which there must be one in the process: build/download.ts puts a module in its place there that takes it from this global.
  Object.assign(util, { isArray: Array.isArray, isNullOrUndefined: (value: unknown) => value == null });
  Object.assign(globalThis, { [Symbol.for(TFJS_SYMBOL)]: tf });

  const visible = process.env.CUDA_VISIBLE_DEVICES;
  if (visibleGpus !== undefined) process.env.CUDA_VISIBLE_DEVICES = visibleGpus; // CUDA reads it once
  try {
    const require = createRequire(join(folder, 'build.cjs'));
    checkSizes(folder, require('./sizes.json') as Record<string, number>);
    const { configure, load, setEnvironment } = require('./lib/quiet.node') as QuietAddon;
    for (const [name, value] of Object.entries(process.env)) {
      if (/^(TF_|CUDA_VISIBLE_DEVICES$)/.test(name)) setEnvironment(name, value!); // a worker thread's environment is a copy
    }
    load();
    if (memoryFraction !== undefined) configure(gpuConfig(memoryFraction));
    const xla = new XlaCache(folder, gpu ? describeGpu(gpu) : cpus()[0]?.model ?? 'cpu'); // a home may serve several machines
    const binding = require('./lib/tfjs_binding.node') as Binding;
    require(`${BINDING_PACKAGE}/dist/register_all_kernels`);
    const context = new EagerContext(binding);
    process.once('exit', () => context.runAhead(false)); // what ops use is destroyed then, while they would go on
    const backend = new NativeBackend(context);
    tf.registerBackend(BACKEND, () => backend, 3);
    precisions.provide(BACKEND, backend);
    installKernels(BACKEND, backend);
    networkKernels.provide(BACKEND, nativeKernels(backend, gpu));
    graphRecorders.provide(BACKEND, graphRecorder(backend, require(`${BINDING_PACKAGE}/dist/proto/api_pb`) as Proto, xla));
    runningAhead.provide(BACKEND, { set: ahead => context.runAhead(ahead), forgetErrors: () => context.forgetErrors() });
    hostCopies.provide(BACKEND, nativeHostCopy(backend));
    wideners.provide(BACKEND, nativeWidener(backend));
    weightReaders.provide(BACKEND, options => new NativeWeightReader(backend, options));
  } finally {
    if (visible === undefined) delete process.env.CUDA_VISIBLE_DEVICES;
    else process.env.CUDA_VISIBLE_DEVICES = visible;
  }
}

/** TensorFlow's ConfigProto { gpu_options { per_process_gpu_memory_fraction } }, serialized. */
export function gpuConfig(memoryFraction: number): Uint8Array {
  const fraction = new Uint8Array(8);
  new DataView(fraction.buffer).setFloat64(0, memoryFraction, true);
  return Uint8Array.of(6 << 3 | 2, 9, 1 << 3 | 1, ...fraction);
}

/** A truncated library would not fail to load: it would end the process later. */
function checkSizes(folder: string, sizes: Record<string, number>): void {
  for (const [file, size] of Object.entries(sizes)) {
    if (statSync(join(folder, 'lib', file)).size !== size) throw new Error(`${file} is damaged`);
  }
}

/** Whether float32 products and convolutions may be computed in TF32. */
export function setTf32(allowed: boolean): void {
  (tf.findBackend(BACKEND) as NativeBackend).binding.allowTf32(allowed);
}

/** What this process runs, loaded by `loadBuild` or by a program that imports tfjs-node itself; null before that. */
export function running(): { device: NativeDevice; version: string } | null {
  if (tf.findBackendFactory(BACKEND) === null) return null;
  const { binding } = tf.findBackend(BACKEND) as NativeBackend;
  return { device: binding.isUsingGpuDevice() ? 'cuda' : 'cpu', version: binding.TF_Version };
}
