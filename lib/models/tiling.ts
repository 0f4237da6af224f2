import * as tf from '@tensorflow/tfjs';

const OVERLAP = 0.25; // of a tile, with each neighbour

/** Pixels or latents along each side of a whole tile, before the network and after it. */
export interface TileSizes {
  readonly tileSize: number;
  readonly outputTileSize: number;
}

/**
 * Runs `network` on square tiles of `x` that overlap by a quarter, and joins its results, one fading into the next.
 * Holds two rows of result tiles at most, whatever the size.
 * Equals tiled_encode and tiled_decode of diffusers' AutoencoderKL.
 * @param x `[batch, height, width, channels]`
 * @param network takes a tile of at most `tileSize` a side, gives one that is `outputTileSize / tileSize` times as large.
 */
export function runTiled(x: tf.Tensor, { tileSize, outputTileSize }: TileSizes, network: (tile: tf.Tensor) => tf.Tensor): tf.Tensor {
  const [, height, width] = x.shape;
  const stride = Math.floor(tileSize * (1 - OVERLAP));
  const overlap = Math.floor(outputTileSize * OVERLAP);
  return tf.tidy(() => {
    const bands: tf.Tensor[] = [];
    let above: tf.Tensor[] = [];
    for (let top = 0; top < height; top += stride) {
      const row: tf.Tensor[] = [];
      for (let left = 0; left < width; left += stride) {
        row.push(tf.tidy(() => {
          let tile = network(crop(x, [top, left], tileSize));
          if (above.length) tile = fadeIn(above[row.length], tile, overlap, 1);
          return row.length ? fadeIn(row[row.length - 1], tile, overlap, 2) : tile;
        }));
      }
      tf.dispose(above);
      bands.push(tf.tidy(() => tf.concat(row.map(tile => crop(tile, [0, 0], outputTileSize - overlap)), 2)));
      above = row;
    }
    return tf.concat(bands, 1);
  });
}

/** Up to `size` by `size` pixels of an image, from `[top, left]` on. */
function crop(x: tf.Tensor, [top, left]: [number, number], size: number): tf.Tensor {
  const [batch, height, width, channels] = x.shape;
  return tf.slice(x, [0, top, left, 0], [batch, Math.min(size, height - top), Math.min(size, width! - left), channels!]);
}

/** `tile`, beginning as the end of its neighbour `before` and becoming itself over `extent` pixels along `axis`. */
function fadeIn(before: tf.Tensor, tile: tf.Tensor, extent: number, axis: 1 | 2): tf.Tensor {
  const length = tile.shape[axis]!;
  extent = Math.min(extent, before.shape[axis]!, length);
  const [, end] = tf.split(before, [before.shape[axis]! - extent, extent], axis);
  const [start, rest] = tf.split(tile, [extent, length - extent], axis);
  const share = tf.range(0, extent).div(extent).reshape(axis === 1 ? [1, extent, 1, 1] : [1, 1, extent, 1]);
  return tf.concat([end.add(start.sub(end).mul(share)), rest], axis);
}
