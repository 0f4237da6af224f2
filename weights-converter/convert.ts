import { BUNDLED_WORDS } from '../lib/checkpoints/bundled_words.js';
import { UNION_KEY } from '../lib/checkpoints/controlnet_file.js';
import { checkInteger, show } from '../lib/core/checks.js';
import { isObject, toJsonText } from '../lib/core/json.js';
import { packageVersion } from '../lib/core/package.js';
import type { WeightFile } from '../lib/files/byte_source.js';
import { LocalFolder } from '../lib/files/local_folder.js';
import { ModelFileError, type ModelFolder, type ModelSource } from '../lib/files/model_folder.js';
import { makeFolder, newFolderPath, type WriteFile } from '../lib/files/output_folder.js';
import { openModelFolder } from '../lib/loading/open_model_folder.js';
import type { OpenOptions } from '../lib/loading/open_options.js';
import { withTextEncoders, type TextEncoderSources } from '../lib/loading/with_text_encoders.js';
import { closeWeightFiles, modelFiles, openWeightFiles, weightStem, type WeightFilesOptions } from '../lib/loading/weight_files.js';
import { AutoencoderKL } from '../lib/models/autoencoder_kl.js';
import { AutoencoderTiny } from '../lib/models/autoencoder_tiny.js';
import { CLIPImageProcessor } from '../lib/models/clip_image_processor.js';
import { CLIPTextModel } from '../lib/models/clip_text_model.js';
import { CLIPTextModelWithProjection } from '../lib/models/clip_text_model_with_projection.js';
import { CLIPVisionModelWithProjection } from '../lib/models/clip_vision_model.js';
import { ControlNetModel } from '../lib/models/controlnet.js';
import { ControlNetUnionModel } from '../lib/models/controlnet_union.js';
import { StableDiffusionSafetyChecker } from '../lib/models/safety_checker.js';
import { SD3ControlNetModel } from '../lib/models/sd3_controlnet.js';
import { SD3Transformer2DModel } from '../lib/models/sd3_transformer_2d_model.js';
import { T2IAdapter } from '../lib/models/t2i_adapter.js';
import { T5EncoderModel } from '../lib/models/t5_encoder_model.js';
import { UNet2DConditionModel } from '../lib/models/unet_2d_condition_model.js';
import { CLIPTokenizer } from '../lib/tokenizer/clip_tokenizer.js';
import { T5Tokenizer } from '../lib/tokenizer/t5_tokenizer.js';
import type { FoundWeight } from '../lib/weights/found_weight.js';
import { matchWeights } from '../lib/weights/load_weights.js';
import { QUANTIZED } from '../lib/weights/quantized_weights.js';
import { readSafetensorsHeader } from '../lib/weights/safetensors.js';
import { countingUp, reporting, sizeOfWeights, writeWeights, type ShardOptions } from '../lib/weights/write_weights.js';
import { encodeWeight, encodings, type ConvertDtype, type EncodedWeight, type Encoding } from './encode.js';
import { verifyNetwork, type Network } from './verify.js';

/** Options of `convertModel`. Text encoders may come from files of their own, in place of the source's. */
export interface ConvertOptions
  extends Omit<OpenOptions, 'config'>, Omit<WeightFilesOptions, 'subfolder'>, ShardOptions, TextEncoderSources {
  /**
   * The type of the written weights; by default each keeps its own. With int8 and int4 this applies to the matrices and kernels of UNets,
   * ControlNets, the blocks of SD3's transformer and of T5, and all else is float16.
   */
  dtype?: ConvertDtype;
  /** Whether to take the safety checker along, of a pipeline that has one: 1.2 GB for Stable Diffusion 1.5. */
  safetyChecker?: boolean;
  /** Whether to take the third text encoder of Stable Diffusion 3 along, with its tokenizer, which is most of it: true by default. */
  t5?: boolean;
  /** Whether to read all weights again and compare every name, shape and value. */
  verify?: boolean;
  /** Called after every weight, with the number of bytes of the source that were written or verified. */
  onProgress?: (progress: { loaded: number; total: number }) => void;
}

const networks = {
  CLIPTextModel, CLIPTextModelWithProjection, CLIPModel: CLIPTextModel, UNet2DConditionModel, ControlNetModel, ControlNetUnionModel,
  AutoencoderKL, AutoencoderTiny, T2IAdapter, CLIPVisionModelWithProjection, StableDiffusionSafetyChecker,
  SD3Transformer2DModel, SD3ControlNetModel, T5EncoderModel,
};
type NetworkName = keyof typeof networks;

