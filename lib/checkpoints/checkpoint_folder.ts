import { brief, printable } from '../core/checks.js';
import { parseJson } from '../core/json.js';
import type { ByteSource } from '../files/byte_source.js';
import { checkRelativePath, ModelFileError, type ModelFolder } from '../files/model_folder.js';
import { torchToTfjs } from '../weights/layouts.js';
import { byteSize, elementSizes } from '../weights/safetensors.js';
import { BUNDLED_WORDS, bundledWord } from './bundled_words.js';
import { safetensorsView, type Checkpoint, type CheckpointTensor } from './checkpoint.js';
import { readClipMerges } from './clip_merges.js';
import { CLIP_TOKENS, clipVocabulary } from './clip_vocabulary.js';
import { knownOf, type CheckpointOptions, type TextPart } from './generations.js';
import { clipConfig, openClipConfig, vaeConfig } from './ldm_config.js';
import { ldmPrefixes, openClipKeys, unetKey, vaeKey } from './ldm_keys.js';
import { unetConfig } from './ldm_unet_config.js';
import type { Shapes } from './shapes.js';

export type { CheckpointOptions } from './generations.js';

type Tensors = Map<string, CheckpointTensor>;
type ReadMerges = () => Promise<string>;

/** A text encoder of a checkpoint. */
interface FoundText {
  readonly config: Record<string, unknown>;
  readonly weights: Tensors;
}

/**
 * A single-file checkpoint of Stable Diffusion 1.x, 2.x or XL, or of its VAE alone, as the folder that diffusers would make of it:
 * configs by the shapes of the weights, weights by diffusers' names. Nothing is copied; weights are read when they are asked for.
 * @param readMerges gives CLIP's merges.txt, which is in no such file.
 * @throws ModelFileError for a checkpoint of another model. A VAE or text encoder that is not in the file is refused when it is asked for.
 */
export async function checkpointFolder(
  checkpoint: Checkpoint, options: CheckpointOptions = {}, readMerges: ReadMerges = readClipMerges,
): Promise<ModelFolder> {
  const { name, tensors } = checkpoint;
  try {
    if (tensors.has(`${ldmPrefixes.unet}input_blocks.0.0.weight`)) return await pipelineFolder(checkpoint, options, readMerges);
    const vae = below(tensors, tensors.has(`${ldmPrefixes.vae}encoder.conv_in.weight`) ? ldmPrefixes.vae : '');
    if (vae.has('encoder.down.0.block.0.conv1.weight')) return vaeFolder(checkpoint, vae);
  } catch (error) {
    throw new ModelFileError(printable(`${name}: ${(error as Error).message}`), { cause: error });
  }
  const first = [...tensors.keys()].slice(0, 3).map(brief).join(', ') || 'no tensor at all';
  if ([...tensors.keys()].some(key => /^((encoder\.)?down_blocks|text_model)\./.test(key))) {
    if (options.config) return partFolder(checkpoint, options.config);
    throw new ModelFileError(`${name}: is one file of a model in diffusers' layout: load the folder, where the config.json is`);
  }
  throw new ModelFileError(printable(`${name}: is no checkpoint of Stable Diffusion 1.x, 2.x or XL, nor of its VAE: it holds ${first}`));
}

