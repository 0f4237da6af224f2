import { checkNumber, checkOptionNames, show } from '../core/checks.js';
import { blur } from './blur.js';
import { findEdges, type Rgb } from './canny.js';
import { Image } from './image.js';

/** Options of `cannyEdges`. */
export interface CannyOptions {
  /**
   * The least steepness of an edge along all of its way, 100 by default. A change from black to white in one pixel is 1020, in each
   * direction.
   */
  lowThreshold?: number;
  /** The steepness that an edge must reach somewhere along its way, 200 by default. */
  highThreshold?: number;
}

/** Options of `scribble`. */
export interface ScribbleOptions extends CannyOptions {
  /** Details smaller than about this many pixels are left out; a 256th of the shorter side by default. */
  smoothing?: number;
  /**
   * Width of the lines in pixels; a 42nd of the shorter side by default, as wide as the lines that ControlNets for scribbles are trained
   * on.
   */
  lineWidth?: number;
}

/**
 * The edges of a picture, white on black and one pixel wide: what most ControlNets for edges are trained on. At each pixel, the colour
 * counts that changes most. Equals OpenCV's Canny(image, lowThreshold, highThreshold) (Canny, 1986; gradients by Sobel's filter, their size
 * the sum of both directions).
 * @throws TypeError for what is no Image, RangeError for thresholds below 0 or a low one above the high one.
 */
export function cannyEdges(image: Image, options: CannyOptions = {}): Image {
  checkOptionNames('cannyEdges', options, ['lowThreshold', 'highThreshold']);
  checkImage(image);
  return toImage(findEdges(image, checkThresholds(options, [100, 200])), image);
}

/**
 * A picture as if somebody had drawn its edges with a thick pen, white on black, for ControlNets for scribbles. It is not drawn by a
 * network such as HED, which knows what an object is: the picture is blurred, and its `cannyEdges`, by default from 50 to 100, become
 * lines.
 * @throws as cannyEdges; RangeError for a negative `smoothing` or a `lineWidth` below 1.
 */
export function scribble(image: Image, options: ScribbleOptions = {}): Image {
  checkOptionNames('scribble', options, ['lowThreshold', 'highThreshold', 'smoothing', 'lineWidth']);
  checkImage(image);
  const side = Math.min(image.width, image.height);
  const smoothing = checkNumber('smoothing', options.smoothing ?? side / 256, 0, side);
  const lineWidth = checkNumber('lineWidth', options.lineWidth ?? Math.max(1, side / 42), 1, side);
  const edges = findEdges(blurColours(image, smoothing), checkThresholds(options, [50, 100]));
  return toImage(widen(edges, image, lineWidth), image);
}

function checkImage(image: Image): void {
  if (!(image instanceof Image)) throw new TypeError(`image: got ${show(image)}, takes an Image`);
}

function checkThresholds({ lowThreshold, highThreshold }: CannyOptions, [low, high]: [number, number]): [low: number, high: number] {
  const top = checkNumber('highThreshold', highThreshold ?? high, 0);
  const bottom = checkNumber('lowThreshold', lowThreshold ?? Math.min(low, top), 0);
  if (bottom > top) throw new RangeError(`lowThreshold: got ${bottom}, takes at most highThreshold, ${top}`);
  return [bottom, top];
}

/** White on black, of a byte a pixel that is 255 or 0. */
function toImage(edges: Uint8Array, { width, height }: Image): Image {
  const data = new Uint8Array(edges.length * 3);
  edges.forEach((value, i) => data.fill(value, 3 * i, 3 * i + 3));
  return new Image(data, width, height);
}

function blurColours({ data, width, height }: Rgb, deviation: number): Rgb {
  const out = new Uint8Array(data.length);
  for (let colour = 0; colour < 3; colour++) {
    const values = Float32Array.from({ length: width * height }, (_, i) => data[3 * i + colour]);
    blur({ values, width, height }, [deviation, deviation]).forEach((value, i) => { out[3 * i + colour] = Math.round(value); });
  }
  return { data: out, width, height };
}

/** Lines of a width, from those of one pixel: where these, blurred, are no darker than a straight one is at its rim. */
function widen(edges: Uint8Array, { width, height }: Image, lineWidth: number): Uint8Array {
  const deviation = lineWidth / 4;
  const rim = 255 * Math.exp(-2) / (Math.sqrt(2 * Math.PI) * deviation); // two deviations from the middle
  return Uint8Array.from(blur({ values: Float32Array.from(edges), width, height }, [deviation, deviation]), value => value > rim ? 255 : 0);
}
