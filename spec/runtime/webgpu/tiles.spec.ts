import assert from 'node:assert/strict';
import { TILES, tileFor, tilesOf } from '../../../lib/runtime/webgpu/tiles.js';

/** Milliseconds by tile, of `npm run bench -- webgpu-tune` on an NVIDIA H200: rows and columns of the result, depth. */
const MEASURED: Array<[shape: [number, number, number], milliseconds: Record<keyof typeof TILES, number>]> = [
  [[8192, 320, 2880], { '32x32': 1.405, '64x64': 1.133, '128x64': 1.403, '128x128': 1.323 }],
  [[8192, 320, 5760], { '32x32': 2.654, '64x64': 2.162, '128x64': 2.651, '128x128': 2.505 }],
  [[2048, 640, 5760], { '32x32': 1.454, '64x64': 1.388, '128x64': 1.864, '128x128': 1.520 }],
  [[2048, 640, 11520], { '32x32': 2.758, '64x64': 2.655, '128x64': 3.619, '128x128': 3.026 }],
  [[512, 1280, 11520], { '32x32': 1.780, '64x64': 1.867, '128x64': 2.396, '128x128': 3.059 }],
  [[512, 1280, 23040], { '32x32': 3.574, '64x64': 3.733, '128x64': 4.651, '128x128': 5.974 }],
  [[128, 1280, 11520], { '32x32': 1.240, '64x64': 1.542, '128x64': 2.436, '128x128': 3.062 }],
  [[8192, 320, 320], { '32x32': 0.209, '64x64': 0.172, '128x64': 0.256, '128x128': 0.222 }],
  [[8192, 2560, 320], { '32x32': 0.840, '64x64': 0.760, '128x64': 0.821, '128x128': 0.679 }],
  [[8192, 320, 1280], { '32x32': 0.665, '64x64': 0.611, '128x64': 0.775, '128x128': 0.757 }],
  [[2048, 640, 640], { '32x32': 0.253, '64x64': 0.261, '128x64': 0.334, '128x128': 0.287 }],
  [[2048, 5120, 640], { '32x32': 1.227, '64x64': 1.152, '128x64': 1.240, '128x128': 0.751 }],
  [[512, 1280, 1280], { '32x32': 0.242, '64x64': 0.273, '128x64': 0.328, '128x128': 0.390 }],
  [[512, 10240, 1280], { '32x32': 0.979, '64x64': 0.891, '128x64': 0.874, '128x128': 0.827 }],
  [[160, 320, 768], { '32x32': 0.137, '64x64': 0.159, '128x64': 0.223, '128x128': 0.257 }],
];

describe('tiles of WebGPU', () => {
  it('are the fastest that were measured, or within an eighth of those', () => {
    for (const [[rows, columns], milliseconds] of MEASURED) {
      const chosen = Object.entries(TILES).find(([, tile]) => tile === tileFor(rows, columns))![0] as keyof typeof TILES;
      const fastest = Math.min(...Object.values(milliseconds));
      assert.ok(milliseconds[chosen] <= 1.13 * fastest, `${rows} x ${columns}: ${chosen} takes ${milliseconds[chosen]}, ${fastest} is the fastest`);
    }
  });

  it('are small for results of few, however they lie', () => {
    for (const [rows, columns] of [[1, 4], [1, 4096], [4096, 4], [63, 65]]) assert.equal(tileFor(rows, columns), TILES['32x32']);
    assert.equal(tilesOf(63, 65, TILES['32x32']), 6);
  });
});
