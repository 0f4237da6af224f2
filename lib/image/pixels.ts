/** RGB bytes and their size, and what of their file counts when they are scaled. */
export interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** How opaque each pixel is, a byte a pixel, where the file says. */
  readonly alpha?: Uint8Array;
  /** Whether the file has a palette, or black and white alone. */
  readonly indexed?: boolean;
}

/** Four bytes a pixel, red, green, blue and opacity, to three and one. */
export function splitAlpha(rgba: ArrayLike<number>): { data: Uint8Array; alpha: Uint8Array } {
  const data = new Uint8Array(rgba.length / 4 * 3);
  const alpha = new Uint8Array(rgba.length / 4);
  for (let i = 0; i < alpha.length; i++) {
    for (let c = 0; c < 3; c++) data[3 * i + c] = rgba[4 * i + c];
    alpha[i] = rgba[4 * i + 3];
  }
  return { data, alpha };
}
