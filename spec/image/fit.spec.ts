import assert from 'node:assert/strict';
import { cropToFill } from '../../lib/image/fit.js';
import { Image } from '../../lib/image/image.js';
import { blank, paste } from '../../lib/image/paste.js';

/** Pixels that differ, and their opacity or that they are of a palette. */
function picture(width: number, height: number, also: { alpha?: true; indexed?: true } = {}): Image {
  const byte = (i: number) => (i * 7919 + (i >> 3) * 104729) % 256;
  const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => byte(i));
  const alpha = also.alpha && Uint8Array.from({ length: width * height }, (_, i) => byte(5 * i + 1));
  return Image.of({ data, width, height, alpha, indexed: also.indexed });
}

describe('A picture that covers another size', () => {
  it('is the middle of the whole one that is scaled', () => {
    for (const [width, height] of [[40, 9], [9, 40], [31, 33], [64, 64], [7, 300]]) {
      for (const [w, h] of [[16, 16], [17, 5], [40, 64], [64, 64], [63, 8]]) {
        for (const also of [{}, { alpha: true }, { indexed: true }] as const) {
          const image = picture(width, height, also);
          const fit = w / h > width / height ? [w, Math.floor(height * w / width)] : [Math.floor(width * h / height), h];
          const whole = image.resize(fit[0], fit[1]);
          const expected = paste(whole, blank(w, h), Math.floor(w / 2) - Math.floor(fit[0] / 2), Math.floor(h / 2) - Math.floor(fit[1] / 2));
          assert.deepEqual(cropToFill(image, w, h).data, expected.data, `${width} x ${height} to ${w} x ${h}, ${JSON.stringify(also)}`);
        }
      }
    }
  });

  it('takes no memory of what is cut off', () => {
    for (const also of [{}, { alpha: true }, { indexed: true }] as const) { // whole it would have 512 x 10,240,000 pixels
      const { width, height } = cropToFill(picture(1, 20_000, also), 512, 512);
      assert.deepEqual([width, height], [512, 512]);
    }
  });
});
