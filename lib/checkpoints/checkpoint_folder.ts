import { brief, printable } from '../core/checks.js';
import { ModelFileError, type ModelFolder } from '../files/model_folder.js';
import { BUNDLED_WORDS, bundledWord } from './bundled_words.js';
import type { Checkpoint } from './checkpoint.js';
import { findClip, type ClipFile } from './clip_file.js';
import { readClipMerges } from './clip_merges.js';
import { findControlNet } from './controlnet_file.js';
import { ofDiffusers, type FoundNetwork } from './found_network.js';
import { knownOf, type CheckpointOptions, type Generation, type UnetGeneration } from './generations.js';
import { vaeConfig } from './ldm_config.js';
import { ldmPrefixes, unetKey, vaeKey, withoutGaps } from './ldm_keys.js';
import { unetConfig } from './ldm_unet_config.js';
import { SD3_VAE, sd3Generation } from './sd3.js';
import { findSd3ControlNet } from './sd3_controlnet_file.js';
import { SD3_KEY, sd3Transformer } from './sd3_transformer.js';
import { fromSdcppNames } from './sdcpp_names.js';
import { findT5 } from './t5_file.js';
import { below, renamed, shapesOf, type Tensors } from './tensors.js';
import { textEncoder, tokenizerFiles, type ReadMerges } from './text_encoders.js';
import { VirtualFolder } from './virtual_folder.js';

export type { CheckpointOptions } from './generations.js';

/**
 * A single-file checkpoint of Stable Diffusion 1.x, 2.x, XL or 3, or of its UNet or transformer, a VAE, CLIP, T5 or ControlNet alone, as
 * the folder that diffusers would make of it: configs by the shapes of the weights, weights by diffusers' names. Nothing is copied; weights
 * are read when they are asked for.
 * @param readMerges gives CLIP's merges.txt, which is in no such file.
 * @throws ModelFileError for a checkpoint of another model. A VAE or text encoder that is not in the file is refused when it is asked for.
 */
export async function checkpointFolder(
  file: Checkpoint, options: CheckpointOptions = {}, readMerges: ReadMerges = readClipMerges,
): Promise<ModelFolder> {
  const { name } = file;
  let tensors: Tensors;
  try {
    tensors = fromSdcppNames(file.tensors);
    const checkpoint = { ...file, tensors };
    if (tensors.has(`${ldmPrefixes.unet}input_blocks.0.0.weight`)) return unetPipeline(checkpoint, options, readMerges);
    if (tensors.has(ldmPrefixes.unet + SD3_KEY)) return sd3Pipeline(checkpoint, options, readMerges);
    if (tensors.has('input_blocks.0.0.weight') && tensors.has('out.2.weight')) { // files for ComfyUI have the networks without a prefix
      const unet = withoutGaps(tensors);
      return networkFolder(checkpoint, foundUnet(unet, knownOf(checkpoint, unet, options)));
    }
    if (tensors.has(SD3_KEY)) return networkFolder(checkpoint, sd3Transformer(tensors));
    const controlnet = findControlNet(tensors) ?? findSd3ControlNet(tensors);
    if (controlnet) return networkFolder(checkpoint, { ...controlnet, config: options.config ?? controlnet.config });
    const vae = below(tensors, tensors.has(`${ldmPrefixes.vae}encoder.conv_in.weight`) ? ldmPrefixes.vae : '');
    if (vae.has('encoder.down.0.block.0.conv1.weight')) return vaeFolder(checkpoint, vae);
    const t5 = findT5(tensors);
    if (t5) return networkFolder(checkpoint, t5);
  } catch (error) {
    throw new ModelFileError(printable(`${name}: ${(error as Error).message}`), { cause: error });
  }
  const first = [...tensors.keys()].slice(0, 3).map(brief).join(', ') || 'no tensor at all';
  if ([...tensors.keys()].some(key => /^((encoder\.)?down_blocks|text_model|transformer_blocks)\./.test(key))) {
    if (options.config) return partFolder(file, options.config);
    const clip = findClip(tensors);
    if (clip) return clipFolder(file, clip);
    throw new ModelFileError(`${name}: is one file of a model in diffusers' layout: load the folder, where the config.json is`);
  }
  const takes = 'a checkpoint of Stable Diffusion 1.x, 2.x, XL or 3, its UNet or transformer, its VAE, CLIP, T5 or a ControlNet';
  throw new ModelFileError(printable(`${name}: holds ${first}, takes ${takes}`));
}

