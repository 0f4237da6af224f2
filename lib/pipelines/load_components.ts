import { checkOneOf, show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import { ModelFileError, openModelFolder, type ModelFolder } from '../hub/model_folder.js';
import { AutoencoderKL } from '../models/autoencoder_kl.js';
import { CLIPTextModel } from '../models/clip_text_model.js';
import type { FromPretrainedOptions as NetworkOptions, Model } from '../models/model.js';
import { UNet2DConditionModel } from '../models/unet_2d_condition_model.js';
import type { Device } from '../runtime/devices.js';
import { schedulerClass, schedulerClasses } from '../schedulers/index.js';
import { CLIPTokenizer } from '../tokenizer/clip_tokenizer.js';
import { StableDiffusionPipeline, type StableDiffusionComponents } from './stable_diffusion.js';

/** Options of `fromPretrained`: where and how to load, and components to take instead of the folder's. */
export interface FromPretrainedOptions extends Partial<StableDiffusionComponents> {
  /** What to run on; the best there is by default. */
  device?: Device | 'auto';
  /** What the weights become. */
  dtype?: NetworkOptions['dtype'];
  /** As in 'fp16', for `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string;
  /** Weights are read from safetensors in any case: false is refused. */
  useSafetensors?: boolean;
  /** Called while weights are read, with the component's name in the folder and its bytes. */
  progressCallback?: (progress: { component: string; loaded: number; total: number }) => void;
}

/** Reads what `model_index.json` lists, one component after the other, and makes the pipeline of it. */
export async function loadPipeline(source: string | ModelFolder, options: FromPretrainedOptions): Promise<StableDiffusionPipeline> {
  const folder = await openModelFolder(source);
  if (options.useSafetensors === false) throw new RangeError('useSafetensors: got false, takes true: weights are read from safetensors only');
  if (!await folder.has('model_index.json')) {
    throw new ModelFileError(`${folder.name}: has no model_index.json, takes the folder of a whole pipeline`);
  }
  const index = await folder.readJson('model_index.json');
  const path = `${folder.name}/model_index.json`;
  if (!isObject(index)) throw new ModelFileError(`${path}: got ${show(index)}, takes an object`);
  checkOneOf(`${path}: _class_name`, index._class_name, ['StableDiffusionPipeline']);
  const className = (component: string, known: readonly string[]) => {
    const entry = index[component]; // [library, class]
    return checkOneOf(`${path}: ${component}`, Array.isArray(entry) ? entry[1] : entry, known);
  };

  const loaded: Model<unknown>[] = [];
  const network = async <M extends Model<unknown>>(subfolder: string, Network: NetworkClass<M>): Promise<M> => {
    className(subfolder, [Network.className]);
    const { dtype, variant, progressCallback } = options;
    const model = await Network.fromPretrained(folder, {
      subfolder, dtype, variant, onProgress: progress => progressCallback?.({ component: subfolder, ...progress }),
    });
    loaded.push(model);
    return model;
  };
  const tokenizer = async () => {
    className('tokenizer', ['CLIPTokenizer', 'CLIPTokenizerFast']);
    return CLIPTokenizer.fromPretrained(folder, { subfolder: 'tokenizer' });
  };
  const scheduler = async () => {
    const Scheduler = schedulerClass(className('scheduler', Object.keys(schedulerClasses)));
    const config = await folder.readJson('scheduler/scheduler_config.json');
    if (!isObject(config)) throw new ModelFileError(`${folder.name}/scheduler/scheduler_config.json: got ${show(config)}, takes an object`);
    return Scheduler.fromConfig(config);
  };
  try {
    return new StableDiffusionPipeline({
      scheduler: options.scheduler ?? await scheduler(),
      tokenizer: options.tokenizer ?? await tokenizer(),
      textEncoder: options.textEncoder ?? await network('text_encoder', CLIPTextModel),
      unet: options.unet ?? await network('unet', UNet2DConditionModel),
      vae: options.vae ?? await network('vae', AutoencoderKL),
    });
  } catch (error) {
    loaded.forEach(model => model.dispose());
    throw error;
  }
}

type NetworkClass<M> = (new (config: never) => M) & { readonly className: string } & Pick<typeof Model, 'fromPretrained'>;
