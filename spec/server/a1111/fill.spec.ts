import assert from 'node:assert/strict';
import { Image } from '../../../lib/image/image.js';
import { fillFromAround } from '../../../lib/server/a1111/fill.js';

describe('The masked content `fill`', () => {
  for (const [width, height] of [[96, 64], [1201, 801]]) {
    it(`has the colours of what is around it, and the rest stays as it is: ${width} x ${height}`, () => {
      const picture = (colour: (x: number, y: number) => number[]) =>
        new Image(Uint8Array.from(Array.from({ length: width * height }, (_, i) => colour(i % width / width, Math.floor(i / width) / height)).flat()), width, height);
      const isMasked = (x: number, y: number) => x > 0.2 && x < 0.3 && y > 0.4 && y < 0.6;
      const image = picture((x, y) => isMasked(x, y) ? [0, 255, 0] : x < 0.5 ? [200, 30, 10] : [10, 30, 200]);
      const filled = fillFromAround(image, picture((x, y) => Array<number>(3).fill(isMasked(x, y) ? 255 : 0)));
      const expected = picture((x, y) => isMasked(x, y) ? [200, 30, 10] : x < 0.5 ? [200, 30, 10] : [10, 30, 200]);
      const masked = filled.data.filter((_, i) => isMasked(Math.floor(i / 3) % width / width, Math.floor(i / 3 / width) / height));
      masked.forEach((value, i) => assert.ok(Math.abs(value - [200, 30, 10][i % 3]) < 12, `${value} at ${i}`));
      filled.data.forEach((value, i) => {
        const [x, y] = [Math.floor(i / 3) % width / width, Math.floor(i / 3 / width) / height];
        if (!isMasked(x, y)) assert.equal(value, expected.data[i]);
      });
    });
  }
});
