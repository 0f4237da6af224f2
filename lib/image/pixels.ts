/** RGB bytes and their size, and properties of their file that matter when they are scaled. */
export interface Pixels {
  /** Red, green and blue of each pixel, row by row: `height * width * 3` bytes. */
  readonly data: Uint8Array;
  /** Pixels in a row. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** How opaque each pixel is, one byte for each, if the file says it. */
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

/** A part of a picture, in pixels from its upper left corner. */
export interface Box {
  /** The first column. */
  readonly left: number;
  /** The first row. */
  readonly top: number;
  /** How many columns. */
  readonly width: number;
  /** How many rows. */
  readonly height: number;
}

/** The pixels of a box that lies within the picture. */
export function cropPixels({ data, alpha, width, indexed }: Pixels, { left, top, ...size }: Box): Pixels {
  const cut = (bytes: Uint8Array, samples: number) => {
    const out = new Uint8Array(size.width * size.height * samples);
    for (let y = 0; y < size.height; y++) {
      const from = ((top + y) * width + left) * samples;
      out.set(bytes.subarray(from, from + size.width * samples), y * size.width * samples);
    }
    return out;
  };
  return { data: cut(data, 3), alpha: alpha && cut(alpha, 1), ...size, indexed };
}

/** How bright each pixel is, a byte a pixel. Equals Pillow's convert('L'). */
export function toGrey(data: Uint8Array): Uint8Array {
  return Uint8Array.from({ length: data.length / 3 }, (_, i) => (
    (19595 * data[3 * i] + 38470 * data[3 * i + 1] + 7471 * data[3 * i + 2] + 32768) >> 16
  ));
}