function unetPipeline(checkpoint: Checkpoint, options: CheckpointOptions, readMerges: ReadMerges): ModelFolder {
  const tensors = withoutGaps(below(checkpoint.tensors, ldmPrefixes.unet));
  const known = knownOf(checkpoint, tensors, options);
  const unet = foundUnet(tensors, known);
  const controlnet = findControlNet(checkpoint.tensors);
  const index = {
    ...known.index, safety_checker: [null, null], feature_extractor: [null, null], requires_safety_checker: false,
    ...controlnet && { _class_name: String(known.index._class_name).replace(/^StableDiffusion(XL)?/, '$&ControlNet') },
  };
  // The first ControlNets came with the whole model.
  const networks = [unet, ...controlnet ? [ofDiffusers('controlnet', controlnet.config, controlnet.weights)] : []];
  return pipelineFolder(checkpoint, { ...known, index }, networks, readMerges);
}

function sd3Pipeline(checkpoint: Checkpoint, options: CheckpointOptions, readMerges: ReadMerges): ModelFolder {
  const { tensors } = checkpoint;
  const t5 = findT5(tensors);
  const networks = [sd3Transformer(below(tensors, ldmPrefixes.unet)), ...t5 ? [t5] : []];
  return pipelineFolder(checkpoint, sd3Generation(t5 !== undefined, options), networks, readMerges);
}

function pipelineFolder(
  checkpoint: Checkpoint, { imageSize, schedulers, index, texts, ofVae, missing: ofGeneration }: Generation,
  networks: readonly FoundNetwork[], readMerges: ReadMerges,
): ModelFolder {
  const { tensors } = checkpoint;
  const vae = below(tensors, ldmPrefixes.vae);
  const vaeJson = vae.size ? vaeConfig(shapesOf(vae), { imageSize, ...ofVae }) : undefined;
  const files: Record<string, unknown> = {
    'model_index.json': {
      ...index, vae: ['diffusers', 'AutoencoderKL'],
      ...Object.fromEntries(networks.map(({ component, library, className }) => [component, [library, className]])),
      ...Object.fromEntries(Object.entries(schedulers).map(([name, { _class_name }]) => [name, ['diffusers', _class_name]])),
      ...Object.fromEntries(texts.flatMap(({ component, tokenizer, projected }) => [
        [component, ['transformers', projected ? 'CLIPTextModelWithProjection' : 'CLIPTextModel']],
        [tokenizer, ['transformers', 'CLIPTokenizer']],
      ])),
    },
    'vae/config.json': vaeJson,
    ...Object.fromEntries(networks.map(({ component, config }) => [`${component}/config.json`, config])),
    ...Object.fromEntries(Object.entries(schedulers).map(([name, config]) => [`${name}/scheduler_config.json`, config])),
  };
  const weights: Record<string, Tensors> = {
    ...Object.fromEntries(networks.map(network => [`${network.component}/${fileOf(network)}`, network.weights])),
    'vae/diffusion_pytorch_model.safetensors': vaeJson ? vaeWeights(vae, vaeJson.block_out_channels.length) : new Map(),
  };
  const missing: Record<string, string> = { ...ofGeneration };
  if (!vaeJson) missing.vae = `has no VAE (${ldmPrefixes.vae}*); fromSingleFile takes one as the option vae`;
  const found = texts.map(part => ({ part, encoder: textEncoder(tensors, part), option: OPTIONS[part.component] }));
  const lacking: string[] = found.filter(({ encoder }) => !encoder).map(({ option }) => option);
  if (missing.text_encoder_3) lacking.push('textEncoder3 (null goes without)');
  for (const { part, encoder, option } of found) {
    Object.assign(files, { [`${part.component}/config.json`]: encoder?.config, ...tokenizerFiles(part, readMerges) });
    weights[`${part.component}/model.safetensors`] = encoder?.weights ?? new Map();
    const others = lacking.filter(other => other !== option).join(', nor ');
    const give = `give it or its file as the option ${option}${others && `; it has no ${others} either`}`;
    if (!encoder) missing[part.component] = `has no text encoder (${part.prefixes}); ${give}`;
  }
  const words = bundledWords(tensors);
  if (words.size > 0) weights[BUNDLED_WORDS] = words;
  return new VirtualFolder(checkpoint, files, weights, missing);
}

