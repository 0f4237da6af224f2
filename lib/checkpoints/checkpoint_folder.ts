import { brief, checkOneOf, printable } from '../core/checks.js';
import { parseJson } from '../core/json.js';
import type { ByteSource } from '../files/byte_source.js';
import { checkRelativePath, ModelFileError, type ModelFolder } from '../files/model_folder.js';
import { byteSize } from '../weights/safetensors.js';
import { BUNDLED_WORDS, bundledWord } from './bundled_words.js';
import { safetensorsView, type Checkpoint, type CheckpointTensor } from './checkpoint.js';
import { CLIP_TOKENS, clipVocabulary } from './clip_vocabulary.js';
import { clipConfig, openClipConfig, schedulerConfig, unetConfig, vaeConfig, type Shapes } from './ldm_config.js';
import { ldmPrefixes, openClipKeys, unetKey, vaeKey } from './ldm_keys.js';

export interface CheckpointOptions {
  /** What the model of a single file was trained to predict, where the file does not tell. Default: as diffusers infers it. */
  predictionType?: 'epsilon' | 'v_prediction';
}

type Tensors = Map<string, CheckpointTensor>;

/**
 * A single-file checkpoint of Stable Diffusion 1.x or 2.x, or of its VAE alone, as the folder that diffusers would make of it:
 * configs by the shapes of the weights, weights by diffusers' names. Nothing is copied; weights are read when they are asked for.
 * @throws ModelFileError for a checkpoint of another model. A VAE or text encoder that is not in the file is refused when it is asked for.
 */
export async function checkpointFolder(checkpoint: Checkpoint, options: CheckpointOptions = {}): Promise<ModelFolder> {
  const { name, tensors } = checkpoint;
  try {
    if (tensors.has(`${ldmPrefixes.unet}input_blocks.0.0.weight`)) return await pipelineFolder(checkpoint, options);
    const vae = below(tensors, tensors.has(`${ldmPrefixes.vae}encoder.conv_in.weight`) ? ldmPrefixes.vae : '');
    if (vae.has('encoder.down.0.block.0.conv1.weight')) return vaeFolder(checkpoint, vae);
  } catch (error) {
    throw new ModelFileError(printable(`${name}: ${(error as Error).message}`), { cause: error });
  }
  const first = [...tensors.keys()].slice(0, 3).map(brief).join(', ') || 'no tensor at all';
  if ([...tensors.keys()].some(key => /^((encoder\.)?down_blocks|text_model)\./.test(key))) {
    throw new ModelFileError(`${name}: is one file of a model in diffusers' layout: load the folder, where the config.json is`);
  }
  throw new ModelFileError(printable(`${name}: is no checkpoint of Stable Diffusion 1.x or 2.x, nor of its VAE: it holds ${first}`));
}

