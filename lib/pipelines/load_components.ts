import { learnBundledWords } from '../adapters/learned_words.js';
import { BUNDLED_WORDS } from '../checkpoints/bundled_words.js';
import { checkOneOf, show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import { ModelFileError, type DownloadProgress, type ModelSource } from '../files/model_folder.js';
import { openModelFolder } from '../loading/open_model_folder.js';
import type { OpenOptions } from '../loading/open_options.js';
import { readStateDict } from '../loading/state_dict.js';
import { modelFiles } from '../loading/weight_files.js';
import type { Autoencoder } from '../models/autoencoder.js';
import { AutoencoderKL } from '../models/autoencoder_kl.js';
import { AutoencoderTiny } from '../models/autoencoder_tiny.js';
import { CLIPTextModel } from '../models/clip_text_model.js';
import { CLIPTextModelWithProjection } from '../models/clip_text_model_with_projection.js';
import type { FromPretrainedOptions as NetworkOptions, Model } from '../models/model.js';
import { UNet2DConditionModel } from '../models/unet_2d_condition_model.js';
import type { Device } from '../runtime/devices.js';
import { schedulerClass, schedulerClasses } from '../schedulers/index.js';
import { CLIPTokenizer } from '../tokenizer/clip_tokenizer.js';
import { LatentConsistencyModelPipeline } from './latent_consistency_model.js';
import { LatentConsistencyModelImg2ImgPipeline } from './latent_consistency_model_img2img.js';
import { StableDiffusionPipeline, type StableDiffusionComponents } from './stable_diffusion.js';
import { StableDiffusionImg2ImgPipeline } from './stable_diffusion_img2img.js';
import { StableDiffusionInpaintPipeline } from './stable_diffusion_inpaint.js';

/** How far loading is: while a model on the hub is fetched, and while the weights of a component are read, in bytes. */
export type LoadingProgress = DownloadProgress | { stage: 'load'; component: string; loaded: number; total: number };

/** Options of `fromPretrained`: where and how to load, and components to take instead of the folder's. */
export interface FromPretrainedOptions
  extends Partial<StableDiffusionComponents>, Pick<NetworkOptions, 'dtype' | 'variant' | 'useSafetensors'>, Omit<OpenOptions, 'progressCallback'> {
  /** What to run on; the best there is by default. */
  device?: Device | 'auto';
  /**
   * As enableModelCpuOffload or enableSequentialCpuOffload, and from the start: no weight is put on the device before it is used. For models
   * that do not fit there as a whole.
   */
  cpuOffload?: 'model' | 'sequential';
  /** Whether networks run as graphs, see DiffusionPipeline.compile: by default on `cuda`. */
  compile?: boolean;
  /** Called while files are fetched, and then while weights are read. */
  progressCallback?: (progress: LoadingProgress) => void;
}

/** A class of pipelines. */
export type PipelineClass<P extends StableDiffusionPipeline = StableDiffusionPipeline> = new (components: StableDiffusionComponents) => P;

const pipelineClasses: Record<string, PipelineClass> = {
  StableDiffusionPipeline, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, LatentConsistencyModelPipeline, LatentConsistencyModelImg2ImgPipeline,
};

type NetworkClass<M> = (new (config: never) => M) & { readonly className: string } & Pick<typeof Model, 'fromPretrained'>;

/** The classes that each network can be of. */
const textEncoders: Record<string, NetworkClass<CLIPTextModel>> = { CLIPTextModel, CLIPTextModelWithProjection };
const unets: Record<string, NetworkClass<UNet2DConditionModel>> = { UNet2DConditionModel };
const vaes: Record<string, NetworkClass<Model<unknown> & Autoencoder>> = { AutoencoderKL, AutoencoderTiny };

/**
 * Reads what `model_index.json` lists, one component after the other, and makes a pipeline of it: by default of the class that it names, which
 * must be one of ours. A class that is asked for takes the parts of any, as in diffusers.
 */
export async function loadPipeline(
  source: ModelSource, options: FromPretrainedOptions, Pipeline?: PipelineClass,
): Promise<StableDiffusionPipeline> {
  if (options.cpuOffload !== undefined) checkOneOf('cpuOffload', options.cpuOffload, ['model', 'sequential']);
  const folder = await openModelFolder(source, options);
  if (!await folder.has('model_index.json')) {
    throw new ModelFileError(`${folder.name}: has no model_index.json, takes a whole pipeline`);
  }
  const index = await folder.readJson('model_index.json');
  const path = `${folder.name}/model_index.json`;
  if (!isObject(index)) throw new ModelFileError(`${path}: got ${show(index)}, takes an object`);
  const known = Object.keys(pipelineClasses);
  if (!Pipeline && !known.includes(index._class_name as string)) {
    const hint = 'StableDiffusionPipeline.fromPretrained tries the parts of any';
    throw new RangeError(`${path}: _class_name: got ${show(index._class_name)}, takes ${known.map(show).join(', ')}; ${hint}`);
  }
  const className = (component: string, known: readonly string[]) => {
    const entry = index[component]; // [library, class]
    return checkOneOf(`${path}: ${component}`, Array.isArray(entry) ? entry[1] : entry, known);
  };

  // Every class is known, and every file, before anything large is fetched.
  const files: string[] = [];
  const schedulerName = options.scheduler ? undefined : className('scheduler', Object.keys(schedulerClasses));
  if (schedulerName) files.push('scheduler/scheduler_config.json');
  if (!options.tokenizer) {
    className('tokenizer', ['CLIPTokenizer', 'CLIPTokenizerFast']);
    files.push(...CLIPTokenizer.fileNames.map(file => `tokenizer/${file}`));
  }
  const networks = [['text_encoder', textEncoders, options.textEncoder], ['unet', unets, options.unet], ['vae', vaes, options.vae]] as const;
  for (const [subfolder, classes, given] of networks) {
    if (given) continue;
    className(subfolder, Object.keys(classes));
    files.push(...await modelFiles(folder, { ...options, subfolder }));
  }
  const hasWords = !options.textEncoder && !options.tokenizer && await folder.has(BUNDLED_WORDS); // what is given stays as it is
  if (hasWords) files.push(BUNDLED_WORDS);
  await folder.prefetch?.(files);

  const loaded: Model<unknown>[] = [];
  const network = async <M extends Model<unknown>>(subfolder: string, classes: Record<string, NetworkClass<M>>): Promise<M> => {
    const { dtype, variant, useSafetensors, cpuOffload, signal, progressCallback } = options;
    signal?.throwIfAborted();
    const model = await classes[className(subfolder, Object.keys(classes))].fromPretrained(folder, {
      subfolder, dtype, variant, useSafetensors, offload: cpuOffload !== undefined,
      onProgress: progress => progressCallback?.({ stage: 'load', component: subfolder, ...progress }),
    });
    loaded.push(model);
    return model;
  };
  const scheduler = async (name: string) => {
    const config = await folder.readJson('scheduler/scheduler_config.json');
    if (!isObject(config)) throw new ModelFileError(`${folder.name}/scheduler/scheduler_config.json: got ${show(config)}, takes an object`);
    return schedulerClass(name).fromConfig(config);
  };
  try {
    const pipe = new (Pipeline ?? pipelineClasses[index._class_name as string])({
      scheduler: options.scheduler ?? await scheduler(schedulerName!),
      tokenizer: options.tokenizer ?? await CLIPTokenizer.fromPretrained(folder, { subfolder: 'tokenizer' }),
      textEncoder: options.textEncoder ?? await network('text_encoder', textEncoders),
      unet: options.unet ?? await network('unet', unets),
      vae: options.vae ?? await network('vae', vaes),
    });
    if (hasWords) learnBundledWords(pipe, folder.name, (await readStateDict(folder, BUNDLED_WORDS)).tensors);
    return pipe;
  } catch (error) {
    loaded.forEach(model => model.dispose());
    throw error;
  }
}