/** Bytes that are copied at once. */
const PIECE = 2 ** 24;

const IMAGE_PROCESSOR = /^CLIP(ImageProcessor|FeatureExtractor)/;

/**
 * Makes our folder of a model: weights as tfjs has them, ready to be mapped, beside the same configs.
 * @param source whatever `fromPretrained` takes: a folder of a pipeline or of a single network, a single-file checkpoint, a hub id.
 * @param out a folder that is new or empty; nothing is there until all of it is.
 * @throws ModelFileError, WeightsError or SafetensorsError if the source is not complete, before anything is written; WeightsError if what
 *   was written is not what `verify` reads.
 */
export async function convertModel(source: ModelSource, out: string | URL, options: ConvertOptions = {}): Promise<void> {
  const target = newFolderPath('out', out);
  if (options.maxShardSize !== undefined) checkInteger('maxShardSize', options.maxShardSize, 1);
  const encodingFor = encodings(options.dtype);
  const folder = await withTextEncoders(await openModelFolder(source, options), options, options);
  const opened: WeightFile[] = [];
  try {
    const { found, copies, index } = await planConversion(folder, options, opened);
    const weights = found.flatMap(network => network.weights);
    const size = weights.reduce((sum, { info }) => sum + info.byteLength, 0);
    const newSize = found.reduce((sum, { className, weights }) => sum + sizeOfWeights(encodeAll(weights, encodingFor(className))), 0);
    const advance = countingUp(options.verify ? 2 * size : size, options);
    await makeFolder(target, newSize, async (write, folderSoFar) => {
      for (const network of found) {
        await writeNetwork(write, network, { encoding: encodingFor(network.className), maxShardSize: options.maxShardSize, advance });
      }
      if (options.verify) {
        const written = await LocalFolder.open(folderSoFar, target);
        for (const network of found) await verifyNetwork(written, network, { encoding: encodingFor(network.className), advance });
      }
      for (const path of copies) await write(path, pieces(folder, path)); // configs come last: nothing loads without them
      if (index) await write('model_index.json', toJsonText(index));
    });
  } finally {
    await closeWeightFiles(opened);
  }
}

interface Plan {
  readonly found: Network[];
  /** Files that are taken over as they are. */
  readonly copies: string[];
  /** What model_index.json becomes, if the source is a pipeline. */
  readonly index?: Record<string, unknown>;
}

/** Looks at every config and every header, so that what cannot be converted fails at once. */
async function planConversion(folder: ModelFolder, options: ConvertOptions, opened: WeightFile[]): Promise<Plan> {
  const copies: string[] = [];
  const copy = async (...paths: string[]) => {
    for (const path of paths) if (await folder.has(path)) copies.push(path);
  };
  const index = await folder.has('model_index.json') ? await folder.readJson('model_index.json') : undefined;
  await copy('README.md', 'LICENSE', 'LICENSE.md', BUNDLED_WORDS);
  const parts: Array<[subfolder: string, className?: NetworkName]> = [];
  if (index === undefined) {
    if (!await folder.has('config.json')) throw new ModelFileError(`${folder.name}: has neither model_index.json nor config.json`);
    parts.push(['']);
  } else if (!isObject(index)) {
    throw new ModelFileError(`${folder.name}/model_index.json: got ${show(index)}, takes an object`);
  }
  const dropped = index ? leftOut(folder, index, options) : [];
  for (const [name, entry] of Object.entries(index ?? {})) {
    const className = classOf(entry);
    if (className === undefined || dropped.includes(name)) continue;
    if (Object.hasOwn(networks, className)) parts.push([name, className as NetworkName]);
    else if (className.startsWith('CLIPTokenizer')) await copy(...CLIPTokenizer.fileNames.map(file => `${name}/${file}`));
    else if (className.startsWith('T5Tokenizer')) await copy(...T5Tokenizer.fileNames.map(file => `${name}/${file}`));
    else if (IMAGE_PROCESSOR.test(className)) await copy(...CLIPImageProcessor.fileNames.map(file => `${name}/${file}`));
    else if (className.endsWith('Scheduler')) copies.push(`${name}/scheduler_config.json`);
    else throw new ModelFileError(`${folder.name}/model_index.json: ${name} is a ${show(className)}, which cannot be converted`);
  }
  const files = [...copies];
  for (const [subfolder] of parts) files.push(...await modelFiles(folder, { ...options, subfolder }));
  await folder.prefetch?.(files);
  const found: Network[] = [];
  for (const [subfolder, className] of parts) {
    found.push(await findNetwork(folder, subfolder, { ...options, className }, opened));
    copies.push(subfolder ? `${subfolder}/config.json` : 'config.json');
  }
  if (!index) return { found, copies };
  const none = Object.fromEntries(dropped.map(name => [name, [null, null]]));
  return { found, copies, index: { ...index, ...none, ...!options.safetyChecker && { requires_safety_checker: false } } };
}

