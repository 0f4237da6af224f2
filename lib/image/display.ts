import type { Pixels } from './pixels.js';

/** What tslab's kernel gives to the code of the cells that it runs. */
interface Kernel {
  require(name: 'tslab'): { display: { png(bytes: Uint8Array): void } };
}

/**
 * Shows a PNG file below the cell that runs, in a tslab notebook. tslab is no dependency: where it runs, it is found.
 * @throws Error anywhere else.
 */
export function displayPng(png: Uint8Array): void {
  const { __tslab__: kernel } = globalThis as { __tslab__?: Kernel };
  if (!kernel) throw new Error('display: there is no tslab notebook to show pictures in; elsewhere take save, toPng or toDataURL');
  kernel.require('tslab').display.png(png);
}

/** Each pixel as a square of `scale * scale` pixels, in rows from the top: RGB bytes. */
export function enlargePixels({ data, width, height }: Pixels, scale: number): Uint8Array {
  const large = new Uint8Array(data.length * scale * scale);
  const stride = width * scale * 3;
  for (let y = 0; y < height; y++) {
    const top = y * scale * stride;
    for (let x = 0; x < width * scale; x++) {
      const from = (y * width + Math.floor(x / scale)) * 3;
      large.set(data.subarray(from, from + 3), top + x * 3);
    }
    for (let copy = 1; copy < scale; copy++) large.copyWithin(top + copy * stride, top, top + stride);
  }
  return large;
}
