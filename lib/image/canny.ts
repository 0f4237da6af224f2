/** RGB bytes, rows from the top. */
export interface Rgb {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/**
 * A byte for each pixel: 255 on edges, else 0. Of `cannyEdges`, which says more, the part that knows no tensor, for pages that load none.
 */
export function findEdges(image: Rgb, [low, high]: readonly [low: number, high: number]): Uint8Array {
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
