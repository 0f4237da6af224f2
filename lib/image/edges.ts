import { checkNumber, checkOptionNames, show } from '../core/checks.js';
import { blur } from './blur.js';
import { Image } from './image.js';

/** Options of `cannyEdges`. */
export interface CannyOptions {
  /** How steep an edge is at least, 100 by default. From black to white in one pixel is 1020, in each direction. */
  lowThreshold?: number;
  /** How steep it is somewhere along its way, 200 by default. */
  highThreshold?: number;
}

/** Options of `scribble`. */
export interface ScribbleOptions extends CannyOptions {
  /** What is smaller than about so many pixels is left out; a 256th of the shorter side by default. */
  smoothing?: number;
  /** Pixels; a 42nd of the shorter side by default, as wide as the lines that ControlNets for scribbles are trained on. */
  lineWidth?: number;
}

/**
 * The edges of a picture, white on black and one pixel wide: what most ControlNets for edges are trained on. Of the colours that one counts
 * at each pixel which changes most. Equals OpenCV's Canny(image, lowThreshold, highThreshold) (Canny, 1986; gradients by Sobel's filter,
 * their size the sum of both directions).
 * @throws TypeError for what is no Image, RangeError for thresholds below 0 or a low one above the high one.
 */
export function cannyEdges(image: Image, options: CannyOptions = {}): Image {
  checkOptionNames('cannyEdges', options, ['lowThreshold', 'highThreshold']);
  checkImage(image);
  return toImage(canny(image, checkThresholds(options, [100, 200])), image);
}

/**
 * A picture as if somebody had drawn its edges with a thick pen, white on black, for ControlNets for scribbles. No network such as HED
 * draws, which would know what an object is: the picture is blurred, and its `cannyEdges`, by default from 50 to 100, become lines.
 * @throws as cannyEdges; RangeError for a negative `smoothing` or a `lineWidth` below 1.
 */
export function scribble(image: Image, options: ScribbleOptions = {}): Image {
  checkOptionNames('scribble', options, ['lowThreshold', 'highThreshold', 'smoothing', 'lineWidth']);
  checkImage(image);
  const side = Math.min(image.width, image.height);
  const smoothing = checkNumber('smoothing', options.smoothing ?? side / 256, 0, side);
  const lineWidth = checkNumber('lineWidth', options.lineWidth ?? Math.max(1, side / 42), 1, side);
  const edges = canny(blurColours(image, smoothing), checkThresholds(options, [50, 100]));
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

/** RGB bytes, rows from the top. */
type Rgb = Pick<Image, 'data' | 'width' | 'height'>;

/** A byte for each pixel: 255 on edges, else 0. */
function canny(image: Rgb, [low, high]: [low: number, high: number]): Uint8Array {
  const { width, height } = image;
  const { along, down, sizes } = gradients(image);
  const edges = new Uint8Array(width * height);
  const weak = new Uint8Array(sizes.length); // 1 where an edge may be, on the grid of `sizes`
  const found: number[] = []; // pixels of edges whose neighbours are to be looked at, on the same grid
  const row = width + 2;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (y + 1) * row + x + 1;
      if (sizes[at] <= low || !isRidge(sizes, at, row, along[y * width + x], down[y * width + x])) continue;
      weak[at] = 1;
      if (sizes[at] > high) found.push(at);
    }
  }
  const around = [-row - 1, -row, -row + 1, -1, 1, row - 1, row, row + 1];
  for (const at of found) weak[at] = 0;
  for (let at = found.pop(); at !== undefined; at = found.pop()) {
    edges[(Math.floor(at / row) - 1) * width + at % row - 1] = 255;
    for (const step of around) {
      if (weak[at + step] === 0) continue;
      weak[at + step] = 0;
      found.push(at + step);
    }
  }
  return edges;
}

const TANGENT = Math.round(Math.tan(Math.PI / 8) * 2 ** 15) / 2 ** 15; // of half of 45 degrees, as exact as OpenCV has it

/** Whether no neighbour across the edge is steeper. Of two that are alike the first counts, diagonally none. */
function isRidge(sizes: Uint16Array, at: number, row: number, along: number, down: number): boolean {
  const size = sizes[at];
  const [x, y] = [Math.abs(along), Math.abs(down)];
  if (y < x * TANGENT) return size > sizes[at - 1] && size >= sizes[at + 1];
  if (y > x * (TANGENT + 2)) return size > sizes[at - row] && size >= sizes[at + row];
  const side = (along ^ down) < 0 ? -1 : 1;
  return size > sizes[at - row - side] && size > sizes[at + row + side];
}

interface Gradients {
  /** How much brighter it becomes to the right and downwards, of each pixel's colour of the steepest change. */
  readonly along: Int16Array;
  readonly down: Int16Array;
  /** Both together, with a frame of zeros of one pixel. */
  readonly sizes: Uint16Array;
}

/** By Sobel's filter; pixels at the rim go on beyond it. */
function gradients({ data, width, height }: Rgb): Gradients {
  const along = new Int16Array(width * height);
  const down = new Int16Array(width * height);
  const sizes = new Uint16Array((width + 2) * (height + 2));
  for (let y = 0; y < height; y++) {
    const [above, here, below] = [y - 1, y, y + 1].map(line => 3 * width * Math.min(Math.max(line, 0), height - 1));
    for (let x = 0; x < width; x++) {
      const left = 3 * Math.max(x - 1, 0);
      const right = 3 * Math.min(x + 1, width - 1);
      let [size, best, bestDown] = [-1, 0, 0];
      for (let colour = 0; colour < 3; colour++) {
        const [l, m, r] = [left + colour, 3 * x + colour, right + colour];
        const dx = data[above + r] - data[above + l] + 2 * (data[here + r] - data[here + l]) + data[below + r] - data[below + l];
        const dy = data[below + l] - data[above + l] + 2 * (data[below + m] - data[above + m]) + data[below + r] - data[above + r];
        const sum = Math.abs(dx) + Math.abs(dy);
        if (sum > size) [size, best, bestDown] = [sum, dx, dy];
      }
      along[y * width + x] = best;
      down[y * width + x] = bestDown;
      sizes[(y + 1) * (width + 2) + x + 1] = size;
    }
  }
  return { along, down, sizes };
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
