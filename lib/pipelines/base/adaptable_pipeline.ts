import { learnBundledWords, learnWord, splitBundledWords, type PromptEncoder } from '../../adapters/learned_words.js';
import { scalesOfNetworks, type LoraScale } from '../../adapters/lora_scale.js';
import { parseLora, type LoraNetwork } from '../../adapters/lora_weights.js';
import { networkAdapters, type NetworkAdapters } from '../../adapters/network_adapters.js';
import { parseTextualInversion } from '../../adapters/textual_inversion.js';
import { checkNumber, show } from '../../core/checks.js';
import { runningAhead } from '../../core/run_ahead.js';
import type { ModelFolder, ModelSource } from '../../files/model_folder.js';
import type { HubOptions } from '../../hub/hub_settings.js';
import { locateFile } from '../../loading/locate_file.js';
import { readStateDict } from '../../loading/state_dict.js';
import { Model } from '../../models/model.js';
import { LatentDiffusionPipeline } from './latent_diffusion_pipeline.js';
import type { Waiting } from '../components/share_networks.js';

/** Options of `loadLoraWeights`. */
export interface LoadLoraOptions extends HubOptions {
  /** The file in the folder; `pytorch_lora_weights.safetensors` or peft's `adapter_model.safetensors` by default. */
  weightName?: string;
  /** The name of the adapter; `default_0`, `default_1`, ... by default. */
  adapterName?: string;
  /** How strongly it acts, 1 by default. */
  adapterScale?: LoraScale;
}

/** Options of `loadTextualInversion`. */
export interface LoadTextualInversionOptions extends HubOptions {
  /** The word that stands for it in prompts, such as '<cat>'; by default the file's own name for it. A file with only a tensor has none. */
  token?: string;
  /** The file in the folder; `learned_embeds.safetensors` by default. */
  weightName?: string;
}

/** The networks that LoRAs change: what files call them, and what pipelines do. */
const ADAPTED: ReadonlyArray<[LoraNetwork, string]> = [
  ['unet', 'unet'], ['transformer', 'transformer'], ['text_encoder', 'textEncoder'], ['text_encoder_2', 'textEncoder2'],
];

const EMBEDDING_FILES = ['learned_embeds.safetensors', 'learned_embeds.bin'];
const LORA_FILES = ['pytorch_lora_weights', 'adapter_model'].flatMap(stem => [`${stem}.safetensors`, `${stem}.bin`]);

/** What small files add to a pipeline: styles and subjects, learned beside a model that stays as it is. */
export abstract class AdaptablePipeline extends LatentDiffusionPipeline {
  /** What reads prompts, in the order in which the denoiser sees what they read: SDXL has two. */
  abstract get promptEncoders(): readonly PromptEncoder[];

  /**
   * Adds a LoRA (arXiv:2106.09685) or one of its relatives (DoRA, LoHa, LoKr, ...) to the denoiser and the text encoders, besides those
   * that are loaded: all of them act.
   * @param source the file, its folder or a model on the hub, in diffusers', peft's, kohya's or LyCORIS' keys. peft's `adapter_config.json`
   *   beside its `adapter_model.safetensors` is heeded.
   * @throws WeightsError for a file of another kind or for another model; nothing is changed then.
   */
  async loadLoraWeights(source: ModelSource, options: LoadLoraOptions = {}): Promise<void> {
    const { weightName, adapterName: given, adapterScale = 1, ...hubOptions } = options;
    const scales = this.scalesOf('adapterScale', adapterScale);
    const { folder, path } = await locateFile(source, weightName, LORA_FILES, hubOptions);
    const { adapted } = this;
    const config = await readAdapterConfig(folder, path);
    const { file, words } = splitBundledWords(await readStateDict(folder, path));
    const weights = parseLora(file, Object.fromEntries(adapted.map(({ key, network }) => [key, network.parameterSpecs()])), config);
    await this.exclusively(async () => {
      const adapterName = given ?? this.newAdapterName();
      adapted.forEach(({ adapters }) => adapters.checkNew(adapterName));
      try {
        adapted.forEach(({ key, adapters }) => adapters.add(adapterName, weights[key], scales[key]));
      } catch (error) {
        runningAhead.current?.forgetErrors();
        for (const { adapters } of adapted) {
          try {
            adapters.withdraw(adapterName);
          } catch { /* the first error is the one to tell */ }
        }
        throw error;
      }
      learnBundledWords(this.promptEncoders, file.name, words);
    });
  }

  /** How strongly a LoRA acts, or all of them: 1 as it was trained, 0 not at all. @throws RangeError for a name that is not loaded. */
  async setLoraScale(scale: LoraScale, adapterName?: string): Promise<void> {
    const scales = this.scalesOf('scale', scale);
    if (adapterName !== undefined) this.checkAdapters('adapterName', [adapterName]);
    await this.forAdapters((network, name) => network.setScale(scales[name], adapterName));
  }

  /**
   * Makes these LoRAs act, and no other that is loaded, as diffusers' `set_adapters`.
   * @param adapterWeights how strongly: of all, or a list with one for each; 1 by default.
   * @throws RangeError for a name that is not loaded, or a list of another length.
   */
  async setAdapters(
    adapterNames: string | readonly string[], adapterWeights: LoraScale | readonly (LoraScale | undefined)[] = 1,
  ): Promise<void> {
    const names = [adapterNames].flat();
    this.checkAdapters('adapterNames', names);
    const given = adapterWeights as LoraScale | Array<LoraScale | undefined>;
    const weights = Array.isArray(given) ? given : names.map(() => given);
    if (weights.length !== names.length) {
      throw new RangeError(`adapterWeights: got a list of ${weights.length}, takes one of ${names.length}`);
    }
    const scales = names.map((name, i) => [name, this.scalesOf('adapterWeights', weights[i] ?? 1)] as const);
    await this.forAdapters((network, name) => network.setActive(new Map(scales.map(([adapter, each]) => [adapter, each[name]]))));
  }

