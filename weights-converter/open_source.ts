import { stat } from 'node:fs/promises';
import { FileSource } from '../lib/hub/local_folder.js';
import { openModelFolder, type ModelFolder } from '../lib/hub/model_folder.js';
import type { ByteSource } from '../lib/weights/safetensors.js';
import { readCheckpoint, safetensorsView } from './checkpoint.js';
import { checkpointFolder, type CheckpointOptions } from './checkpoint_folder.js';

/**
 * A model from whatever the user has: a folder, a single-file checkpoint (`.safetensors`, `.ckpt`), or a folder with pickled weights.
 * What it returns can be converted, and loaded by `DiffusionPipeline.fromPretrained` or a network's.
 */
export async function openSource(source: string | ModelFolder, options: CheckpointOptions = {}): Promise<ModelFolder> {
  if (typeof source === 'string' && (await stat(source).catch(() => undefined))?.isFile()) {
    return checkpointFolder(await readCheckpoint(source, () => FileSource.open(source)), options);
  }
  return new UnpickledFolder(await openModelFolder(source));
}

/** A folder in which each pickled file of weights seems to be the safetensors file that it lacks. */
class UnpickledFolder implements ModelFolder {
  readonly name: string;

  constructor(private readonly folder: ModelFolder) {
    this.name = folder.name;
  }

  async has(path: string): Promise<boolean> {
    return await this.folder.has(path) || await this.pickleFor(path) !== undefined;
  }

  readJson(path: string): Promise<unknown> {
    return this.folder.readJson(path);
  }

  readText(path: string): Promise<string> {
    return this.folder.readText(path);
  }

  async open(path: string): Promise<ByteSource> {
    const pickle = await this.folder.has(path) ? undefined : await this.pickleFor(path);
    if (!pickle) return this.folder.open(path);
    const { tensors, open } = await readCheckpoint(`${this.name}/${pickle}`, () => this.folder.open(pickle));
    return safetensorsView(tensors, await open());
  }

  /** diffusers pickles `diffusion_pytorch_model.bin`, transformers `pytorch_model.bin`; a variant comes before the end in both. */
  private async pickleFor(path: string): Promise<string | undefined> {
    const match = /^(.*\/)?(diffusion_pytorch_model|model)(\.[\w-]+)?\.safetensors$/.exec(path);
    if (!match) return undefined;
    const [, folder = '', stem, variant = ''] = match;
    const pickle = `${folder}${stem === 'model' ? 'pytorch_model' : stem}${variant}.bin`;
    return await this.folder.has(pickle) ? pickle : undefined;
  }
}
