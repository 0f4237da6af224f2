import { show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import { ModelFileError, type ModelFolder } from '../hub/model_folder.js';
import type { ByteSource } from './safetensors.js';

/** A file of weights: `name` is what errors call it. */
export interface WeightFile {
  readonly name: string;
  readonly source: ByteSource;
}

export interface WeightFilesOptions {
  /** Where in the folder the model lies, as in 'unet'; the folder itself by default. */
  subfolder?: string;
  /** As in 'fp16', for `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string;
  /** Weights are read from safetensors in any case: false is refused. */
  useSafetensors?: boolean;
}

const stems = ['diffusion_pytorch_model', 'model'];
const pickles = ['diffusion_pytorch_model.bin', 'pytorch_model.bin', 'diffusion_pytorch_model.bin.index.json', 'pytorch_model.bin.index.json'];

/**
 * Opens the safetensors file of a model, or all of its shards, under the names that diffusers and transformers give them.
 * The caller closes them.
 * @throws ModelFileError if there is none.
 */
export async function openWeightFiles(folder: ModelFolder, options: WeightFilesOptions = {}): Promise<WeightFile[]> {
  const prefix = options.subfolder ? `${options.subfolder}/` : '';
  const files: WeightFile[] = [];
  try {
    for (const path of await findWeightFiles(folder, options)) files.push({ name: `${folder.name}/${prefix}${path}`, source: await folder.open(prefix + path) });
    return files;
  } catch (error) {
    await closeWeightFiles(files);
    throw error;
  }
}

export async function closeWeightFiles(files: WeightFile[]): Promise<void> {
  await Promise.all(files.map(file => file.source.close()));
}

/** The paths of what a model is loaded from: its config and its weights. */
export async function modelFiles(folder: ModelFolder, options: WeightFilesOptions = {}): Promise<string[]> {
  return ['config.json', ...await findWeightFiles(folder, options)].map(file => options.subfolder ? `${options.subfolder}/${file}` : file);
}

/** The names, inside `subfolder`, of the files that openWeightFiles opens. */
export async function findWeightFiles(folder: ModelFolder, { subfolder, variant, useSafetensors }: WeightFilesOptions = {}): Promise<string[]> {
  if (useSafetensors === false) throw new RangeError('useSafetensors: got false, takes true: weights are read from safetensors only');
  const prefix = subfolder ? `${subfolder}/` : '';
  const dotVariant = variant ? `.${variant}` : '';
  for (const stem of stems) {
    const whole = `${stem}${dotVariant}.safetensors`;
    if (await folder.has(prefix + whole)) return [whole];
    for (const index of [`${stem}.safetensors.index${dotVariant}.json`, `${stem}.safetensors${dotVariant}.index.json`]) {
      if (await folder.has(prefix + index)) return shardNames(`${folder.name}/${prefix}${index}`, await folder.readJson(prefix + index));
    }
  }
  const name = subfolder ? `${folder.name}/${subfolder}` : folder.name;
  if (variant && await findWeightFiles(folder, { subfolder }).catch(() => undefined)) {
    throw new ModelFileError(`${name}: has no weights of the variant ${show(variant)}, only without a variant`);
  }
  for (const pickle of pickles) {
    if (await folder.has(prefix + pickle)) {
      throw new ModelFileError(`${name}: has its weights only as ${pickle}, a pickle; convert the model first, with tfjs-diffusers convert`);
    }
  }
  throw new ModelFileError(`${name}: has no weights: there is no ${stems.map(stem => `${stem}${dotVariant}.safetensors`).join(' or ')}`);
}

/** The distinct files that an index names; a shard lies beside its index. */
function shardNames(name: string, index: unknown): string[] {
  if (!isObject(index) || !isObject(index.weight_map)) throw new ModelFileError(`${name}: takes { weight_map: { ... } }`);
  const shards = [...new Set(Object.values(index.weight_map))];
  for (const shard of shards) {
    if (typeof shard !== 'string' || !/^[\w-][\w.-]*\.safetensors$/.test(shard)) {
      throw new ModelFileError(`${name}: names the shard ${show(shard)}, takes a .safetensors file beside it`);
    }
  }
  return shards as string[];
}