  /** Lets no LoRA act until `enableLora`, though they stay loaded. @throws Error if they are fused. */
  async disableLora(): Promise<void> {
    await this.forAdapters(network => network.setEnabled(false));
  }

  /** Lets the active LoRAs act again. */
  async enableLora(): Promise<void> {
    await this.forAdapters(network => network.setEnabled(true));
  }

  /**
   * Removes some LoRAs. If all that were active are among them, the first that is left acts.
   * @throws RangeError for a name that is not loaded, Error if they are fused.
   */
  async deleteAdapters(adapterNames: string | readonly string[]): Promise<void> {
    const names = [adapterNames].flat();
    this.checkAdapters('adapterNames', names);
    await this.forAdapters(network => network.delete(names));
  }

  /** The LoRAs that are active, whether they are enabled or not. */
  getActiveAdapters(): string[] {
    return [...networkAdapters(this.denoiser).active];
  }

  /** The LoRAs that are loaded, by the networks that they change: `{ unet: ['style', 'subject'], textEncoder: ['style'] }`. */
  getListAdapters(): Record<string, string[]> {
    const lists = this.adapted.map(({ name, adapters }) => [name, adapters.namesWithWeights] as const);
    return Object.fromEntries(lists.filter(([, names]) => names.length > 0));
  }

  /** Makes the LoRAs a part of the weights, `loraScale` times as strong, so that they stay when unloaded. */
  async fuseLora({ loraScale = 1 }: { loraScale?: number } = {}): Promise<void> {
    checkNumber('loraScale', loraScale);
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
   * Learns a word (textual inversion, arXiv:2208.01618): one embedding or several, which prompts call `token`. Of two text encoders, both
   * learn it from a file that has it for both (`clip_l`, `clip_g`), and from another the one whose embeddings are as long.
   * @param source the file, its folder or a model on the hub.
   * @throws RangeError for a token that is known already, WeightsError for a file of something else.
   */
  async loadTextualInversion(source: ModelSource, options: LoadTextualInversionOptions = {}): Promise<void> {
    const { token, weightName, ...hubOptions } = options;
    const { folder, path } = await locateFile(source, weightName, EMBEDDING_FILES, hubOptions);
    const features = this.promptEncoders.map(({ textEncoder }) => textEncoder.config.hidden_size);
    const word = parseTextualInversion(await readStateDict(folder, path), features, token);
    await this.exclusively(async () => learnWord(this.promptEncoders, word));
  }

  /**
   * Runs `work`, which makes pictures, with LoRAs so many times as strong. Unless that is 1, no other may be at work with these networks.
   */
  protected runningWithLoras<T>(scale: number, work: () => Promise<T>, waiting: Waiting): Promise<T> {
    if (scale === 1) return this.running(work, waiting);
    return this.exclusively(async () => {
      const adapters = this.adapted.map(each => each.adapters);
      try {
        adapters.forEach(network => network.setRunScale(scale));
        return await work();
      } finally {
        adapters.forEach(network => network.setRunScale(1));
      }
    }, waiting);
  }

  /** The networks that there are of those that LoRAs change, first the one that denoises. */
  private get adapted(): Array<{ key: LoraNetwork; name: string; network: Model<unknown>; adapters: NetworkAdapters }> {
    const components = new Map<string, unknown>(Object.entries(this.components));
    return ADAPTED.flatMap(([key, name]) => {
      const network = components.get(name);
      return network instanceof Model ? [{ key, name, network, adapters: networkAdapters(network) }] : [];
    });
  }

  private async forAdapters(change: (adapters: NetworkAdapters, name: LoraNetwork) => void): Promise<void> {
    await this.exclusively(async () => this.adapted.forEach(({ adapters, key }) => change(adapters, key)));
  }

  private scalesOf(option: string, scale: LoraScale): ReturnType<typeof scalesOfNetworks> {
    const { adapted } = this;
    const names = new Set([...adapted.map(({ name }) => name), ...adapted.map(({ key }) => key)]);
    const unet = adapted.find(({ key }) => key === 'unet')?.network;
    return scalesOfNetworks(option, scale, unet?.parameterSpecs().keys() ?? [], [...names]);
  }

  private checkAdapters(option: string, names: readonly string[]): void {
    const known = networkAdapters(this.denoiser).names;
    const stranger = names.find(name => !known.includes(name));
    if (stranger === undefined) return;
    throw new RangeError(`${option}: got ${show(stranger)}, takes one that is loaded: ${known.map(show).join(', ') || 'there is none'}`);
  }

  private newAdapterName(): string {
    const { names } = networkAdapters(this.denoiser);
    let count = names.length;
    while (names.includes(`default_${count}`)) count++; // of what was deleted meanwhile
    return `default_${count}`;
  }
}

/** What lies beside a file that peft saved. */
async function readAdapterConfig(folder: ModelFolder, path: string): Promise<unknown> {
  const [, directory, stem] = /^(.*\/)?(adapter_model)\.\w+$/.exec(path) ?? [];
  const config = `${directory ?? ''}adapter_config.json`;
  if (!stem || !await folder.has(config)) return undefined;
  await folder.prefetch?.([config]);
  return folder.readJson(config);
}