async function pipelineFolder(checkpoint: Checkpoint, options: CheckpointOptions, readMerges: ReadMerges): Promise<ModelFolder> {
  const { tensors } = checkpoint;
  const unet = below(tensors, ldmPrefixes.unet);
  const { imageSize, scheduler, index, texts, ofUnet, ofVae } = knownOf(checkpoint, unet, options);
  const unetJson = { ...unetConfig(shapesOf(unet), imageSize), ...ofUnet };
  const vae = below(tensors, ldmPrefixes.vae);
  const vaeJson = vae.size ? vaeConfig(shapesOf(vae), { imageSize, ...ofVae }) : undefined;
  const files: Record<string, unknown> = {
    'model_index.json': {
      ...index, unet: ['diffusers', 'UNet2DConditionModel'], vae: ['diffusers', 'AutoencoderKL'],
      scheduler: ['diffusers', scheduler._class_name],
      safety_checker: [null, null], feature_extractor: [null, null], requires_safety_checker: false,
      ...Object.fromEntries(texts.flatMap(({ component, tokenizer, projected }) => [
        [component, ['transformers', projected ? 'CLIPTextModelWithProjection' : 'CLIPTextModel']],
        [tokenizer, ['transformers', 'CLIPTokenizer']],
      ])),
    },
    'unet/config.json': unetJson,
    'vae/config.json': vaeJson,
    'scheduler/scheduler_config.json': scheduler,
  };
  const weights: Record<string, Tensors> = {
    'unet/diffusion_pytorch_model.safetensors': renamed(unet, key => unetKey(key, unetJson.layers_per_block)),
    'vae/diffusion_pytorch_model.safetensors': vaeJson ? vaeWeights(vae, vaeJson.block_out_channels.length) : new Map(),
  };
  const missing: Record<string, string> = {};
  if (!vaeJson) missing.vae = `has no VAE (${ldmPrefixes.vae}*); fromSingleFile takes one as the option vae`;
  for (const part of texts) {
    const encoder = textEncoder(tensors, part);
    Object.assign(files, { [`${part.component}/config.json`]: encoder?.config, ...tokenizerFiles(part, readMerges) });
    weights[`${part.component}/model.safetensors`] = encoder?.weights ?? new Map();
    const option = part.component === 'text_encoder' ? 'textEncoder' : 'textEncoder2';
    if (!encoder) missing[part.component] = `has no text encoder (${part.prefixes}); fromSingleFile takes one as the option ${option}`;
  }
  const words = bundledWords(tensors);
  if (words.size > 0) weights[BUNDLED_WORDS] = words;
  return new VirtualFolder(checkpoint, files, weights, missing);
}

function tokenizerFiles({ tokenizer, padding }: TextPart, readMerges: ReadMerges): Record<string, unknown> {
  const special = (content: string) => (
    { __type: 'AddedToken', content, lstrip: false, normalized: true, rstrip: false, single_word: false }
  );
  return {
    [`${tokenizer}/vocab.json`]: async () => clipVocabulary(await readMerges()).vocab,
    [`${tokenizer}/merges.txt`]: readMerges,
    [`${tokenizer}/tokenizer_config.json`]: {
      tokenizer_class: 'CLIPTokenizer', model_max_length: 77, bos_token: special('<|startoftext|>'), eos_token: special('<|endoftext|>'),
      unk_token: special('<|endoftext|>'), pad_token: padding,
    },
  };
}

function vaeFolder(checkpoint: Checkpoint, vae: Tensors): ModelFolder {
  const config = vaeConfig(shapesOf(vae), { imageSize: 512 });
  return new VirtualFolder(checkpoint, { 'config.json': config }, {
    'diffusion_pytorch_model.safetensors': vaeWeights(vae, config.block_out_channels.length),
  });
}

/** A network by itself, as diffusers keeps it. Files of text encoders are named otherwise than those of the rest. */
function partFolder(checkpoint: Checkpoint, config: object): ModelFolder {
  const file = checkpoint.tensors.has('text_model.embeddings.token_embedding.weight') ? 'model' : 'diffusion_pytorch_model';
  return new VirtualFolder(checkpoint, { 'config.json': config }, { [`${file}.safetensors`]: new Map(checkpoint.tensors) });
}

/** Without what a training leaves beside: its loss, its averages. */
function vaeWeights(vae: Tensors, levels: number): Tensors {
  const own = [...vae].filter(([key]) => /^(encoder|decoder|quant_conv|post_quant_conv)\./.test(key));
  return renamed(new Map(own), key => vaeKey(key, levels));
}

function textEncoder(tensors: Tensors, { clip, openClip, projected }: TextPart): FoundText | undefined {
  const found = clip === undefined ? undefined : clipWeights(below(tensors, clip));
  const encoder = found ?? (openClip === undefined ? undefined : openClipWeights(below(tensors, openClip), projected));
  if (encoder && encoder.config.vocab_size !== CLIP_TOKENS) {
    throw new RangeError(`its text encoder knows ${String(encoder.config.vocab_size)} tokens, takes CLIP's ${CLIP_TOKENS}`);
  }
  return encoder;
}

function clipWeights(clip: Tensors): FoundText | undefined {
  if (clip.size === 0) return undefined;
  const ofWhole = /^(text_projection|logit_scale|vision_model|visual_projection)(\.|$)/; // what a whole CLIP has besides
  return { config: clipConfig(shapesOf(clip)), weights: new Map([...clip].filter(([key]) => !ofWhole.test(key))) };
}

