import * as tf from '@tensorflow/tfjs';
import { checkInteger, checkShape, printable, show } from '../core/checks.js';
import { decodePhoto } from './decode_photo.js';
import { displayPng, enlargePixels } from './display.js';
import { ImageError, MAX_PIXELS } from './image_error.js';
import { imageFormat } from './image_format.js';
import { orient } from './orientation.js';
import { cropPixels, type Box, type Pixels } from './pixels.js';
import { decodePixels, encodePixels } from './png.js';
import { readChunks } from './png_chunks.js';
import { addTexts, readOrientation } from './png_text.js';
import { resizePixels, type ResizeFilter } from './resize.js';

/** Options for reading pictures that may come from strangers. */
export interface ReadOptions {
  /** The largest width times height that is unpacked; 100 million by default. */
  readonly maxPixels?: number;
}

/** A picture: 8-bit RGB, rows from the top, three bytes a pixel. */
export class Image {
  #alpha?: Uint8Array;
  #indexed = false;

  /**
   * @param data `width * height * 3` bytes: red, green, blue of each pixel.
   * @param text what a PNG file holds beside the pixels, by keyword; `parameters` says how a picture was generated.
   * @throws RangeError if the sizes and the number of bytes disagree.
   */
  constructor(
    readonly data: Uint8Array, readonly width: number, readonly height: number, readonly text: Readonly<Record<string, string>> = {},
  ) {
    checkInteger('width', width, 1);
    checkInteger('height', height, 1);
    if (data.length !== width * height * 3) {
      throw new RangeError(`Image: got ${data.length} bytes, takes ${width * height * 3} for ${width} x ${height} pixels of RGB`);
    }
  }

  /** Makes a picture of what `pixels` gives. */
  static of({ data, width, height, alpha, indexed = false }: Pixels, text?: Readonly<Record<string, string>>): Image {
    const image = new Image(data, width, height, text);
    image.#alpha = alpha;
    image.#indexed = indexed;
    return image;
  }

