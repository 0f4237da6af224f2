import * as tf from '@tensorflow/tfjs';
import { timed } from '../core/profile.js';
import { Model } from './model.js';
import { runTiled, type TileSizes } from './tiling.js';

/** What autoencoders share: they encode and decode in pieces, where that is asked for. */
export abstract class PiecewiseAutoencoder<Config> extends Model<Config> {
  private slicing = false;
  private tiling = false;

  get usesSlicing(): boolean {
    return this.slicing;
  }

  get usesTiling(): boolean {
    return this.tiling;
  }

  /** Encodes and decodes one image of a batch after the other, for less memory. Changes no result. */
  enableSlicing(): void {
    this.slicing = true;
  }

  /** Encodes and decodes a batch at once. */
  disableSlicing(): void {
    this.slicing = false;
  }

  /**
   * Encodes and decodes images that are larger than `sample_size` in tiles of that size, so that memory does not grow with them.
   * Tiles overlap and blend; still, each is normalized by itself, so that the result differs a little.
   * @throws RangeError for a `sample_size` that does not divide into tiles, or an autoencoder that has none.
   */
  enableTiling(): void {
    this.checkTiling();
    this.tiling = true;
  }

  /** Encodes and decodes images of any size whole. */
  disableTiling(): void {
    this.tiling = false;
  }

  protected abstract checkTiling(): void;

  /** `network(x)`, as a graph if compiled; image by image, and tile by tile of `sizes`, as far as that is enabled. */
  protected runInPieces(method: 'encode' | 'decode', x: tf.Tensor, network: (x: tf.Tensor) => tf.Tensor, sizes?: TileSizes): tf.Tensor {
    const [batch, height, width] = x.shape;
    const run = (piece: tf.Tensor) => this.graph(method, network, piece);
    const tiled = sizes && this.tiling && Math.max(height, width!) > sizes.tileSize;
    const runImages = tiled ? (images: tf.Tensor) => runTiled(images, sizes, run) : run;
    return timed(this, () => {
      if (!this.slicing || batch === 1) return runImages(x);
      return tf.tidy(() => tf.concat(tf.split(x, batch).map(image => runImages(image))));
    }, method);
  }
}
