import { blur } from '../../image/blur.js';
import { Image } from '../../image/image.js';
import { toGrey } from '../../image/pixels.js';

/** How far what is around a mask runs into it, in pixels, the farthest first, and how often each is laid over those before. */
const LAYERS: ReadonlyArray<readonly [radius: number, times: number]> = [[256, 1], [64, 1], [16, 2], [4, 4], [2, 2], [0, 1]];

/** A picture whose masked part has the colours of what is around it: what the web UI means by the masked content `fill`. */
export function fillFromAround({ data, width, height }: Image, mask: Image): Image {
  const opacity = Float32Array.from(toGrey(mask.data), value => 1 - value / 255);
  const out = new Uint8Array(data.length);
  for (let channel = 0; channel < 3; channel++) {
    const colour = opacity.map((share, i) => data[3 * i + channel] * share);
    const [filled, covered] = [new Float32Array(colour.length), new Float32Array(colour.length)];
    for (const [radius, times] of LAYERS) {
      const [over, cover] = [colour, opacity].map(values => blur({ values, width, height }, [radius, radius]));
      for (let time = 0; time < times; time++) {
        for (let i = 0; i < filled.length; i++) {
          filled[i] = over[i] + filled[i] * (1 - cover[i]);
          covered[i] = cover[i] + covered[i] * (1 - cover[i]);
        }
      }
    }
    filled.forEach((value, i) => { out[3 * i + channel] = Math.round(Math.min(255, value / Math.max(covered[i], 1e-6))); });
  }
  return new Image(out, width, height);
}
