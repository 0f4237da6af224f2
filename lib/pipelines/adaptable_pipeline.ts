import * as tf from '@tensorflow/tfjs';
import { printable, show } from '../core/checks.js';
import { locateFile } from '../hub/locate_file.js';
import type { HubOptions, ModelFolder } from '../hub/model_folder.js';
import type { CLIPTextModel } from '../models/clip_text_model.js';
import type { CLIPTokenizer } from '../tokenizer/clip_tokenizer.js';
import { WeightsError } from '../weights/load_weights.js';
import { parseLora } from '../weights/lora_weights.js';
import { readStateDict } from '../weights/state_dict.js';
import { DiffusionPipeline } from './diffusion_pipeline.js';
import { networkAdapters } from './lora.js';

/** Options of `loadLoraWeights`. */
export interface LoadLoraOptions extends HubOptions {
  /** The file in the folder; `pytorch_lora_weights.safetensors` by default. */
  weightName?: string;
  /** What to call it; `default_0`, `default_1`, ... by default. */
  adapterName?: string;
  /** How strongly it acts, 1 by default. */
  adapterScale?: number;
}

/** Options of `loadTextualInversion`. */
export interface LoadTextualInversionOptions extends HubOptions {
  /** What stands for it in prompts, as in '<cat>'; by default what the file calls it. */
  token?: string;
  /** The file in the folder; `learned_embeds.safetensors` by default. */
  weightName?: string;
}

const EMBEDDING_FILES = ['learned_embeds.safetensors', 'learned_embeds.bin'];
const NAMELESS = ['*', 'emb_params']; // what other tools call it, whichever it is
const LORA_FILES = ['pytorch_lora_weights.safetensors', 'pytorch_lora_weights.bin'];

/** What small files add to a pipeline: styles and subjects, learned beside a model that stays as it is. */
export abstract class AdaptablePipeline extends DiffusionPipeline {
  abstract textEncoder: CLIPTextModel;
  abstract tokenizer: CLIPTokenizer;

  /**
   * Adds a LoRA (arXiv:2106.09685) to the UNet and the text encoder, besides those that are loaded.
   * @param source the file, its folder or a model on the hub, in diffusers', peft's or kohya's keys.
   * @throws WeightsError for a file of another kind or for another model; nothing is changed then.
   */
  async loadLoraWeights(source: string | ModelFolder, options: LoadLoraOptions = {}): Promise<void> {
    const { weightName, adapterName = `default_${networkAdapters(this.unet).adapters.size}`, adapterScale = 1, ...hubOptions } = options;
    checkScale('adapterScale', adapterScale);
    const { folder, path } = await locateFile(source, weightName, LORA_FILES, hubOptions);
    const { unet, textEncoder } = this;
    const weights = parseLora(await readStateDict(folder, path), { unet: unet.parameterSpecs(), text_encoder: textEncoder.parameterSpecs() });
    await this.exclusively(async () => {
      [unet, textEncoder].forEach(network => networkAdapters(network).checkNew(adapterName));
      networkAdapters(unet).add(adapterName, weights.unet, adapterScale);
      networkAdapters(textEncoder).add(adapterName, weights.text_encoder, adapterScale);
    });
  }

  /** How strongly a LoRA acts, or all of them: 1 as it was trained, 0 not at all. @throws RangeError for a name that is not loaded. */
  async setLoraScale(scale: number, adapterName?: string): Promise<void> {
    checkScale('scale', scale);
    const { adapters } = networkAdapters(this.unet);
    if (adapterName !== undefined && !adapters.has(adapterName)) {
      throw new RangeError(`adapterName: got ${show(adapterName)}, takes one that is loaded: ${[...adapters.keys()].map(show).join(', ') || 'there is none'}`);
    }
    await this.forAdapters(network => network.setScale(scale, adapterName));
  }

  /** Makes the LoRAs a part of the weights, `loraScale` times as strong, so that they stay when unloaded. */
  async fuseLora({ loraScale = 1 }: { loraScale?: number } = {}): Promise<void> {
    checkScale('loraScale', loraScale);
    await this.forAdapters(network => network.fuse(loraScale));
  }

  /** Takes `fuseLora` back: the LoRAs act as before, and can be changed. */
  async unfuseLora(): Promise<void> {
    await this.forAdapters(network => network.unfuse());
  }

  /** Removes all LoRAs; the weights are then what they were, to the last bit. Those that are fused stay. */
  async unloadLoraWeights(): Promise<void> {
    await this.forAdapters(network => network.unload());
  }

  /**
   * Learns a word (textual inversion, arXiv:2208.01618): one embedding or several, which prompts call `token`.
   * @param source the file, its folder or a model on the hub.
   * @throws RangeError for a token that is known already, WeightsError for a file of something else.
   */
  async loadTextualInversion(source: string | ModelFolder, options: LoadTextualInversionOptions = {}): Promise<void> {
    const { token: given, weightName, ...hubOptions } = options;
    const { folder, path } = await locateFile(source, weightName, EMBEDDING_FILES, hubOptions);
    const { name, tensors } = await readStateDict(folder, path);
    const features = this.textEncoder.config.hidden_size;
    const [[key, { shape, data }] = ['', { shape: [], data: undefined }], ...others] = tensors;
    if (!data || others.length || shape.length > 2 || shape.at(-1) !== features || data.length === 0) {
      const found = [...tensors].map(([each, tensor]) => `${each} [${tensor.shape.join(', ')}]`).slice(0, 6).join(', ');
      throw new WeightsError(printable(`${name}: is no textual inversion for this model: holds ${found || 'nothing'}, takes one tensor [tokens, ${features}]`));
    }
    const token = given ?? key;
    if (given === undefined && NAMELESS.includes(key)) throw new TypeError(`${name}: does not say what to call it; say it by token, as in '<cat>'`);
    const { tokenizer, textEncoder } = this;
    await this.exclusively(async () => {
      const first = textEncoder.tokens;
      tokenizer.addToken(token, Array.from({ length: data.length / features }, (_, i) => first + i));
      tf.tidy(() => textEncoder.addTokenEmbeddings(tf.tensor2d(data, [data.length / features, features])));
    });
  }

  private async forAdapters(change: (adapters: ReturnType<typeof networkAdapters>) => void): Promise<void> {
    await this.exclusively(async () => [this.unet, this.textEncoder].forEach(network => change(networkAdapters(network))));
  }
}

function checkScale(name: string, scale: number): void {
  if (!Number.isFinite(scale)) throw new RangeError(`${name}: got ${show(scale)}, takes a number`);
}