function openClipWeights(openClip: Tensors, projected: boolean): FoundText | undefined {
  if (openClip.size === 0) return undefined;
  const config = openClipConfig(shapesOf(openClip), projected);
  const unused = projected ? /^(logit_scale|attn_mask)$/ : /^(text_projection|logit_scale|attn_mask)$/;
  const weights: Tensors = new Map();
  for (const [key, tensor] of openClip) {
    const layer = /^transformer\.resblocks\.(\d+)\./.exec(key);
    if ((layer && Number(layer[1]) >= config.num_hidden_layers) || unused.test(key)) continue;
    const keys = openClipKeys(key).map(name => projected && name !== 'text_projection.weight' ? `text_model.${name}` : name);
    if (key === 'text_projection') weights.set(keys[0], transposed(tensor));
    else keys.forEach((name, i) => weights.set(name, keys.length === 1 ? tensor : slice(tensor, i, keys.length)));
  }
  return { config, weights };
}

/** The learned words that came with the model, by their names. */
function bundledWords(tensors: Tensors): Tensors {
  return new Map([...tensors].flatMap(([key, tensor]) => {
    const word = bundledWord(key);
    return word === undefined ? [] : [[word, tensor] as const];
  }));
}

/** Part `i` of `parts` equal ones along the first axis. */
function slice(tensor: CheckpointTensor, i: number, parts: number): CheckpointTensor {
  const [rows, ...rest] = tensor.shape;
  return {
    dtype: tensor.dtype,
    shape: [rows / parts, ...rest],
    offset: tensor.offset === undefined ? undefined : tensor.offset + i * byteSize(tensor) / parts,
    read: async source => {
      const bytes = await tensor.read(source);
      return bytes.subarray(i * bytes.length / parts, (i + 1) * bytes.length / parts);
    },
  };
}

/** A matrix with its axes exchanged. */
function transposed(tensor: CheckpointTensor): CheckpointTensor {
  const [rows, columns] = tensor.shape;
  return {
    dtype: tensor.dtype,
    shape: [columns, rows],
    read: async source => torchToTfjs(await tensor.read(source), elementSizes[tensor.dtype], tensor.shape, 'linear'),
  };
}

/** The tensors whose names begin with the prefix, without it. */
function below(tensors: Tensors, prefix: string): Tensors {
  return new Map([...tensors].filter(([key]) => key.startsWith(prefix)).map(([key, tensor]) => [key.slice(prefix.length), tensor]));
}

function renamed(tensors: Tensors, rename: (key: string) => string): Tensors {
  const result: Tensors = new Map();
  for (const [key, tensor] of tensors) {
    const name = rename(key);
    if (result.has(name)) throw new RangeError(`${brief(key)}: another weight is called ${brief(name)} already`);
    result.set(name, tensor);
  }
  return result;
}

function shapesOf(tensors: Tensors): Shapes {
  return key => tensors.get(key)?.shape;
}

/** Texts (or values, as JSON, or what gives one) in memory and weights in a checkpoint; `missing` says of a component what is wrong. */
class VirtualFolder implements ModelFolder {
  readonly name: string;

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly texts: Record<string, unknown>,
    private readonly weights: Record<string, Tensors>,
    private readonly missing: Record<string, string> = {},
  ) {
    this.name = checkpoint.name;
  }

  async has(path: string): Promise<boolean> {
    const [component] = checkRelativePath(path).split('/');
    if (Object.hasOwn(this.missing, component)) throw new ModelFileError(`${this.name}: ${this.missing[component]}`);
    return Object.hasOwn(this.texts, path) || Object.hasOwn(this.weights, path);
  }

  async readJson(path: string): Promise<unknown> {
    return parseJson(`${this.name}/${path}`, await this.readText(path));
  }

  async readText(path: string): Promise<string> {
    if (!await this.has(path)) throw new ModelFileError(`${this.name}/${path}: there is no such file`);
    const text = this.texts[path];
    const content: unknown = typeof text === 'function' ? await text() : text;
    return typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`;
  }

  async open(path: string): Promise<ByteSource> {
    if (Object.hasOwn(this.weights, path)) return safetensorsView(this.weights[path], await this.checkpoint.open());
    const bytes = new TextEncoder().encode(await this.readText(path));
    return { size: bytes.length, read: async (offset, length) => bytes.slice(offset, offset + length), close: async () => {} };
  }
}
