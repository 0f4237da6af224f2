import { show } from '../core/checks.js';
import { locateFile } from '../hub/locate_file.js';
import type { HubOptions, ModelFolder } from '../hub/model_folder.js';
import type { CLIPTextModel } from '../models/clip_text_model.js';
import type { CLIPTokenizer } from '../tokenizer/clip_tokenizer.js';
import { parseLora } from '../weights/lora_weights.js';
import { readStateDict } from '../weights/state_dict.js';
import { parseTextualInversion } from '../weights/textual_inversion.js';
import { DiffusionPipeline } from './diffusion_pipeline.js';
import { learnBundledWords, learnWord, splitBundledWords } from './learned_words.js';
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
  /** What stands for it in prompts, as in '<cat>'; by default what the file calls it. A tensor alone is called nothing. */
  token?: string;
  /** The file in the folder; `learned_embeds.safetensors` by default. */
  weightName?: string;
}

const EMBEDDING_FILES = ['learned_embeds.safetensors', 'learned_embeds.bin'];
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
    const { file, words } = splitBundledWords(await readStateDict(folder, path));
    const weights = parseLora(file, { unet: unet.parameterSpecs(), text_encoder: textEncoder.parameterSpecs() });
    await this.exclusively(async () => {
      [unet, textEncoder].forEach(network => networkAdapters(network).checkNew(adapterName));
      networkAdapters(unet).add(adapterName, weights.unet, adapterScale);
      networkAdapters(textEncoder).add(adapterName, weights.text_encoder, adapterScale);
      learnBundledWords(this, file.name, words);
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
    const { token, weightName, ...hubOptions } = options;
    const { folder, path } = await locateFile(source, weightName, EMBEDDING_FILES, hubOptions);
    const word = parseTextualInversion(await readStateDict(folder, path), this.textEncoder.config.hidden_size, token);
    await this.exclusively(async () => learnWord(this, word));
  }

  private async forAdapters(change: (adapters: ReturnType<typeof networkAdapters>) => void): Promise<void> {
    await this.exclusively(async () => [this.unet, this.textEncoder].forEach(network => change(networkAdapters(network))));
  }
}

function checkScale(name: string, scale: number): void {
  if (!Number.isFinite(scale)) throw new RangeError(`${name}: got ${show(scale)}, takes a number`);
}
