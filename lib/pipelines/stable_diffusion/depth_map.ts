import * as tf from '@tensorflow/tfjs';
import { toGrey } from '../../image/pixels.js';
import { resizeBicubic } from '../../layers/resize_bicubic.js';
import { checkImages, inTurn, isTensor, type ImageInput } from '../inputs/image_input.js';

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
    const resized = tf.concat(maps.map(map => resizeBicubic(map.reshape(map.shape.slice(0, 3)), rows, columns))).expandDims(-1);
    const [low, high] = [resized.min([1, 2, 3], true), resized.max([1, 2, 3], true)];
    return inTurn(tf.divNoNan(resized.sub(low), high.sub(low)).mul(2).sub(1), images);
  });
}
