import { toJsonText } from '../core/json.js';
import type { WriteFile } from '../files/output_folder.js';
import { byteSize, writeSafetensors, type TensorToWrite } from './safetensors.js';

/** A weight as it is to be written: one tensor, or with what belongs to it, which lies in the same file. */
export interface WeightToWrite {
  readonly tensors: readonly TensorToWrite[];
}

/** How a model's weights are divided into files. */
export interface ShardOptions {
  /** Bytes that a file of weights may have; a model of more is written as several. A larger tensor has a file of its own. */
  maxShardSize?: number;
}

/**
 * Writes `<stem>.safetensors`, or several files and their index, named as diffusers and transformers name them.
 * @param metadata what the file of these weights says of itself.
 */
export async function writeWeights<W extends WeightToWrite>(
  write: WriteFile, stem: string, weights: readonly W[], metadata: (part: readonly W[]) => Record<string, string>,
  { maxShardSize = Infinity }: ShardOptions = {},
): Promise<void> {
  const content = (part: readonly W[]) => writeSafetensors(part.flatMap(({ tensors }) => tensors), metadata(part));
  const shards = splitShards(weights, maxShardSize);
  if (shards.length === 1) return write(`${stem}.safetensors`, content(weights));
  const weightMap: Record<string, string> = {};
  for (const [i, shard] of shards.entries()) {
    const path = `${stem}-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await write(path, content(shard));
    for (const { name } of shard.flatMap(({ tensors }) => tensors)) weightMap[name] = path.slice(path.lastIndexOf('/') + 1);
  }
  const index = { metadata: { total_size: sizeOfWeights(weights) }, weight_map: weightMap };
  await write(`${stem}.safetensors.index.json`, toJsonText(index));
}

/** How far writing is told, and whether it ends. */
export interface WritingProgress {
  /** Called after every weight: bytes so far, and of all. */
  onProgress?: (progress: { loaded: number; total: number }) => void;
  /** Ends it; then nothing is left. */
  signal?: AbortSignal;
}

/** What is told of more bytes. @throws the signal's reason. */
export function countingUp(total: number, { onProgress, signal }: WritingProgress): (bytes: number) => void {
  let loaded = 0;
  return bytes => {
    signal?.throwIfAborted();
    onProgress?.({ loaded: loaded += bytes, total });
  };
}

/** The same weight, which says when its first tensor is there. */
export function reporting<W extends WeightToWrite>(weight: W, done: () => void): W {
  const [first, ...others] = weight.tensors;
  const bytes = async () => {
    const made = await first.bytes();
    done();
    return made;
  };
  return { ...weight, tensors: [{ ...first, bytes }, ...others] };
}

/** Bytes of all their tensors. */
export function sizeOfWeights(weights: readonly WeightToWrite[]): number {
  return weights.reduce((sum, { tensors }) => tensors.reduce((sum, tensor) => sum + byteSize(tensor), sum), 0);
}

function splitShards<W extends WeightToWrite>(weights: readonly W[], maxSize: number): W[][] {
  const shards: W[][] = [[]];
  let size = 0;
  for (const weight of weights) {
    if (size > 0 && size + sizeOfWeights([weight]) > maxSize) {
      shards.push([]);
      size = 0;
    }
    shards.at(-1)!.push(weight);
    size += sizeOfWeights([weight]);
  }
  return shards;
}

function number(i: number): string {
  return String(i).padStart(5, '0');
}
