import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { Conv2d } from './conv2d.js';

export interface PatchEmbedConfig {
  /** Height and width of a patch. */
  patchSize: number;
  inChannels: number;
  dim: number;
  /** How many patches there are embeddings for in height and in width, if there are any. */
  maxSize?: number;
}

/**
 * Patches of an image as tokens, each with an embedding of its place, taken from the centre of a square table of embeddings.
 * - In: `[batch, height, width, inChannels]`, multiples of patchSize; out: `[batch, patches, dim]`, row by row.
 * - Weights below `proj`, and with maxSize `pos_embed`: `[1, maxSize * maxSize, dim]`.
 * Equals diffusers' PatchEmbed with pos_embed_max_size, or without embeddings.
 */
export class PatchEmbed extends Block {
  static className = 'PatchEmbed';
  private readonly proj: Conv2d;

  constructor(private readonly dims: PatchEmbedConfig) {
    super();
    const { patchSize, inChannels, dim, maxSize } = dims;
    this.proj = this.add('proj', new Conv2d(inChannels, dim, { kernelSize: patchSize, stride: patchSize, padding: [0, 0, 0, 0] }));
    if (maxSize !== undefined) this.addParameter('pos_embed', [1, maxSize * maxSize, dim]);
  }

  /** Height and width in patches. @throws RangeError for an image that does not divide into them, or into more than there can be. */
  checkSize(name: string, [, height, width]: readonly number[]): [number, number] {
    const { patchSize, maxSize = Infinity } = this.dims;
    if (height % patchSize !== 0 || width % patchSize !== 0) {
      throw new RangeError(`${name}: got ${height} x ${width}, takes multiples of the patch size ${patchSize}`);
    }
    if (Math.max(height, width) > maxSize * patchSize) {
      throw new RangeError(`${name}: got ${height} x ${width}, takes up to ${maxSize * patchSize} each, ` +
        `${maxSize} patches (pos_embed_max_size) of ${patchSize}`);
    }
    return [height / patchSize, width / patchSize];
  }

  compute(x: tf.Tensor): tf.Tensor {
    const { dim, maxSize } = this.dims;
    const patches = this.proj.forward(x);
    const [batch, height, width] = patches.shape;
    const placed = maxSize === undefined ? patches : tf.add(patches, this.centre(maxSize, height, width!));
    return tf.reshape(placed, [batch, height * width!, dim]);
  }

  /** The embeddings of so many rows and columns in the middle: `[1, height, width, dim]`. */
  private centre(maxSize: number, height: number, width: number): tf.Tensor {
    const { dim } = this.dims;
    const all = tf.reshape(this.parameter('pos_embed'), [maxSize, maxSize, dim]);
    const [top, left] = [(maxSize - height) >> 1, (maxSize - width) >> 1];
    return tf.expandDims(tf.slice(all, [top, left, 0], [height, width, dim]), 0);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    const [batch, height, width, dim] = this.proj.computeOutputShape(inputShape) as tf.Shape;
    return [batch, height && width && height * width, dim];
  }
}

/** Tokens as the patches of an image: `[batch, rows * columns, patchSize * patchSize * channels]` to `[batch, height, width, channels]`. */
export function unpatchify(x: tf.Tensor, [rows, columns]: readonly [number, number], patchSize: number): tf.Tensor {
  const [batch, , features] = x.shape;
  const across = features! / patchSize; // of a patch's line, channels within
  const lines = tf.transpose(tf.reshape(x, [batch * rows, columns, patchSize, across]), [0, 2, 1, 3]);
  return tf.reshape(lines, [batch, rows * patchSize, columns * patchSize, across / patchSize]);
}
