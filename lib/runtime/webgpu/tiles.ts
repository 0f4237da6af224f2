/** What a workgroup makes of a product: `rows` x `columns` of the result, of which a thread has `tall` rows and `wide` fours of columns. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly tall: number;
  readonly wide: number;
}

/** Sizes that there are, small ones first: each within the 256 threads and 16 KiB of workgroup memory that WebGPU promises. */
export const TILES = {
  '32x32': { rows: 32, columns: 32, tall: 4, wide: 1 },
  '64x64': { rows: 64, columns: 64, tall: 4, wide: 1 },
  '128x64': { rows: 128, columns: 64, tall: 8, wide: 1 },
  '128x128': { rows: 128, columns: 128, tall: 8, wide: 2 },
} as const satisfies Record<string, Tile>;

/** Threads of a workgroup. */
export function threadsOf({ rows, columns, tall, wide }: Tile): number {
  return rows / tall * (columns / (4 * wide));
}

/** How many workgroups make a result. */
export function tilesOf(rows: number, columns: number, tile: Tile): number {
  return Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns);
}

/** Workgroups that keep a GPU busy, of middle-sized and of large tiles: with fewer, smaller ones share the work better. */
const BUSY = { middle: 128, large: 256 };
/** How much of large tiles may be computed for nothing, past the last column. */
const WASTED = 1 / 8;

/** By the result's size: the fastest on an NVIDIA H200, or nearly. On other GPUs `npm run bench -- webgpu-tune` measures all of them. */
export function tileFor(rows: number, columns: number): Tile {
  const [small, middle, large] = [TILES['32x32'], TILES['64x64'], TILES['128x128']];
  const computed = Math.ceil(columns / large.columns) * large.columns;
  if (computed - columns <= WASTED * columns && tilesOf(rows, columns, large) >= BUSY.large) return large;
  return tilesOf(rows, columns, middle) < BUSY.middle ? small : middle;
}
