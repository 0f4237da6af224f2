import { fileURLToPath } from 'node:url';
import { BUNDLED_WORDS } from '../lib/checkpoints/bundled_words.js';
import { checkInteger, show } from '../lib/core/checks.js';
import { isObject } from '../lib/core/json.js';
import { packageVersion } from '../lib/core/package.js';
import type { WeightFile } from '../lib/files/byte_source.js';
import { FILE_LISTING } from '../lib/files/file_listing.js';
import { LocalFolder } from '../lib/files/local_folder.js';
import { ModelFileError, type ModelFolder, type ModelSource } from '../lib/files/model_folder.js';
import { openModelFolder } from '../lib/loading/open_model_folder.js';
import type { OpenOptions } from '../lib/loading/open_options.js';
import { closeWeightFiles, modelFiles, openWeightFiles, type WeightFilesOptions } from '../lib/loading/weight_files.js';
import { AutoencoderKL } from '../lib/models/autoencoder_kl.js';
import { AutoencoderTiny } from '../lib/models/autoencoder_tiny.js';
import { CLIPImageProcessor } from '../lib/models/clip_image_processor.js';
import { CLIPTextModel } from '../lib/models/clip_text_model.js';
import { CLIPTextModelWithProjection } from '../lib/models/clip_text_model_with_projection.js';
import { CLIPVisionModelWithProjection } from '../lib/models/clip_vision_model.js';
import { ControlNetModel } from '../lib/models/controlnet.js';
import { StableDiffusionSafetyChecker } from '../lib/models/safety_checker.js';
import { T2IAdapter } from '../lib/models/t2i_adapter.js';
import { UNet2DConditionModel } from '../lib/models/unet_2d_condition_model.js';
import { CLIPTokenizer } from '../lib/tokenizer/clip_tokenizer.js';
import type { FoundWeight } from '../lib/weights/found_weight.js';
import { matchWeights } from '../lib/weights/load_weights.js';
import { QUANTIZED } from '../lib/weights/quantized_weights.js';
import { byteSize, writeSafetensors } from '../lib/weights/safetensors.js';
import { encodings, type Encoding, type FloatName } from './dtypes.js';
import { encodeWeight, type EncodedWeight } from './encode.js';
import { fileSizes, makeFolder, type WriteFile } from './output_folder.js';
import { verifyNetwork, type Network } from './verify.js';

export interface ConvertOptions extends Omit<OpenOptions, 'config'>, Omit<WeightFilesOptions, 'subfolder'> {
  /**
   * What the weights become; each keeps its own by default. With int8 and int4 the matrices and kernels of UNets and ControlNets are in so
   * many bits, and all else is float16.
   */
  dtype?: FloatName | 'int8' | 'int4';
  /** Bytes that a file of weights may have; a model of more is written as several. A larger tensor has a file of its own. */
  maxShardSize?: number;
  /** Whether to take the safety checker along, of a pipeline that has one: 1.2 GB for Stable Diffusion 1.5. */
  safetyChecker?: boolean;
  /** Whether to read all weights again and compare every name, shape and value. */
  verify?: boolean;
  /** Called after every weight: bytes of the source that were written or verified. */
  onProgress?: (progress: { loaded: number; total: number }) => void;
}

const networks = {
  CLIPTextModel, CLIPTextModelWithProjection, CLIPModel: CLIPTextModel, UNet2DConditionModel, ControlNetModel,
  AutoencoderKL, AutoencoderTiny, T2IAdapter, CLIPVisionModelWithProjection, StableDiffusionSafetyChecker,
};
type NetworkName = keyof typeof networks;

/** Whose weights transformers names, and not diffusers. */
const OF_TRANSFORMERS = /^(CLIP|StableDiffusionSafetyChecker)/;
const IMAGE_PROCESSOR = /^CLIP(ImageProcessor|FeatureExtractor)/;

/**
 * Makes our folder of a model: weights as tfjs has them, ready to be mapped, beside the same configs.
 * @param source whatever `fromPretrained` takes: a folder of a pipeline or of a single network, a single-file checkpoint, a hub id.
 * @param out a folder that is new or empty; nothing is there until all of it is.
 * @throws ModelFileError, WeightsError or SafetensorsError if the source is not complete, before anything is written; WeightsError if what
 *   was written is not what `verify` reads.
 */
