import { loadIpAdapters } from '../../adapters/ip_adapter_files.js';
import { scaleByBlock, type BlockScales } from '../../adapters/lora_scale.js';
import { readCheckpoint } from '../../checkpoints/checkpoint.js';
import { checkNumber, show } from '../../core/checks.js';
import { isObject } from '../../core/json.js';
import type { ModelSource } from '../../files/model_folder.js';
import type { HubOptions } from '../../hub/hub_settings.js';
import { locateFile } from '../../loading/locate_file.js';
import { CLIPImageProcessor } from '../../models/clip_image_processor.js';
import { CLIPVisionModelWithProjection } from '../../models/clip_vision_model.js';
import { encodeImagePrompts, type ImageReader } from '../inputs/image_prompts.js';
import type { GenerateRequest } from '../inputs/generate_options.js';
import type { EncodedTexts } from './guided_pipeline.js';
import { UNetPipeline } from './unet_pipeline.js';

/** Options of `loadIpAdapter`. For several IP-Adapters, `subfolder` and `weightName` are one for all, or lists. */
export interface LoadIpAdapterOptions extends HubOptions {
  /** Where in the folder the file is, as in 'models'; the folder itself by default. */
  subfolder?: string | readonly string[];
  /** The file, as in 'ip-adapter_sd15.bin'. */
  weightName?: string | readonly string[];
  /**
   * The folder of the image encoder, which is loaded unless the pipeline has one: a name in `subfolder`, 'image_encoder' by default; or,
   * with a slash in it, a path in the whole folder, as in 'models/image_encoder'. With null none is loaded, and only `ipAdapterImageEmbeds`
   * can be used.
   */
  imageEncoderFolder?: string | null;
}

/**
 * How strongly an IP-Adapter acts: 1 by default, 0 not at all. By blocks, as in `{ up: { block_0: [0, 1, 0] } }`, where blocks that are
 * left out have 0; or a list with one number for each of several pictures with masks.
 */
export type IpAdapterScale = number | readonly number[] | BlockScales;

/** Encoders that came with an IP-Adapter, and go with it, from all pipelines that share them. */
const cameAlong = new WeakSet<CLIPVisionModelWithProjection>();

/** A pipeline that can take pictures as prompts, through IP-Adapters (arXiv:2308.06721). */
export abstract class ImagePromptPipeline extends UNetPipeline implements ImageReader {
  imageEncoder?: CLIPVisionModelWithProjection;
  featureExtractor?: CLIPImageProcessor;

  /**
   * Loads an IP-Adapter, a Plus or a Full Face one, or several that act together, in the place of earlier ones. `generate` then takes
   * `ipAdapterImage`. The adapter belongs to the UNet, so all pipelines that share the UNet have it.
   * @param source the file, its folder or a model on the hub, as in 'h94/IP-Adapter'; or a list of such.
   * @throws WeightsError for a file of another kind, or for another UNet; nothing is changed then.
   */
  async loadIpAdapter(source: ModelSource | readonly ModelSource[], options: LoadIpAdapterOptions = {}): Promise<void> {
    const { subfolder, weightName, imageEncoderFolder = 'image_encoder', ...hubOptions } = options;
    const places = inStep({ source, subfolder, weightName }) as Array<{ source: ModelSource; subfolder?: string; weightName?: string }>;
    const files = await Promise.all(places.map(({ source, subfolder, weightName }) =>
      locateFile(source, weightName && inFolder(subfolder, weightName), [], hubOptions)));
    const [{ folder }] = files;
    await this.exclusively(async () => {
      const offload = this.memorySavers.has('enableModelCpuOffload');
      const checkpoints = [];
      for (const { folder, path } of files) checkpoints.push(await readCheckpoint(`${folder.name}/${path}`, () => folder.open(path)));
      const adapters = await loadIpAdapters(this.unet, checkpoints, offload);
      try {
        if ((!this.imageEncoder || this.imageEncoder.isDisposed) && imageEncoderFolder !== null) {
          const place = imageEncoderFolder.includes('/') ? imageEncoderFolder : inFolder(places[0].subfolder, imageEncoderFolder);
          this.imageEncoder = await CLIPVisionModelWithProjection.fromPretrained(folder, {
            ...hubOptions, subfolder: place, dtype: this.unet.weightDtype, offload,
          });
          cameAlong.add(this.imageEncoder);
          this.joinIn(this.imageEncoder);
        }
      } catch (error) {
        adapters.dispose();
        throw error;
      }
      const size = this.imageEncoder?.config.image_size ?? 224;
      this.featureExtractor ??= new CLIPImageProcessor({ size, crop_size: size });
      this.unet.setIpAdapters(adapters);
    });
  }

