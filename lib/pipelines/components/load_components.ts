import { checkOneOf, checkOptionNames, show } from '../../core/checks.js';
import { isObject } from '../../core/json.js';
import { ModelFileError, type DownloadProgress, type ModelFolder, type ModelSource } from '../../files/model_folder.js';
import { openModelFolder } from '../../loading/open_model_folder.js';
import type { OpenOptions } from '../../loading/open_options.js';
import { isTextEncoderSource, withTextEncoders, type TextEncoderSources } from '../../loading/with_text_encoders.js';
import type { LoadModelOptions } from '../../models/load_model.js';
import { Model } from '../../models/model.js';
import type { Device } from '../../runtime/devices.js';
import type { Component, ComponentPlace } from './component.js';
import type { StableDiffusionComponents } from './components.js';
import { checkComponent, makePipeline } from './make_pipeline.js';
import { pipelineClass, type PipelineClass } from './registry.js';

/** How far loading is: while a model on the hub is fetched, and while the weights of a component are read, in bytes. */
export type LoadingProgress = DownloadProgress | { stage: 'load'; component: string; loaded: number; total: number };

/** Where and how to load a pipeline. */
export interface LoadPipelineOptions
  extends Pick<LoadModelOptions, 'dtype' | 'variant' | 'useSafetensors'>, Omit<OpenOptions, 'progressCallback' | 'config'> {
  /** The device to run on; by default the best one of the machine. */
  device?: Device | 'auto';
  /**
   * As enableModelCpuOffload or enableSequentialCpuOffload, and from the start: no weight is put on the device before it is used. For
   * models that do not fit there as a whole.
   */
  cpuOffload?: 'model' | 'sequential';
  /** Whether networks run as graphs, see DiffusionPipeline.compile: by default on `cuda`. */
  compile?: boolean;
  /** Called while files are fetched, and then while weights are read. */
  progressCallback?: (progress: LoadingProgress) => void;
}

const OPTIONS = Object.keys({
  device: true, dtype: true, variant: true, useSafetensors: true, cpuOffload: true, compile: true, progressCallback: true, signal: true,
  predictionType: true, revision: true, cacheDir: true, localFilesOnly: true, token: true, endpoint: true,
} satisfies Record<keyof LoadPipelineOptions, true>);

/** What diffusers calls otherwise, or needs. */
const OF_DIFFUSERS = {
  torch_dtype: 'dtype', torchDtype: 'dtype', device_map: 'device',
  requires_safety_checker: 'pictures are checked where there is a safetyChecker',
  depth_estimator: 'generate takes a depthMap',
  low_cpu_mem_usage: 'weights never take twice their size',
};

/**
 * Options of `fromPretrained`: where and how to load, and components to take instead of the folder's, or null to leave out one that is
 * optional. The folder's safety checker is loaded only for `safetyChecker: true`. Text encoders may be given by their files as well.
 */
export type FromPretrainedOptions<C extends object = StableDiffusionComponents> = LoadPipelineOptions & {
  [Name in keyof C]?: C[Name] | (Name extends keyof TextEncoderSources ? ModelSource : never)
    | (Name extends 'safetyChecker' ? boolean : undefined extends C[Name] ? null : never);
};

/**
 * Reads what `model_index.json` lists, one component after the other, and makes a pipeline of it: by default of the class that it names,
 * which must be one of ours. A class that is asked for takes the parts of any, as in diffusers.
 */
export async function loadPipeline(source: ModelSource, options: FromPretrainedOptions<object>, Pipeline?: PipelineClass): Promise<object> {
  if (options.cpuOffload !== undefined) checkOneOf('cpuOffload', options.cpuOffload, ['model', 'sequential']);
  const own = await openModelFolder(source, options);
  if (!await own.has('model_index.json')) {
    throw new ModelFileError(`${own.name}: has no model_index.json, takes a whole pipeline`);
  }
  const folder = await withTextEncoders(own, options, options);
  const index = await folder.readJson('model_index.json');
  const path = `${folder.name}/model_index.json`;
  if (!isObject(index)) throw new ModelFileError(`${path}: got ${show(index)}, takes an object`);
  const Class = Pipeline ?? pipelineClass(index._class_name, `${path}: _class_name`);
  const { components: table, takeExtras } = Class.family;
  checkOptionNames('fromPretrained', options, [...OPTIONS, ...Object.keys(table)], OF_DIFFUSERS);
  const isGiven = ([name, value]: [string, unknown]) =>
    Object.hasOwn(table, name) && value !== undefined && !(table[name].onlyIfAsked && typeof value === 'boolean') &&
    !isTextEncoderSource(name, value);
  const given = Object.fromEntries(Object.entries(options).filter(isGiven));
  for (const [name, value] of Object.entries(given)) {
    if (value !== null) checkComponent(name, table[name], value);
    else if (!table[name].optional) throw new TypeError(`${name}: got null, takes one: the pipeline cannot be without it`);
  }

  // Every class is known, and every file, before anything large is fetched.
  const isWanted = (name: string): boolean => {
    const { optional, subfolder, onlyIfAsked, serves } = table[name];
    const isThere = className(index[subfolder]) != null;
    const isAsked = !onlyIfAsked || (options as Record<string, unknown>)[name] === true;
    if (onlyIfAsked && isAsked && !isThere) throw new ModelFileError(`${path}: ${subfolder}: there is none; ${name} takes a loaded one`);
    const isThereFor = (other: string) => given[other] !== undefined ? given[other] !== null : isWanted(other);
    return !optional || (isThere && isAsked && (serves?.some(isThereFor) ?? true));
  };
  const missing = Object.entries(table).filter(([name]) => given[name] === undefined && isWanted(name));
  const parts = missing.map(([name, component]) => ({ name, component, place: placeOf(component, folder, index, options) }));
  const files: string[] = [];
  for (const { component, place } of parts) files.push(...await component.files(place));
  await folder.prefetch?.(files);

  const components = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
  try {
    for (const { name, component, place } of parts) {
      options.signal?.throwIfAborted();
      components[name] = await component.load(place);
    }
    const pipe = makePipeline(Class, components);
    await takeExtras?.(components as never, folder, given as never);
    return pipe;
  } catch (error) {
    for (const { name } of parts) if (components[name] instanceof Model) components[name].dispose();
    throw error;
  }
}

/** @throws RangeError for a class that the component cannot be of. */
function placeOf(
  component: Component<unknown>, folder: ModelFolder, index: Record<string, unknown>, options: LoadPipelineOptions,
): ComponentPlace {
  const { subfolder } = component;
  const { dtype, variant, useSafetensors, cpuOffload, progressCallback } = options;
  const key = `${folder.name}/model_index.json: ${subfolder}`;
  return {
    folder, subfolder,
    className: component.classNames ? checkOneOf(key, className(index[subfolder]) as string, component.classNames()) : '',
    options: {
      dtype, variant, useSafetensors, offload: cpuOffload !== undefined,
      onProgress: progress => progressCallback?.({ stage: 'load', component: subfolder, ...progress }),
    },
  };
}

/** Of an entry of model_index.json: `[library, class]`. */
function className(entry: unknown): unknown {
  return Array.isArray(entry) ? entry[1] : entry;
}
