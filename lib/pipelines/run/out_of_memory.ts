import { brief } from '../../core/checks.js';
import type { Autoencoder } from '../../models/autoencoder.js';
import type { Model } from '../../models/model.js';

/** The ways to save memory that a pipeline has. */
export type MemorySaver =
  'enableAttentionSlicing' | 'enableVaeSlicing' | 'enableVaeTiling' | 'enableModelCpuOffload' | 'enableSequentialCpuOffload';

/** Those that are on. */
export function whichAreOn(on: Partial<Record<MemorySaver, boolean>>): Set<MemorySaver> {
  return new Set((Object.keys(on) as MemorySaver[]).filter(name => on[name]));
}

/** The device or the process has no memory left for what was asked. The message says what would help. */
export class OutOfMemoryError extends Error {
  override name = 'OutOfMemoryError';
}

/** What they say when memory runs out. */
const SIGNS = new RegExp([
  'OOM when allocating', 'RESOURCE_EXHAUSTED', 'failed to allocate', 'bad_alloc', // TensorFlow
  'cannot enlarge memory', 'memory access out of bounds', '^Aborted\\(', // WebAssembly, which grows to 4 GiB at most
  'array buffer allocation failed', 'invalid (typed )?array length', // JavaScript
  'out of memory', 'unable to create texture', 'context ?lost', // WebGL and WebGPU
  'is larger than the maximum', 'exceeds the max buffer size',
].join('|'), 'im');

/** Whether an error says that memory ran out, here or below. */
export function isOutOfMemory(error: unknown): boolean {
  return error instanceof Error && (error instanceof OutOfMemoryError || SIGNS.test(error.message));
}

/** What can be told to take less. */
interface Saving {
  readonly denoiser: Model<unknown>;
  readonly vae: Autoencoder;
  readonly memorySavers: ReadonlySet<MemorySaver>;
}

/** What to throw instead of `error`, met with latents of that shape: if memory ran out, an OutOfMemoryError that says what to turn on. */
export function explainOutOfMemory(error: unknown, pipe: Saving, [images, height, width]: readonly number[]): unknown {
  if (!isOutOfMemory(error) || error instanceof OutOfMemoryError) return error;
  const { memorySavers: on, denoiser, vae } = pipe;
  const isLarge = 'sample_size' in vae.config && Math.max(height, width) * vae.scaleFactor > vae.config.sample_size;
  const savers: Array<[MemorySaver, boolean]> = [
    ['enableVaeSlicing', images > 1],
    ['enableVaeTiling', isLarge],
    ['enableAttentionSlicing', true],
    ['enableModelCpuOffload', true],
    ['enableSequentialCpuOffload', true],
  ];
  const help = savers.filter(([name, helps]) => helps && !on.has(name)).map(([name]) => `pipe.${name}()`);
  if (images > 1) help.unshift(`fewer images at once than ${images}`);
  if (denoiser.weightDtype === 'float32') help.push("dtype: 'float16'");
  const line = (error as Error).message.split('\n').find(each => SIGNS.test(each))!;
  help.push('a smaller height and width');
  return new OutOfMemoryError(`out of memory: ${brief(line)}; to take less: ${help.join(', ')}`, { cause: error });
}
