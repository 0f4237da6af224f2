import { checkedIn, show } from '../../core/checks.js';
import { isObject } from '../../core/json.js';
import { ModelFileError, type ModelFolder } from '../../files/model_folder.js';
import { isOfTransformers, modelFiles, type WeightFilesOptions } from '../../loading/weight_files.js';
import type { LoadModelOptions } from '../../models/load_model.js';
import { CLIPImageProcessor } from '../../models/clip_image_processor.js';
import { Model } from '../../models/model.js';
import { jsonFile, modelPart, textFile, type FolderPart, type SaveOptions } from '../../models/save_model.js';
import { numberedName, SeveralModels, subfoldersOf } from '../../models/several_models.js';
import { schedulerClass, schedulerClasses } from '../../schedulers/index.js';
import type { Scheduler, SchedulerClass } from '../../schedulers/scheduler.js';
import { CLIPTokenizer } from '../../tokenizer/clip_tokenizer.js';
import { T5Tokenizer } from '../../tokenizer/t5_tokenizer.js';

/** Where a component is, its class, and how to load it. */
export interface ComponentPlace {
  readonly folder: ModelFolder;
  /** The folder of the component in it. */
  readonly subfolder: string;
  /** The class that model_index.json names. */
  readonly className: string;
  readonly options: Pick<LoadModelOptions, 'dtype' | 'offload' | 'onProgress'> & Omit<WeightFilesOptions, 'subfolder'>;
}

/** One part of a pipeline, and how it is loaded. */
export interface Component<T> {
  /** Its name in model_index.json, which is also that of its folder. */
  readonly subfolder: string;
  /** The names of the classes that it can have; undefined for a value that is in model_index.json itself. */
  classNames?(): readonly string[];
  /** Whether a value can be it; undefined where its pipelines look themselves. */
  isOne?(value: unknown): boolean;
  /** All files that `load` reads, as far as they exist. */
  files(place: ComponentPlace): Promise<readonly string[]> | readonly string[];
  load(place: ComponentPlace): Promise<T>;
  /** Its entries in model_index.json, by key; `value` is undefined if the pipeline does not have it. */
  entries(value?: T): Record<string, unknown>;
  /** The parts of a folder that `savePretrained` writes for it. @throws WeightsError for a network that cannot be written. */
  parts(value: T, options: SaveOptions): readonly FolderPart[];
  /** Whether a pipeline can do without it. */
  readonly optional?: boolean;
  /** Whether it is loaded only if the option of its name is true. */
  readonly onlyIfAsked?: boolean;
  /** The names of components that need this one: if the pipeline has none of them, it is not loaded. */
  readonly serves?: readonly string[];
}

type NetworkClass<M> = (new (config: never) => M) & { readonly className: string } & Pick<typeof Model, 'fromPretrained'>;

/** A network of one of these classes. */
export function network<M>(subfolder: string, ...classes: NetworkClass<M & Model<unknown>>[]): Component<M> {
  const byName = new Map(classes.map(each => [each.className, each]));
  return {
    subfolder,
    classNames: () => [...byName.keys()],
    isOne: value => value instanceof Model && byName.has(value.getClassName()),
    files: ({ folder, subfolder, options }) => modelFiles(folder, { ...options, subfolder }),
    load: ({ folder, subfolder, className, options }) => byName.get(className)!.fromPretrained(folder, { ...options, subfolder }),
    entries: value => entry(subfolder, (value as Model<unknown> | undefined)?.getClassName()),
    parts: (value, options) => [modelPart(value as Model<object>, subfolder, options)],
  };
}

/** What model_index.json says of a class: of which library it is, of which name; or that there is none. */
function entry(subfolder: string, className?: string): Record<string, unknown> {
  if (className === undefined) return { [subfolder]: [null, null] };
  const library = isOfTransformers(className) ? 'transformers' : className.endsWith('SafetyChecker') ? 'stable_diffusion' : 'diffusers';
  return { [subfolder]: [library, className] };
}

/** A network, or several as one, which lie side by side as diffusers saves them: in `subfolder`, `subfolder_1`, ... */
export function oneOrSeveral<M>(
  subfolder: string, One: NetworkClass<M & Model<unknown>>, Several: NetworkClass<M & Model<unknown>>,
): Component<M> {
  const either = network<M>(subfolder, One, Several);
  return {
    ...either,
    isOne: undefined, // whose hints are better
    async files(place) {
      const each = place.className === One.className ? [subfolder] : await subfoldersOf(place.folder, subfolder);
      return (await Promise.all(each.map(subfolder => either.files({ ...place, subfolder })))).flat();
    },
    parts: (value, options) => {
      const members = value instanceof SeveralModels ? value.members as ReadonlyArray<Model<object>> : [value as unknown as Model<object>];
      return members.map((model, i) => modelPart(model, numberedName(subfolder, i), options));
    },
  };
}

/** A scheduler, of any class. */
export function scheduler(subfolder = 'scheduler'): Component<Scheduler> {
  const path = `${subfolder}/scheduler_config.json`;
  return {
    subfolder,
    classNames: () => Object.keys(schedulerClasses),
    files: () => [path],
    async load({ folder, className }) {
      const config = await folder.readJson(path);
      if (!isObject(config)) throw new ModelFileError(`${folder.name}/${path}: got ${show(config)}, takes an object`);
      return checkedIn(`${folder.name}/${path}`, () => schedulerClass(className).fromConfig(config));
    },
    entries: value => entry(subfolder, value && (value.constructor as unknown as SchedulerClass).className),
    parts: ({ config }) => [jsonFile(path, Object.fromEntries(Object.entries(config).filter(isWritten)))],
  };
}

