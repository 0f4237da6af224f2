import { brief, printable } from '../core/checks.js';
import { ModelFileError, type ModelFolder } from '../files/model_folder.js';
import { BUNDLED_WORDS, bundledWord } from './bundled_words.js';
import type { Checkpoint } from './checkpoint.js';
import { readClipMerges } from './clip_merges.js';
import { CLIP_TOKENS, clipVocabulary } from './clip_vocabulary.js';
import { findControlNet } from './controlnet_file.js';
import { knownOf, type CheckpointOptions, type TextPart } from './generations.js';
import { clipConfig, openClipConfig, vaeConfig } from './ldm_config.js';
import { ldmPrefixes, openClipKeys, unetKey, vaeKey } from './ldm_keys.js';
import { unetConfig } from './ldm_unet_config.js';
import { below, renamed, shapesOf, slice, transposed, type Tensors } from './tensors.js';
import { VirtualFolder } from './virtual_folder.js';

export type { CheckpointOptions } from './generations.js';

/** What model_index.json says. */
interface Index {
  readonly _class_name: string;
}

type ReadMerges = () => Promise<string>;

/** A text encoder of a checkpoint. */
interface FoundText {
  readonly config: Record<string, unknown>;
  readonly weights: Tensors;
}

/**
 * A single-file checkpoint of Stable Diffusion 1.x, 2.x or XL, or of its UNet, a VAE or ControlNet alone, as the folder that diffusers
 * would make of it: configs by the shapes of the weights, weights by diffusers' names. Nothing is copied; weights are read when they are
 * asked for.
 * @param readMerges gives CLIP's merges.txt, which is in no such file.
 * @throws ModelFileError for a checkpoint of another model. A VAE or text encoder that is not in the file is refused when it is asked for.
 */
export async function checkpointFolder(
  checkpoint: Checkpoint, options: CheckpointOptions = {}, readMerges: ReadMerges = readClipMerges,
): Promise<ModelFolder> {
  const { name, tensors } = checkpoint;
  try {
    if (tensors.has(`${ldmPrefixes.unet}input_blocks.0.0.weight`)) return await pipelineFolder(checkpoint, options, readMerges);
    if (tensors.has('input_blocks.0.0.weight') && tensors.has('out.2.weight')) return unetFolder(checkpoint, options);
    const controlnet = findControlNet(tensors);
    if (controlnet) return controlNetFolder(checkpoint, controlnet.weights, options.config ?? controlnet.config);
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
  const takes = 'a checkpoint of Stable Diffusion 1.x, 2.x or XL, its UNet, its VAE or a ControlNet';
  throw new ModelFileError(printable(`${name}: holds ${first}, takes ${takes}`));
}

async function pipelineFolder(checkpoint: Checkpoint, options: CheckpointOptions, readMerges: ReadMerges): Promise<ModelFolder> {
  const { tensors } = checkpoint;
  const unet = below(tensors, ldmPrefixes.unet);
  const { imageSize, schedulers, index, texts, ofUnet, ofVae } = knownOf(checkpoint, unet, options);
  const unetJson = unetConfigOf(unet, imageSize, ofUnet);
  const vae = below(tensors, ldmPrefixes.vae);
  const vaeJson = vae.size ? vaeConfig(shapesOf(vae), { imageSize, ...ofVae }) : undefined;
  const files: Record<string, unknown> = {
    'model_index.json': {
      ...index, unet: ['diffusers', 'UNet2DConditionModel'], vae: ['diffusers', 'AutoencoderKL'],
      ...Object.fromEntries(Object.entries(schedulers).map(([name, { _class_name }]) => [name, ['diffusers', _class_name]])),
      safety_checker: [null, null], feature_extractor: [null, null], requires_safety_checker: false,
      ...Object.fromEntries(texts.flatMap(({ component, tokenizer, projected }) => [
        [component, ['transformers', projected ? 'CLIPTextModelWithProjection' : 'CLIPTextModel']],
        [tokenizer, ['transformers', 'CLIPTokenizer']],
      ])),
    },
    'unet/config.json': unetJson,
    'vae/config.json': vaeJson,
    ...Object.fromEntries(Object.entries(schedulers).map(([name, config]) => [`${name}/scheduler_config.json`, config])),
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
  const controlnet = findControlNet(tensors);
  if (controlnet) {
    Object.assign(files, steered(files['model_index.json'] as Index), { 'controlnet/config.json': controlnet.config });
    weights['controlnet/diffusion_pytorch_model.safetensors'] = controlnet.weights;
  }
  const words = bundledWords(tensors);
  if (words.size > 0) weights[BUNDLED_WORDS] = words;
  return new VirtualFolder(checkpoint, files, weights, missing);
}

/** The index of a checkpoint that holds a ControlNet beside the whole model, as the first ones did. */
function steered(index: Index): Record<string, unknown> {
  const className = index._class_name.replace(/^StableDiffusion(XL)?/, '$&ControlNet');
  return { 'model_index.json': { ...index, _class_name: className, controlnet: ['diffusers', 'ControlNetModel'] } };
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

/** A UNet without the keys' prefix: so files for ComfyUI have it. */
function unetFolder(checkpoint: Checkpoint, options: CheckpointOptions): ModelFolder {
  const unet: Tensors = new Map(checkpoint.tensors);
  const { imageSize, ofUnet } = knownOf(checkpoint, unet, options);
  const config = unetConfigOf(unet, imageSize, ofUnet);
  return new VirtualFolder(checkpoint, { 'config.json': config }, {
    'diffusion_pytorch_model.safetensors': renamed(unet, key => unetKey(key, config.layers_per_block)),
  });
}

function unetConfigOf(unet: Tensors, imageSize: number, known: object): ReturnType<typeof unetConfig> {
  return { ...unetConfig(shapesOf(unet), imageSize), ...known };
}

function vaeFolder(checkpoint: Checkpoint, vae: Tensors): ModelFolder {
  const config = vaeConfig(shapesOf(vae), { imageSize: 512 });
  return new VirtualFolder(checkpoint, { 'config.json': config }, {
    'diffusion_pytorch_model.safetensors': vaeWeights(vae, config.block_out_channels.length),
  });
}

function controlNetFolder(checkpoint: Checkpoint, weights: Tensors, config: object): ModelFolder {
  return new VirtualFolder(checkpoint, { 'config.json': config }, { 'diffusion_pytorch_model.safetensors': weights });
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