async function pipelineFolder(checkpoint: Checkpoint, { predictionType }: CheckpointOptions): Promise<ModelFolder> {
  const { tensors, globalStep } = checkpoint;
  const unet = below(tensors, ldmPrefixes.unet);
  const second = unet.get('input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight')?.shape[1] === 1024;
  const inpaint = unet.get('input_blocks.0.0.weight')?.shape[1] === 9;
  const trained = predictionType ?? inferPrediction(second, inpaint, globalStep);
  const prediction = checkOneOf('predictionType', trained, ['epsilon', 'v_prediction'] as const);
  const imageSize = prediction === 'epsilon' ? 512 : 768;
  const unetJson = { ...unetConfig(shapesOf(unet), imageSize), upcast_attention: second };
  const vae = below(tensors, ldmPrefixes.vae);
  const vaeJson = vae.size ? vaeConfig(shapesOf(vae), imageSize) : undefined;
  const text = textEncoder(tensors);
  if (text && text.config.vocab_size !== CLIP_TOKENS) {
    throw new RangeError(`its text encoder knows ${String(text.config.vocab_size)} tokens, takes CLIP's ${CLIP_TOKENS}`);
  }
  const words = bundledWords(tensors);
  const special = (content: string) => (
    { __type: 'AddedToken', content, lstrip: false, normalized: true, rstrip: false, single_word: false }
  );
  const scheduler = schedulerConfig(prediction);
  const files = {
    'model_index.json': {
      _class_name: inpaint ? 'StableDiffusionInpaintPipeline' : 'StableDiffusionPipeline',
      unet: ['diffusers', 'UNet2DConditionModel'], vae: ['diffusers', 'AutoencoderKL'], scheduler: ['diffusers', scheduler._class_name],
      text_encoder: ['transformers', 'CLIPTextModel'], tokenizer: ['transformers', 'CLIPTokenizer'],
      safety_checker: [null, null], feature_extractor: [null, null], requires_safety_checker: false,
    },
    'unet/config.json': unetJson,
    'vae/config.json': vaeJson,
    'text_encoder/config.json': text?.config,
    'scheduler/scheduler_config.json': scheduler,
    'tokenizer/vocab.json': async () => (await clipVocabulary()).vocab,
    'tokenizer/merges.txt': async () => (await clipVocabulary()).merges,
    'tokenizer/tokenizer_config.json': {
      tokenizer_class: 'CLIPTokenizer', model_max_length: 77, bos_token: special('<|startoftext|>'), eos_token: special('<|endoftext|>'),
      unk_token: special('<|endoftext|>'), pad_token: second ? '!' : '<|endoftext|>',
    },
  };
  const textPrefixes = `${ldmPrefixes.clip}* or ${ldmPrefixes.openClip}*`;
  const missing = {
    ...!vaeJson && { vae: `has no VAE (${ldmPrefixes.vae}*); fromSingleFile takes one as the option vae` },
    ...!text && { text_encoder: `has no text encoder (${textPrefixes}); fromSingleFile takes one as the option textEncoder` },
  };
  return new VirtualFolder(checkpoint, files, {
    'unet/diffusion_pytorch_model.safetensors': renamed(unet, key => unetKey(key, unetJson.layers_per_block)),
    'vae/diffusion_pytorch_model.safetensors': vaeJson ? vaeWeights(vae, vaeJson.block_out_channels.length) : new Map(),
    'text_encoder/model.safetensors': text?.weights ?? new Map(),
    ...words.size > 0 && { [BUNDLED_WORDS]: words },
  }, missing);
}

/** As diffusers does: SD2 was trained for the velocity, but for its base, which is known by its training steps, and for inpainting. */
function inferPrediction(second: boolean, inpaint: boolean, globalStep?: number): 'epsilon' | 'v_prediction' {
  return second && !inpaint && globalStep !== 875000 ? 'v_prediction' : 'epsilon';
}

function vaeFolder(checkpoint: Checkpoint, vae: Tensors): ModelFolder {
  const config = vaeConfig(shapesOf(vae), 512);
  return new VirtualFolder(checkpoint, { 'config.json': config }, {
    'diffusion_pytorch_model.safetensors': vaeWeights(vae, config.block_out_channels.length),
  });
}

/** Without what a training leaves beside: its loss, its averages. */
function vaeWeights(vae: Tensors, levels: number): Tensors {
  const own = [...vae].filter(([key]) => /^(encoder|decoder|quant_conv|post_quant_conv)\./.test(key));
  return renamed(new Map(own), key => vaeKey(key, levels));
}

function textEncoder(tensors: Tensors): { config: Record<string, unknown>; weights: Tensors } | undefined {
  const clip = below(tensors, ldmPrefixes.clip);
  if (clip.size > 0) {
    const ofWhole = /^(text_projection|logit_scale|vision_model|visual_projection)(\.|$)/; // what a whole CLIP has besides
    return { config: clipConfig(shapesOf(clip)), weights: new Map([...clip].filter(([key]) => !ofWhole.test(key))) };
  }
  const openClip = below(tensors, ldmPrefixes.openClip);
  if (openClip.size === 0) return undefined;
  const config = openClipConfig(shapesOf(openClip));
  const weights: Tensors = new Map();
  for (const [key, tensor] of openClip) {
    const layer = /^transformer\.resblocks\.(\d+)\./.exec(key);
    if ((layer && Number(layer[1]) >= config.num_hidden_layers) || /^(text_projection|logit_scale|attn_mask)$/.test(key)) { // not used
      continue;
    }
    const keys = openClipKeys(key);
    keys.forEach((name, i) => weights.set(name, keys.length === 1 ? tensor : slice(tensor, i, keys.length)));
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
