import * as tf from '@tensorflow/tfjs';
import { toGrey } from '../image/pixels.js';
import { checkImages, inTurn, isTensor, type ImageInput } from './image_input.js';

/** How strongly a cubic curve bends, as torch has it. */
const BEND = -0.75;

/** How many maps there are. @throws TypeError for none, with what to do, RangeError for what is no map. */
export function checkDepthMap(depthMap: ImageInput | undefined): number {
  if (depthMap === undefined) {
    throw new TypeError('depthMap: got undefined, takes a picture or a tensor [maps, height, width, 1] of how near things are: ' +
      'no depth estimator comes with this library, another program such as MiDaS or Depth Anything makes one of the image');
  }
  return checkImages('depthMap', depthMap, [1]).count;
}

/**
 * What the UNet sees of depths, `[images, rows, columns, 1]`: each map scaled to the latents' size, and so that its farthest is -1 and its
 * nearest 1; one without any depth is -1 all over. Equals prepare_depth_map of diffusers' pipeline.
 */
export function prepareDepthMap(depthMap: ImageInput, [images, rows, columns]: readonly number[]): tf.Tensor {
  return tf.tidy(() => {
    const maps = isTensor(depthMap) ? [depthMap] : [depthMap].flat().map(({ data, height, width }) =>
      tf.tensor4d(Float32Array.from(toGrey(data)), [1, height, width, 1]));
    const resized = tf.concat(maps.map(map => resizeBicubic(map, rows, columns)));
    const [low, high] = [resized.min([1, 2, 3], true), resized.max([1, 2, 3], true)];
    return inTurn(tf.divNoNan(resized.sub(low), high.sub(low)).mul(2).sub(1), images);
  });
}

/** `[maps, height, width, 1]` in another size. Equals torch's interpolate with mode bicubic, which does not smooth what shrinks. */
function resizeBicubic(maps: tf.Tensor, height: number, width: number): tf.Tensor {
  const [count, oldHeight, oldWidth] = maps.shape;
  const scaleRows = (x: tf.Tensor, size: number, newSize: number) => // [count, size, any] -> [count, any, newSize]
    tf.matMul(x, cubicShares(size, newSize), true).reshape([count, -1, newSize]);
  const planes = maps.reshape([count, oldHeight, oldWidth!]);
  return scaleRows(scaleRows(planes, oldHeight, height), oldWidth!, width).reshape([count, height, width, 1]);
}

/** Of each of `size` values, its share of each of `newSize`: `[1, size, newSize]`. Beyond the edges values are the last. */
function cubicShares(size: number, newSize: number): tf.Tensor {
  const shares = new Float32Array(size * newSize);
  for (let at = 0; at < newSize; at++) {
    const place = (at + 0.5) * size / newSize - 0.5;
    const before = Math.floor(place);
    for (let from = before - 1; from <= before + 2; from++) {
      const within = Math.min(size - 1, Math.max(0, from));
      shares[within * newSize + at] += cubic(Math.abs(place - from));
    }
  }
  return tf.tensor3d(shares, [1, size, newSize]);
}

function cubic(x: number): number {
  return x <= 1 ? ((BEND + 2) * x - (BEND + 3)) * x * x + 1 : (((x - 5) * x + 8) * x - 4) * BEND;
}