/** What options call text encoders. */
const OPTIONS = { text_encoder: 'textEncoder', text_encoder_2: 'textEncoder2' } as const;

function foundUnet(tensors: Tensors, { imageSize, ofUnet }: UnetGeneration): FoundNetwork {
  const config = { ...unetConfig(shapesOf(tensors), imageSize), ...ofUnet };
  return ofDiffusers('unet', config, renamed(tensors, key => unetKey(key, config.layers_per_block)));
}

function vaeFolder(checkpoint: Checkpoint, vae: Tensors): ModelFolder {
  const shapes = shapesOf(vae);
  const config = vaeConfig(shapes, shapes('decoder.conv_in.weight')?.[1] === 16 ? SD3_VAE : {});
  return networkFolder(checkpoint, { config, weights: vaeWeights(vae, config.block_out_channels.length) });
}

/** Of one network. */
function networkFolder(
  checkpoint: Checkpoint, network: { config: object; weights: Tensors; library?: FoundNetwork['library'] },
): ModelFolder {
  return new VirtualFolder(checkpoint, { 'config.json': network.config }, { [fileOf(network)]: network.weights });
}

/** Of a CLIP alone, which is the first text encoder of a pipeline or the second: by the name of either, too. */
function clipFolder(checkpoint: Checkpoint, { alone, first, second }: ClipFile): ModelFolder {
  const places = Object.entries({ '': alone, 'text_encoder/': first, ...second && { 'text_encoder_2/': second } });
  const files = places.map(([place, { config }]) => [`${place}config.json`, config]);
  const weights = places.map(([place, { weights }]) => [`${place}model.safetensors`, weights]);
  const missing = { text_encoder_2: 'has no text_projection.weight, which the second text encoder has, as clip_g.safetensors' };
  return new VirtualFolder(checkpoint, Object.fromEntries(files), Object.fromEntries(weights), second ? {} : missing);
}

/** A network by itself, as diffusers keeps it. */
function partFolder(checkpoint: Checkpoint, config: object): ModelFolder {
  const library = checkpoint.tensors.has('text_model.embeddings.token_embedding.weight') ? 'transformers' : 'diffusers';
  return networkFolder(checkpoint, { config, weights: new Map(checkpoint.tensors), library });
}

/** Files of text encoders are named otherwise than those of the rest. */
function fileOf({ library }: { library?: FoundNetwork['library'] }): string {
  return library === 'transformers' ? 'model.safetensors' : 'diffusion_pytorch_model.safetensors';
}

/** Without what a training leaves beside: its loss, its averages. */
function vaeWeights(vae: Tensors, levels: number): Tensors {
  const own = [...vae].filter(([key]) => /^(encoder|decoder|quant_conv|post_quant_conv)\./.test(key));
  return renamed(new Map(own), key => vaeKey(key, levels));
}

/** The learned words that came with the model, by their names. */
function bundledWords(tensors: Tensors): Tensors {
  return new Map([...tensors].flatMap(([key, tensor]) => {
    const word = bundledWord(key);
    return word === undefined ? [] : [[word, tensor] as const];
  }));
}