/** Whether an option of a scheduler is written: no note of ours, and no infinite number, which JSON has none for and is the default. */
function isWritten([key, value]: [string, unknown]): boolean {
  return key !== '_use_default_values' && !(typeof value === 'number' && !Number.isFinite(value));
}

/** What is needed of a class of tokenizers. */
interface TokenizerClass<T> {
  readonly prototype: object;
  readonly fileNames: readonly string[];
  fromPretrained(folder: ModelFolder, options: { subfolder: string }): Promise<T>;
}

function tokenizerOf<T extends { toFiles(): Record<string, string> }>(
  subfolder: string, Class: TokenizerClass<T>, names: readonly [saved: string, ...others: string[]],
): Component<T> {
  return {
    subfolder,
    classNames: () => names,
    isOne: value => Object.prototype.isPrototypeOf.call(Class.prototype, value as object),
    files: () => Class.fileNames.map(file => `${subfolder}/${file}`),
    load: ({ folder, subfolder }) => Class.fromPretrained(folder, { subfolder }),
    entries: value => entry(subfolder, value && names[0]),
    parts: tokenizer => Object.entries(tokenizer.toFiles()).map(([file, content]) => textFile(`${subfolder}/${file}`, content)),
  };
}

/** CLIP's tokenizer. */
export function tokenizer(subfolder = 'tokenizer'): Component<CLIPTokenizer> {
  return tokenizerOf(subfolder, CLIPTokenizer, ['CLIPTokenizer', 'CLIPTokenizerFast']);
}

/** T5's tokenizer. */
export function t5Tokenizer(subfolder: string): Component<T5Tokenizer> {
  return tokenizerOf(subfolder, T5Tokenizer, ['T5TokenizerFast', 'T5Tokenizer']);
}

/** What makes of pictures what CLIP's image encoder sees, where a pipeline has one. */
export function imageProcessor(serves: readonly string[], subfolder = 'feature_extractor'): Component<CLIPImageProcessor> {
  return {
    subfolder,
    optional: true,
    serves,
    classNames: () => ['CLIPImageProcessor', 'CLIPImageProcessorFast', 'CLIPImageProcessorPil', 'CLIPFeatureExtractor'],
    isOne: value => value instanceof CLIPImageProcessor,
    files: () => CLIPImageProcessor.fileNames.map(file => `${subfolder}/${file}`),
    load: ({ folder, subfolder }) => CLIPImageProcessor.fromPretrained(folder, { subfolder }),
    entries: value => entry(subfolder, value && 'CLIPImageProcessor'),
    parts: ({ config }) => CLIPImageProcessor.fileNames.map(file => (
      jsonFile(`${subfolder}/${file}`, { ...config, image_processor_type: 'CLIPImageProcessor' })
    )),
  };
}

/** What the pipeline itself was told: a value in model_index.json. @param usual a value that is not written. */
export function flag(key: string, usual?: boolean): Component<boolean | undefined> {
  return {
    ...setting(key, value => typeof value === 'boolean', 'true or false'),
    entries: value => value === undefined || value === usual ? {} : { [key]: value }, // relatives in diffusers have no such option
  };
}

/** The same, of a whole number. */
export function count(key: string): Component<number | undefined> {
  return setting(key, value => Number.isInteger(value) && value as number >= 0, 'a whole number from 0 on');
}

function setting<T>(key: string, fits: (value: unknown) => boolean, takes: string): Component<T | undefined> {
  return {
    subfolder: key,
    optional: true,
    files: () => [],
    async load({ folder }) {
      const value = (await folder.readJson('model_index.json') as Record<string, unknown>)[key];
      if (!fits(value)) throw new ModelFileError(`${folder.name}/model_index.json: ${key}: got ${show(value)}, takes ${takes}`);
      return value as T;
    },
    entries: value => value === undefined ? {} : { [key]: value },
    parts: () => [],
  };
}

/**
 * A VAE, in float32 where float16 is asked for, unless the `force_upcast` of its config is false: SDXL's own grows too large for float16.
 * So does diffusers, but for each picture.
 */
export function upcast<T>(vae: Component<T>): Component<T> {
  return {
    ...vae,
    async load(place) {
      const { folder, subfolder, className, options } = place;
      if (options.dtype !== 'float16' || className !== 'AutoencoderKL') return vae.load(place);
      const config = await folder.readJson(`${subfolder}/config.json`);
      const stays = isObject(config) && config.force_upcast === false;
      return vae.load(stays ? place : { ...place, options: { ...options, dtype: 'float32' } });
    },
  };
}

/** A family of pipelines: its components, in the order in which they are loaded. */
export interface Family<C extends object> {
  readonly components: { readonly [Name in keyof C]-?: Component<C[Name]> };
  /** Takes further files of the folder into account; `given` are the components that were passed in. */
  takeExtras?(components: C, folder: ModelFolder, given: Partial<C>): Promise<void>;
}
