import { ensureBackend } from '../core/backend.js';
import type { Block } from '../core/block.js';
import { checkedIn, checkOneOf, checkOptionNames } from '../core/checks.js';
import { isObject } from '../core/json.js';
import type { WeightFile } from '../files/byte_source.js';
import { isModelFolder, ModelFileError, type ModelFolder, type ModelSource } from '../files/model_folder.js';
import { openModelFolder } from '../loading/open_model_folder.js';
import type { OpenOptions } from '../loading/open_options.js';
import { closeWeightFiles, modelFiles, openWeightFiles, type WeightFilesOptions } from '../loading/weight_files.js';
import { loadWeights, weightSizes, type LoadWeightsOptions } from '../weights/load_weights.js';

/** What `fromPretrained` of a network takes. */
export type LoadModelOptions = LoadWeightsOptions & WeightFilesOptions & Omit<OpenOptions, 'config'> & {
  /**
   * The config, for a file of this network alone, which has none; or the folder or hub id of a model with the same architecture, in which
   * `subfolder` is looked for.
   */
  config?: ModelSource | object;
};

const OPTIONS = Object.keys({
  dtype: true, offload: true, onProgress: true, subfolder: true, variant: true, useSafetensors: true, predictionType: true, config: true,
  revision: true, cacheDir: true, localFilesOnly: true, token: true, endpoint: true, progressCallback: true, signal: true,
} satisfies Record<keyof LoadModelOptions, true>);

export type ModelClass<M> = (new (config: never) => M) & {
  readonly className: string;
  /** What else configs call it. */
  readonly alsoCalled?: readonly string[];
  /** A config with what it may leave out and the weights tell: how many numbers each has. */
  readonly completeConfig?: (config: object, sizes: ReadonlyMap<string, number>) => object;
};

/** Makes the network that a folder's `config.json` describes and loads its weights; see Model.fromPretrained. Also gives that config. */
export async function loadModel<M extends Block>(
  Class: ModelClass<M>, source: ModelSource, options: LoadModelOptions,
): Promise<{ model: M; config: object }> {
  checkOptionNames('fromPretrained', options, OPTIONS, { torch_dtype: 'dtype', torchDtype: 'dtype' });
  const given = await readConfig(Class, options);
  const folder = await openModelFolder(source, { ...options, config: given });
  const isAlone = given && await folder.has('config.json'); // then the subfolder is the config's
  const subfolder = isAlone ? undefined : options.subfolder ?? await findInPipeline(folder, Class.className);
  options = { ...options, subfolder };
  if (folder.prefetch) await folder.prefetch(await modelFiles(folder, options));
  const stated = given ?? await configIn(folder, subfolder, Class);
  const sizes = Class.completeConfig && await withWeightFiles(folder, options, weightSizes);
  const make = () => {
    const config = sizes ? Class.completeConfig!(stated, sizes) : stated;
    return { config, model: new Class(config as never) };
  };
  const { model, config } = given ? make() : checkedIn(`${folder.name}/${subfolder ? `${subfolder}/` : ''}config.json`, make);
  await withWeightFiles(folder, options, async files => {
    await ensureBackend();
    await loadWeights(model, files, options);
  });
  return { model, config };
}

async function withWeightFiles<T>(
  folder: ModelFolder, options: WeightFilesOptions, work: (files: readonly WeightFile[]) => Promise<T>,
): Promise<T> {
  const files = await openWeightFiles(folder, options);
  try {
    return await work(files);
  } finally {
    await closeWeightFiles(files);
  }
}

/** The config that is given, or read where it is said to be. */
async function readConfig<M>(Class: ModelClass<M>, { config, subfolder, ...open }: LoadModelOptions): Promise<object | undefined> {
  if (config === undefined) return undefined;
  if (isObject(config) && !isModelFolder(config) && !(config instanceof URL)) return config;
  const folder = await openModelFolder(config as ModelSource, open as OpenOptions);
  return configIn(folder, subfolder ?? await findInPipeline(folder, Class.className), Class);
}

/** @throws ModelFileError, RangeError for one of another class. */
async function configIn<M>(folder: ModelFolder, subfolder: string | undefined, Class: ModelClass<M>): Promise<object> {
  const path = subfolder ? `${subfolder}/config.json` : 'config.json';
  const config = await folder.readJson(path);
  if (!isObject(config)) throw new ModelFileError(`${folder.name}/${path}: takes an object`);
  const names = [Class.className, ...Class.alsoCalled ?? []];
  if (config._class_name !== undefined) checkOneOf(`${folder.name}/${path}: _class_name`, config._class_name, names);
  return config;
}

/** Where a pipeline's folder has the model of a class; undefined for a folder of one model. */
async function findInPipeline(folder: ModelFolder, className: string): Promise<string | undefined> {
  if (await folder.has('config.json') || !await folder.has('model_index.json')) return undefined;
  const index = await folder.readJson('model_index.json');
  return Object.entries(isObject(index) ? index : {}).find(([, entry]) => Array.isArray(entry) && entry[1] === className)?.[0];
}
