import { readCheckpoint } from '../checkpoints/checkpoint.js';
import { checkpointFolder, type CheckpointOptions } from '../checkpoints/checkpoint_folder.js';
import { blobSource } from '../files/blob_folder.js';
import type { ModelFolder, ModelSource } from '../files/model_folder.js';
import { openModelFolder } from './open_model_folder.js';

/** Options of `openCheckpointFile`. */
export interface CheckpointFileOptions extends CheckpointOptions {
  /** Where the folder models/clip-tokenizer of this package is: such files leave their vocabulary out. */
  clipTokenizer: ModelSource;
}

/**
 * The folder that a single-file checkpoint (`.safetensors`, `.gguf`) stands for, of a file that a user picked in a page, for
 * `fromPretrained`. Weights are read from it as they are needed, and nothing leaves the machine.
 * @throws ModelFileError for a checkpoint of another model, SafetensorsError for a broken file, Error in a page for a pickle.
 */
export async function openCheckpointFile(file: File, { clipTokenizer, ...options }: CheckpointFileOptions): Promise<ModelFolder> {
  let merges: Promise<string> | undefined;
  const checkpoint = await readCheckpoint(file.name, async () => blobSource(file.name, file));
  return checkpointFolder(checkpoint, options, () => merges ??= readMerges(clipTokenizer));
}

async function readMerges(clipTokenizer: ModelSource): Promise<string> {
  const source = await (await openModelFolder(clipTokenizer)).open('merges.txt.gz');
  const packed = await source.read(0, source.size).finally(() => source.close()) as Uint8Array<ArrayBuffer>;
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
}