export async function convertModel(source: ModelSource, out: string | URL, options: ConvertOptions = {}): Promise<void> {
  const target = out instanceof URL ? fileURLToPath(out) : out;
  if (typeof target !== 'string' || target === '') throw new TypeError(`out: got ${show(out)}, takes the path of a new folder`);
  if (options.maxShardSize !== undefined) checkInteger('maxShardSize', options.maxShardSize, 1);
  const encodingFor = encodings(options.dtype);
  const folder = await openModelFolder(source, options);
  const opened: WeightFile[] = [];
  try {
    const { found, copies, index } = await planConversion(folder, options, opened);
    const weights = found.flatMap(network => network.weights);
    const size = weights.reduce((sum, { info }) => sum + info.byteLength, 0);
    const newSize = found.reduce((sum, { className, weights }) => sum + sizeOf(encodeAll(weights, encodingFor(className))), 0);
    let loaded = 0;
    const advance = (bytes: number) => {
      options.signal?.throwIfAborted();
      options.onProgress?.({ loaded: loaded += bytes, total: options.verify ? 2 * size : size });
    };
    await makeFolder(target, newSize, async (write, folderSoFar) => {
      for (const network of found) {
        await writeNetwork(write, network, { encoding: encodingFor(network.className), maxShardSize: options.maxShardSize, advance });
      }
      if (options.verify) {
        const written = await LocalFolder.open(folderSoFar, target);
        for (const network of found) await verifyNetwork(written, network, { encoding: encodingFor(network.className), advance });
      }
      for (const path of copies) await write(path, await readAll(folder, path)); // configs come last: nothing loads without them
      if (index) await write('model_index.json', `${JSON.stringify(index, null, 2)}\n`);
      await write(FILE_LISTING, `${JSON.stringify(await fileSizes(folderSoFar), null, 2)}\n`);
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
function leftOut(folder: ModelFolder, index: Record<string, unknown>, { safetyChecker }: ConvertOptions): string[] {
  const has = (name: string) => classOf(index[name]) !== undefined;
  if (safetyChecker && !has('safety_checker')) throw new ModelFileError(`${folder.name}/model_index.json: safety_checker: there is none`);
  const dropped = ['depth_estimator'];
  if (!safetyChecker) dropped.push('safety_checker');
  if (!safetyChecker && !has('image_encoder')) dropped.push('feature_extractor');
  return dropped.filter(name => Object.hasOwn(index, name));
}

async function findNetwork(
  folder: ModelFolder, subfolder: string, options: WeightFilesOptions & { className?: NetworkName }, opened: WeightFile[],
): Promise<Network> {
  const path = subfolder ? `${subfolder}/config.json` : 'config.json';
  const config = await folder.readJson(path);
  if (!isObject(config)) throw new ModelFileError(`${folder.name}/${path}: got ${show(config)}, takes an object`);
  const className = options.className ?? config._class_name ?? (Array.isArray(config.architectures) ? config.architectures[0] : undefined);
  if (typeof className !== 'string' || !Object.hasOwn(networks, className)) {
    throw new ModelFileError(`${folder.name}/${path}: is a ${show(className)}, takes ${Object.keys(networks).join(', ')}`);
  }
  const files = await openWeightFiles(folder, { ...options, subfolder });
  opened.push(...files);
  const specs = new networks[className as NetworkName](config).parameterSpecs();
  return { subfolder, className: className as NetworkName, weights: await matchWeights(className, specs, files) };
}

async function writeNetwork(
  write: WriteFile, { subfolder, className, weights }: Network,
  { encoding, maxShardSize = Infinity, advance }: { encoding: Encoding; maxShardSize?: number; advance: (bytes: number) => void },
): Promise<void> {
  const stem = (subfolder ? `${subfolder}/` : '') + (OF_TRANSFORMERS.test(className) ? 'model' : 'diffusion_pytorch_model');
  const encoded = encodeAll(weights, encoding);
  const content = (part: EncodedWeight[]) => writeSafetensors(part.flatMap(({ tensors }) => tensors), metadataOf(part));
  const reported = weights.map(({ info }, i) => reporting(encoded[i], () => advance(info.byteLength)));
  const shards = splitShards(reported, maxShardSize);
  if (shards.length === 1) return write(`${stem}.safetensors`, content(reported));
  const weightMap: Record<string, string> = {};
  for (const [i, shard] of shards.entries()) {
    const path = `${stem}-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await write(path, content(shard));
    for (const { name } of shard.flatMap(({ tensors }) => tensors)) weightMap[name] = path.slice(path.lastIndexOf('/') + 1);
  }
  const index = { metadata: { total_size: sizeOf(encoded) }, weight_map: weightMap };
  await write(`${stem}.safetensors.index.json`, `${JSON.stringify(index, null, 2)}\n`);
}

function encodeAll(weights: readonly FoundWeight[], encoding: Encoding): EncodedWeight[] {
  return weights.map(weight => encodeWeight(weight, encoding));
}

/** The same, which says when its first tensor is there. */
function reporting({ tensors: [first, ...others], groupSize }: EncodedWeight, done: () => void): EncodedWeight {
  const bytes = async () => {
    const made = await first.bytes();
    done();
    return made;
  };
  return { tensors: [{ ...first, bytes }, ...others], groupSize };
}

function metadataOf(part: readonly EncodedWeight[]): Record<string, string> {
  const groupSizes = part.flatMap(({ tensors: [{ name }], groupSize }) => groupSize === undefined ? [] : [[name, groupSize] as const]);
  return {
    format: 'tfjs', made_by: `tfjs-diffusers ${packageVersion()}`,
    ...groupSizes.length > 0 && { [QUANTIZED]: JSON.stringify(Object.fromEntries(groupSizes)) },
  };
}

function sizeOf(weights: readonly EncodedWeight[]): number {
  return weights.reduce((sum, { tensors }) => tensors.reduce((sum, tensor) => sum + byteSize(tensor), sum), 0);
}

/** What belongs to a weight is in the same file. */
function splitShards(weights: EncodedWeight[], maxSize: number): EncodedWeight[][] {
  const shards: EncodedWeight[][] = [[]];
  let size = 0;
  for (const weight of weights) {
    if (size > 0 && size + sizeOf([weight]) > maxSize) {
      shards.push([]);
      size = 0;
    }
    shards.at(-1)!.push(weight);
    size += sizeOf([weight]);
  }
  return shards;
}

function number(i: number): string {
  return String(i).padStart(5, '0');
}

async function readAll(folder: ModelFolder, path: string): Promise<Uint8Array> {
  const source = await folder.open(path);
  try {
    return await source.read(0, source.size);
  } finally {
    await source.close();
  }
}