  /** The whole picture except its texts, in a form that structuredClone and messages between threads take. */
  get pixels(): Pixels {
    const { data, width, height } = this;
    return { data, width, height, alpha: this.#alpha, indexed: this.#indexed };
  }

  /**
   * How opaque each pixel is, one byte for each, if the file that it was read from says it. `resize` uses it; files that are written do not
   * have it.
   */
  get alpha(): Uint8Array | undefined {
    return this.#alpha;
  }

  /**
   * Reads pictures from the device: byte = round(255 * clamp(value)), halves to even.
   * - `images`: `[batch, height, width, 3]`, float, within [0, 1]; what lies beyond is cut, and NaN is black. Stays the caller's.
   * - `onNaN`: told how many values are NaN, if some are.
   * Equals diffusers' VaeImageProcessor.numpy_to_pil.
   */
  static async fromTensor(images: tf.Tensor, onNaN?: (count: number) => void): Promise<Image[]> {
    checkShape('images', images.shape, [null, null, null, 3]);
    const [, height, width] = images.shape;
    const values = tf.tidy(() => tf.where(tf.isNaN(images), -1, images.clipByValue(0, 1).mul(255).round()));
    const read = await values.data().finally(() => values.dispose());
    const bytes = new Uint8Array(read);
    let count = 0;
    for (let i = 0; i < bytes.length; i++) {
      if (read[i] >= 0) continue;
      bytes[i] = 0;
      count++;
    }
    if (count > 0) onNaN?.(count);
    const size = height * width * 3;
    return Array.from({ length: images.shape[0] }, (_, i) => new Image(bytes.slice(i * size, (i + 1) * size), width, height));
  }

  /** Pictures of one size as a tensor `[images, height, width, 3]` within [0, 1]. @throws RangeError for pictures of several sizes. */
  static toTensor(images: readonly Image[]): tf.Tensor4D {
    const { width, height } = images[0];
    const values = new Float32Array(images.length * width * height * 3);
    images.forEach((image, i) => {
      if (image.width !== width || image.height !== height) {
        throw new RangeError(`images: got ${width} x ${height} and ${image.width} x ${image.height} pixels, takes pictures of one size`);
      }
      values.set(image.data, i * width * height * 3);
    });
    return tf.tidy(() => tf.tensor4d(values, [images.length, height, width, 3]).div(255));
  }

  /**
   * Reads a PNG file's bytes, of any kind, and turns it upright; what is transparent has its colours, and `alpha`. Its texts come in
   * `text`, other than compressed ones.
   * @throws PngError for bytes that are no PNG file, a spoilt one, or one of over `maxPixels` pixels, 100 million by default.
   */
  static async fromPng(bytes: Uint8Array, { maxPixels }: ReadOptions = {}): Promise<Image> {
    const chunks = readChunks(bytes);
    const { orientation, text } = await readOrientation(chunks);
    return Image.of(orient(await decodePixels(chunks, maxPixels), orientation), text);
  }

  /**
   * Reads a picture file's bytes, and turns it upright: PNG; JPEG, WebP, the first picture of GIF and TIFF, in Node by the optional package
   * sharp, in a page by the browser; BMP. Equals load_image of diffusers.
   * @throws ImageError for bytes of something else, a spoilt file, or one of over `maxPixels` pixels, 100 million by default.
   */
  static async fromBytes(bytes: Uint8Array, { maxPixels = MAX_PIXELS }: ReadOptions = {}): Promise<Image> {
    const format = imageFormat(bytes);
    if (format === 'PNG') return Image.fromPng(bytes, { maxPixels });
    try {
      return Image.of(await decodePhoto(bytes, format, maxPixels));
    } catch (error) {
      throw new ImageError(`${format}: ${(error as Error).message}`, { cause: error });
    }
  }

  /**
   * Reads a picture: a file by its path (Node), or the bytes of one, as fromBytes.
   * @throws Error for a file that cannot be read, ImageError that names it as fromBytes, TypeError for what is neither.
   */
  static async open(path: string | URL | Uint8Array | Blob): Promise<Image> {
    if (path instanceof Blob) return Image.fromBytes(new Uint8Array(await path.arrayBuffer()));
    if (path instanceof Uint8Array) return Image.fromBytes(path);
    if (!(path instanceof URL) && typeof path !== 'string') {
      throw new TypeError(`image: got ${show(path)}, takes a path, or the bytes of a file`);
    }
    const { readImageFile } = await import('./read_file.js');
    const bytes = await readImageFile(path);
    try {
      return await Image.fromBytes(bytes);
    } catch (error) {
      throw new ImageError(`${printable(String(path))}: ${(error as Error).message}`, { cause: error });
    }
  }

  /**
   * The picture in another size. Equals Pillow's Image.resize with LANCZOS (or BICUBIC), also where the file that it was read from was
   * transparent (colours weigh as much as they are seen) or had a palette or black and white alone (the nearest pixels are taken).
   */
  resize(width: number, height: number, filter: ResizeFilter = 'lanczos'): Image {
    checkInteger('width', width, 1);
    checkInteger('height', height, 1);
    return Image.of(resizePixels(this.pixels, width, height, filter));
  }

  /** A part of the picture. Equals Pillow's Image.crop. @throws RangeError for a box that is not within it. */
  crop({ left, top, width, height }: Box): Image {
    checkInteger('width', width, 1, this.width);
    checkInteger('height', height, 1, this.height);
    checkInteger('left', left, 0, this.width - width);
    checkInteger('top', top, 0, this.height - height);
    return Image.of(cropPixels(this.pixels, { left, top, width, height }), this.text);
  }

  /** The same colours, all opaque and no palette's. Equals Pillow's convert('RGB'). */
  toRgb(): Image {
    return new Image(this.data, this.width, this.height, this.text);
  }

  /**
   * The picture as the bytes of a PNG file.
   * @param text what to write beside the pixels, by keyword: `parameters` is where many tools look for how a picture was generated.
   * @throws RangeError for a keyword that is not 1 to 79 letters of ASCII.
   */
  async toPng(text: Readonly<Record<string, string>> = this.text): Promise<Uint8Array> {
    return addTexts(await encodePixels(this), text);
  }

  /** The picture as a `data:image/png;base64,...` URL, for an `<img>` or a notebook. */
  async toDataURL(): Promise<string> {
    const png = await this.toPng();
    let binary = '';
    for (let i = 0; i < png.length; i += 8192) binary += String.fromCharCode(...png.subarray(i, i + 8192)); // arguments are limited
    return `data:image/png;base64,${btoa(binary)}`;
  }

  /**
   * Shows the picture below the cell that runs, in a notebook of tslab, Jupyter's TypeScript kernel.
   * @param options `scale`: how many pixels wide and high each pixel is shown, for small pictures.
   * @throws Error where there is no such notebook; RangeError unless `scale` is a whole number from 1 to 64.
   */
  async display({ scale = 1 }: { scale?: number } = {}): Promise<void> {
    checkInteger('scale', scale, 1, 64);
    const { width, height } = this;
    displayPng(await new Image(enlargePixels(this, scale), width * scale, height * scale, this.text).toPng());
  }

  /**
   * Writes a PNG file (Node). The file appears whole or not at all.
   * @throws RangeError if `path` does not end in `.png`; Error if it cannot be written.
   */
  async save(path: string): Promise<void> {
    if (!/\.png$/i.test(path)) throw new RangeError(`image path: got ${show(path)}, takes a name that ends in .png`);
    const { writeFileAtomic } = await import('./write_file.js');
    await writeFileAtomic(path, await this.toPng());
  }
}

/** [-1, 1], as a VAE decodes, to [0, 1]; what lies beyond is cut, and NaN stays. Equals diffusers' VaeImageProcessor.denormalize. */
export function denormalize(images: tf.Tensor): tf.Tensor {
  return tf.tidy(() => tf.where(tf.isNaN(images), images, images.mul(0.5).add(0.5).clipByValue(0, 1))); // some devices clip NaN to 0
}