/** The class that an entry of model_index.json names, if it names one: `[library, class]`. */
function classOf(entry: unknown): string | undefined {
  const className: unknown = Array.isArray(entry) ? entry[1] : undefined;
  return typeof className === 'string' ? className : undefined;
}

/** Parts of a pipeline that are not taken along: a safety checker that nobody asked for, what serves no other part, what nothing uses. */
function leftOut(folder: ModelFolder, index: Record<string, unknown>, { safetyChecker, t5 = true }: ConvertOptions): string[] {
  const has = (name: string) => classOf(index[name]) !== undefined;
  if (safetyChecker && !has('safety_checker')) throw new ModelFileError(`${folder.name}/model_index.json: safety_checker: there is none`);
  const dropped = ['depth_estimator'];
  if (!safetyChecker) dropped.push('safety_checker');
  if (!safetyChecker && !has('image_encoder')) dropped.push('feature_extractor');
  if (!t5) dropped.push('text_encoder_3', 'tokenizer_3');
  return dropped.filter(name => Object.hasOwn(index, name));
}

async function findNetwork(
  folder: ModelFolder, subfolder: string, options: WeightFilesOptions & { className?: NetworkName }, opened: WeightFile[],
): Promise<Network> {
  const path = subfolder ? `${subfolder}/config.json` : 'config.json';
  const config = await folder.readJson(path);
  if (!isObject(config)) throw new ModelFileError(`${folder.name}/${path}: got ${show(config)}, takes an object`);
  const named = options.className ?? config._class_name ?? (Array.isArray(config.architectures) ? config.architectures[0] : undefined);
  if (typeof named !== 'string' || !Object.hasOwn(networks, named)) {
    throw new ModelFileError(`${folder.name}/${path}: is a ${show(named)}, takes ${Object.keys(networks).join(', ')}`);
  }
  const files = await openWeightFiles(folder, { ...options, subfolder });
  opened.push(...files);
  const className = named === 'ControlNetModel' && await isUnion(files) ? 'ControlNetUnionModel' : named as NetworkName;
  const specs = new networks[className](config).parameterSpecs();
  return { subfolder, className, weights: await matchWeights(className, specs, files) };
}

/** Whether these are a ControlNet-Union's: the configs of its authors' models do not tell. */
async function isUnion(files: readonly WeightFile[]): Promise<boolean> {
  const headers = await Promise.all(files.map(({ source }) => readSafetensorsHeader(source)));
  return headers.some(({ tensors }) => tensors.has(UNION_KEY));
}

function writeNetwork(
  write: WriteFile, { subfolder, className, weights }: Network,
  { encoding, advance, ...options }: { encoding: Encoding; advance: (bytes: number) => void } & ShardOptions,
): Promise<void> {
  const encoded = encodeAll(weights, encoding);
  const reported = weights.map(({ info }, i) => reporting(encoded[i], () => advance(info.byteLength)));
  return writeWeights(write, (subfolder ? `${subfolder}/` : '') + weightStem(className), reported, metadataOf, options);
}

function encodeAll(weights: readonly FoundWeight[], encoding: Encoding): EncodedWeight[] {
  return weights.map(weight => encodeWeight(weight, encoding));
}

function metadataOf(part: readonly EncodedWeight[]): Record<string, string> {
  const groupSizes = part.flatMap(({ tensors: [{ name }], groupSize }) => groupSize === undefined ? [] : [[name, groupSize] as const]);
  return {
    format: 'tfjs', made_by: `tfjs-diffusers ${packageVersion()}`,
    ...groupSizes.length > 0 && { [QUANTIZED]: JSON.stringify(Object.fromEntries(groupSizes)) },
  };
}

/** A file's bytes, piece by piece: who knows how long a README is. */
async function* pieces(folder: ModelFolder, path: string): AsyncGenerator<Uint8Array> {
  const source = await folder.open(path);
  try {
    for (let at = 0; at < source.size; at += PIECE) yield await source.read(at, Math.min(PIECE, source.size - at));
  } finally {
    await source.close();
  }
}
