import { show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import type { WeightFile } from '../files/byte_source.js';
import { ModelFileError, type ModelFolder } from '../files/model_folder.js';

export interface WeightFilesOptions {
  /** Where in the folder the model lies, as in 'unet'; the folder itself by default. */
  subfolder?: string;
  /** As in 'fp16', for `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string;
  /** Whether to read safetensors files only (true) or pickles only (false). Default: pickles where there is nothing else. */
  useSafetensors?: boolean;
}

const MAX_SHARDS = 1000;

/** The names that diffusers and transformers give a model's weights. */
const diffusersNames = [{ stem: 'diffusion_pytorch_model', end: 'safetensors' }, { stem: 'diffusion_pytorch_model', end: 'bin' }];
const transformersNames = [{ stem: 'model', end: 'safetensors' }, { stem: 'pytorch_model', end: 'bin' }];

/** Whether a class is one of transformers, and not of diffusers. */
export function isOfTransformers(className: string): boolean {
  return /^(CLIP|T5)/.test(className);
}

/** What a network's weights are called without the end: by transformers for its own classes and the safety checker, else by diffusers. */
export function weightStem(className: string): string {
  const [{ stem }] = isOfTransformers(className) || className === 'StableDiffusionSafetyChecker' ? transformersNames : diffusersNames;
  return stem;
}

/** All of them, safetensors first; of each kind the likely one of such a folder first, so that a server is hardly asked for the other. */
function weightNames(subfolder = ''): typeof diffusersNames {
  const ofTransformers = /(^|\/)(text_encoder|image_encoder|safety_checker)/.test(subfolder);
  const [likely, other] = ofTransformers ? [transformersNames, diffusersNames] : [diffusersNames, transformersNames];
  return likely.flatMap((name, i) => [name, other[i]]);
}

/**
 * Opens the file of a model's weights, or all of its shards: safetensors, or where there are none pickles, of which nothing is executed.
 * The caller closes them.
 * @throws ModelFileError if there is none.
 */
export async function openWeightFiles(folder: ModelFolder, options: WeightFilesOptions = {}): Promise<WeightFile[]> {
  const prefix = options.subfolder ? `${options.subfolder}/` : '';
  const files: WeightFile[] = [];
  try {
    for (const path of await findWeightFiles(folder, options)) files.push(await openWeightFile(folder, prefix + path));
    return files;
  } catch (error) {
    await closeWeightFiles(files);
    throw error;
  }
}

/** Opens one file of weights, safetensors or pickled. */
export async function openWeightFile(folder: ModelFolder, path: string): Promise<WeightFile> {
  const name = `${folder.name}/${path}`;
  if (path.endsWith('.safetensors')) return { name, source: await folder.open(path) };
  const { openPickle } = await import('../checkpoints/open_pickle.js'); // rare, and needs Node
  return { name, source: await openPickle(name, () => folder.open(path)) };
}

export async function closeWeightFiles(files: WeightFile[]): Promise<void> {
  await Promise.all(files.map(file => file.source.close()));
}

/** The paths of what a model is loaded from: its config and its weights. */
export async function modelFiles(folder: ModelFolder, options: WeightFilesOptions = {}): Promise<string[]> {
  return ['config.json', ...await findWeightFiles(folder, options)].map(file => options.subfolder ? `${options.subfolder}/${file}` : file);
}

/** The names, inside `subfolder`, of the files that openWeightFiles opens. */
export async function findWeightFiles(folder: ModelFolder, options: WeightFilesOptions = {}): Promise<string[]> {
  const { subfolder, variant, useSafetensors } = options;
  const prefix = subfolder ? `${subfolder}/` : '';
  const dotVariant = variant ? `.${variant}` : '';
  const name = subfolder ? `${folder.name}/${subfolder}` : folder.name;
  const accepted = weightNames(subfolder).filter(({ end }) => useSafetensors === undefined || (end === 'safetensors') === useSafetensors);
  for (const { stem, end } of accepted) {
    const whole = `${stem}${dotVariant}.${end}`;
    if (await folder.has(prefix + whole)) return [whole];
    for (const index of [`${stem}.${end}.index${dotVariant}.json`, `${stem}.${end}${dotVariant}.index.json`]) {
      const path = prefix + index;
      if (await folder.has(path)) return shardNames(`${folder.name}/${path}`, await folder.readJson(path), end);
    }
  }
  if (variant && await findWeightFiles(folder, { subfolder, useSafetensors }).catch(() => undefined)) {
    throw new ModelFileError(`${name}: has no weights of the variant ${show(variant)}, only without a variant`);
  }
  if (useSafetensors && await findWeightFiles(folder, { subfolder, variant }).catch(() => undefined)) {
    throw new ModelFileError(`${name}: has its weights only as pickles, which useSafetensors: true refuses`);
  }
  const names = accepted.map(({ stem, end }) => `${stem}${dotVariant}.${end}`);
  throw new ModelFileError(`${name}: has no weights: there is none of ${names.join(', ')}`);
}

/** The distinct files that an index names; a shard lies beside its index. */
function shardNames(name: string, index: unknown, end: string): string[] {
  if (!isObject(index) || !isObject(index.weight_map)) throw new ModelFileError(`${name}: takes { weight_map: { ... } }`);
  const shards = [...new Set(Object.values(index.weight_map))];
  if (shards.length > MAX_SHARDS) throw new ModelFileError(`${name}: names ${shards.length} files, takes up to ${MAX_SHARDS}`);
  for (const shard of shards) {
    if (typeof shard !== 'string' || !/^[\w-][\w.-]*$/.test(shard) || !shard.endsWith(`.${end}`)) {
      throw new ModelFileError(`${name}: names the shard ${show(shard)}, takes a .${end} file beside it`);
    }
  }
  return shards as string[];
}
