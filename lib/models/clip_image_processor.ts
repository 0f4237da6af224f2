import * as tf from '@tensorflow/tfjs';
import { checkInteger, checkOneOf, show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import { ModelFileError, type ModelSource } from '../files/model_folder.js';
import type { HubOptions } from '../hub/hub_settings.js';
import { Image } from '../image/image.js';
import { MAX_PIXELS } from '../image/image_error.js';
import type { ResizeFilter } from '../image/resize.js';
import { openModelFolder } from '../loading/open_model_folder.js';
import { flag, mergeConfig, real, whole, type ConfigKeys } from './config.js';

/** What `preprocessor_config.json` says. The defaults are transformers'. */
export interface CLIPImageProcessorConfig {
  do_resize: boolean;
  /** The size in pixels that a picture is scaled to: of the shorter side, or of both. A number is that of the shorter side. */
  size: number | { shortest_edge: number } | { height: number; width: number };
  /** Pillow's number of the filter: 3, bicubic, or 1, Lanczos'. */
  resample: number;
  do_center_crop: boolean;
  /** The size in pixels of the part that is cut from the middle; a number is both sides. */
  crop_size: number | { height: number; width: number };
  do_rescale: boolean;
  rescale_factor: number;
  do_normalize: boolean;
  /** Mean of red, green and blue, from 0 to 1, which is subtracted; then values are divided by `image_std`. */
  image_mean: number[];
  image_std: number[];
}

const KEYS: ConfigKeys<Omit<CLIPImageProcessorConfig, 'size' | 'crop_size'>> = {
  do_resize: flag(true),
  resample: whole(3, { least: 0 }),
  do_center_crop: flag(true),
  do_rescale: flag(true),
  rescale_factor: real(1 / 255),
  do_normalize: flag(true),
  image_mean: real([0.48145466, 0.4578275, 0.40821073]),
  image_std: real([0.26862954, 0.26130258, 0.27577711], { positive: true }),
};

/** What pictures are scaled to. */
type Target = Exclude<CLIPImageProcessorConfig['size'], number>;

const MAX_SIDE = 4096;
const FILTERS: Record<number, ResizeFilter> = { 1: 'lanczos', 3: 'bicubic' };

/**
 * Prepares pictures for CLIP's image encoder: scales them, cuts out the middle, and normalizes by the mean and deviation that the encoder
 * was trained with.
 * Equals transformers' CLIPImageProcessor by Pillow; that by torchvision rounds one value of some hundreds otherwise.
 */
export class CLIPImageProcessor {
  /** The files that it is loaded from. */
  static readonly fileNames = ['preprocessor_config.json'] as const;
  /** What `preprocessor_config.json` says, defaults filled in. */
  readonly config: Readonly<CLIPImageProcessorConfig>;

  /** @throws TypeError, RangeError naming the key whose value does not fit. */
  constructor(config: Partial<CLIPImageProcessorConfig> = {}) {
    const name = 'image processor config';
    const { size = 224, crop_size = 224 } = config;
    const merged = mergeConfig(name, KEYS, config);
    this.config = { ...merged, size: checkSize(`${name}: size`, size), crop_size: checkSides(`${name}: crop_size`, crop_size) };
    checkOneOf(`${name}: resample`, merged.resample, Object.keys(FILTERS).map(Number));
    for (const key of ['image_mean', 'image_std'] as const) {
      if (merged[key].length !== 3) throw new RangeError(`${name}: ${key}: got ${show(merged[key])}, takes three numbers`);
    }
  }

  /** Reads the processor of a folder of diffusers or transformers, or of a model on the hub. */
  static async fromPretrained(source: ModelSource, options: { subfolder?: string } & HubOptions = {}): Promise<CLIPImageProcessor> {
    const { subfolder, ...hubOptions } = options;
    const folder = await openModelFolder(source, hubOptions);
    const [file] = CLIPImageProcessor.fileNames;
    const path = subfolder ? `${subfolder}/${file}` : file;
    await folder.prefetch?.([path]);
    const config = await folder.readJson(path);
    if (!isObject(config)) throw new ModelFileError(`${folder.name}/${path}: got ${show(config)}, takes an object`);
    return new CLIPImageProcessor(config);
  }

  /**
   * The image encoder's input for pictures of any sizes: `[images, height, width, 3]`, of the size that is cut from them.
   * @throws RangeError for a picture that is smaller than what is to be cut from it, or far longer than wide.
   */
  preprocess(images: Image | readonly Image[]): tf.Tensor {
    const { do_rescale, rescale_factor, do_normalize, image_mean, image_std } = this.config;
    const cut = [images].flat().map(image => this.centerCrop(this.resize(image.toRgb())));
    return tf.tidy(() => {
      const bytes = tf.mul(Image.toTensor(cut), 255).round();
      const scaled = do_rescale ? tf.mul(bytes, rescale_factor) : bytes;
      return do_normalize ? tf.div(tf.sub(scaled, image_mean), image_std) : scaled;
    });
  }

  private resize(image: Image): Image {
    const { do_resize, size, resample } = this.config;
    if (!do_resize) return image;
    const [width, height] = sidesFor(image, size as Target);
    if (width * height > MAX_PIXELS) {
      throw new RangeError(`image: got ${image.width} x ${image.height} pixels, which would be scaled to ${width} x ${height}`);
    }
    return image.resize(width, height, FILTERS[resample]);
  }

  private centerCrop(image: Image): Image {
    if (!this.config.do_center_crop) return image;
    const { height, width } = this.config.crop_size as { height: number; width: number };
    if (height > image.height || width > image.width) {
      const [got, takes] = [`${image.width} x ${image.height} pixels once it is scaled`, `${width} x ${height}`];
      throw new RangeError(`image: got ${got}, takes at least the crop_size of the image processor, ${takes}`);
    }
    return image.crop({ left: (image.width - width) >> 1, top: (image.height - height) >> 1, width, height });
  }
}

/** Width and height of a picture once it is scaled. */
function sidesFor(image: Image, size: Target): [width: number, height: number] {
  if ('height' in size) return [size.width, size.height];
  const { shortest_edge: short } = size;
  const long = (longer: number, shorter: number) => Math.trunc(short * longer / shorter);
  return image.width <= image.height ? [short, long(image.height, image.width)] : [long(image.width, image.height), short];
}

function checkSize(name: string, size: CLIPImageProcessorConfig['size']): Target {
  if (typeof size === 'number') return { shortest_edge: checkInteger(name, size, 1, MAX_SIDE) };
  if (isObject(size) && 'shortest_edge' in size) {
    return { shortest_edge: checkInteger(`${name}.shortest_edge`, size.shortest_edge as number, 1, MAX_SIDE) };
  }
  return checkSides(name, size as { height: number; width: number });
}

function checkSides(name: string, size: CLIPImageProcessorConfig['crop_size']): { height: number; width: number } {
  if (typeof size === 'number') return { height: checkInteger(name, size, 1, MAX_SIDE), width: size };
  if (!isObject(size)) throw new TypeError(`${name}: got ${show(size)}, takes a number, or { height, width }`);
  const [height, width] = (['height', 'width'] as const).map(side => checkInteger(`${name}.${side}`, size[side] as number, 1, MAX_SIDE));
  return { height, width };
}
