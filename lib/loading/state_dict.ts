import { formatBytes } from '../core/format.js';
import type { ModelFolder } from '../files/model_folder.js';
import { readSafetensors, SafetensorsError } from '../weights/safetensors.js';
import { closeWeightFiles, openWeightFile } from './weight_files.js';

/** A tensor of a small file, in memory and as torch lays it out. */
export interface StoredTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** All that a small file of weights holds: an adapter's, not a network's. */
export interface StateDict {
  /** What errors call it. */
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

const maxBytes = 2e9; // several times the largest LoRA

/** Reads a safetensors file or a pickle, of which nothing is executed. @throws SafetensorsError, PickleError naming the file. */
export async function readStateDict(folder: ModelFolder, path: string): Promise<StateDict> {
  const file = await openWeightFile(folder, path);
  try {
    if (file.source.size > maxBytes) {
      throw new SafetensorsError(`has ${formatBytes(file.source.size)}, takes up to ${formatBytes(maxBytes)}: is it a whole model?`);
    }
    const { metadata, tensors } = readSafetensors(await file.source.read(0, file.source.size));
    const entries = Object.entries(tensors).map(([key, { shape, data }]) =>
      [key, { shape, data: data instanceof Float32Array ? data : Float32Array.from(data) }] as const);
    return { name: file.name, metadata, tensors: new Map(entries) };
  } catch (error) {
    throw error instanceof SafetensorsError ? new SafetensorsError(`${file.name}: ${error.message}`, { cause: error }) : error;
  } finally {
    await closeWeightFiles([file]);
  }
}