  /**
   * Sets how strongly the IP-Adapters act: one scale for all, or a list with one for each.
   * @throws RangeError for what is no number, a block that does not exist, or a list of another length.
   */
  async setIpAdapterScale(scale: number | BlockScales | readonly IpAdapterScale[]): Promise<void> {
    const { ipAdapters: adapters, textAttentions } = this.unet;
    if (!adapters) throw new Error('setIpAdapterScale: there is no IP-Adapter; call loadIpAdapter first');
    const count = adapters.projections.length;
    const list = Array.isArray(scale) ? scale as IpAdapterScale[] : Array<IpAdapterScale>(count).fill(scale as number | BlockScales);
    if (list.length !== count) throw new RangeError(`scale: got a list of ${list.length}, takes ${count}, one for each IP-Adapter`);
    const scales = list.map(one => {
      if (isObject(one)) return scaleByBlock('scale', one as BlockScales, textAttentions.keys(), 0);
      if (Array.isArray(one) && one.length === 0) throw new RangeError('scale: got an empty list, takes a number for each picture');
      const checked = Array.isArray(one) ? one.map(each => checkNumber('scale', each)) : checkNumber('scale', one as number);
      return () => checked;
    });
    await this.exclusively(async () => this.unet.setIpAdapterScales((path, adapter) => scales[adapter](path)));
  }

  protected override encodeInputs(request: GenerateRequest): EncodedTexts {
    const { imagePrompts, guided, latentShape } = request;
    const texts = super.encodeInputs(request);
    if (!imagePrompts) return texts;
    this.makeReady(...this.imageEncoder ? [this.imageEncoder] : []);
    return { ...texts, imagePrompts: encodeImagePrompts(this, imagePrompts, guided, latentShape, this.vaeScaleFactor) };
  }

  /** Removes the IP-Adapters, and the image encoder: the UNet is then as before, in all pipelines that share it. */
  async unloadIpAdapter(): Promise<void> {
    await this.exclusively(async () => {
      this.unet.setIpAdapters();
      if (this.imageEncoder && cameAlong.has(this.imageEncoder)) this.imageEncoder.dispose();
      this.imageEncoder = undefined;
    });
  }
}

/** Where something is in a subfolder. */
function inFolder(subfolder: string | undefined, path: string): string {
  return subfolder ? `${subfolder}/${path}` : path;
}

/** Of options that are one for all or lists, those of each. @throws RangeError for lists of several lengths. */
function inStep<T extends object>(options: T): object[] {
  const lists = Object.entries(options).map(([name, value]) => [name, Array.isArray(value) ? value as unknown[] : [value]] as const);
  const count = Math.max(...lists.map(([, list]) => list.length));
  const wrong = lists.find(([, list]) => list.length !== 1 && list.length !== count);
  if (wrong) throw new RangeError(`${wrong[0]}: got ${show(wrong[1])}, takes one, or a list of ${count}, one for each IP-Adapter`);
  return Array.from({ length: count }, (_, i) => Object.fromEntries(lists.map(([name, list]) => [name, list[list.length === 1 ? 0 : i]])));
}
