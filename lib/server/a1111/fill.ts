import { blur } from '../../image/blur.js';
import { Image } from '../../image/image.js';
import { toGrey } from '../../image/pixels.js';

/** How far what is around a mask runs into it, in pixels, the farthest first, and how often each is laid over those before. */
const LAYERS: ReadonlyArray<readonly [radius: number, times: number]> = [[256, 1], [64, 1], [16, 2], [4, 4], [2, 2], [0, 1]];

/** Of a picture of more pixels the colours are found in a smaller one: they are blurred anyway, and a stranger's picture may be large. */
const MAX_PIXELS = 512 * 512;

/** A picture whose masked part has the colours of what is around it: what the web UI means by the masked content `fill`. */
export function fillFromAround({ data, width, height }: Image, mask: Image): Image {
  const shares = toGrey(mask.data);
  const seen = Image.of({ data, width, height, alpha: shares.map(share => 255 - share) });
  const scale = Math.sqrt(MAX_PIXELS / (width * height));
  if (scale >= 1) return fill(seen);
  const [columns, rows] = [width, height].map(side => Math.max(1, Math.floor(side * scale)));
  const colours = fill(seen.resize(columns, rows)).resize(width, height);
  const out = data.slice();
  shares.forEach((share, pixel) => { // what stays is the picture itself
    for (let i = 3 * pixel; share > 0 && i < 3 * pixel + 3; i++) out[i] += Math.round((colours.data[i] - out[i]) * share / 255);
  });
  return new Image(out, width, height);
}

/** What is transparent of a picture gets colours. */
function fill({ data, alpha, width, height }: Image): Image {
  const opacity = Float32Array.from(alpha!, value => value / 255);
  const blurred = (values: Float32Array) => LAYERS.map(([radius]) => blur({ values, width, height }, [radius, radius]));
  const covers = blurred(opacity);
  const covered = overlay(covers, covers);
  const out = new Uint8Array(data.length);
  for (let channel = 0; channel < 3; channel++) {
    const filled = overlay(blurred(opacity.map((share, i) => data[3 * i + channel] * share)), covers);
    filled.forEach((value, i) => { out[3 * i + channel] = Math.round(Math.min(255, value / Math.max(covered[i], 1e-6))); });
  }
  return new Image(out, width, height);
}

/** Layers over one another, as often as each is to be: what shines through is what a layer does not cover. */
function overlay(layers: readonly Float32Array[], covers: readonly Float32Array[]): Float32Array {
  const sum = new Float32Array(layers[0].length);
  LAYERS.forEach(([, times], n) => {
    for (let time = 0; time < times; time++) {
      for (let i = 0; i < sum.length; i++) sum[i] = layers[n][i] + sum[i] * (1 - covers[n][i]);
    }
  });
  return sum;
}
