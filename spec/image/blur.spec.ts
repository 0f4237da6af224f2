import assert from 'node:assert/strict';
import { blur } from '../../lib/image/blur.js';

describe('blur', () => {
  it('spreads a point as a Gaussian does, and keeps its sum', () => {
    const [width, height] = [41, 31];
    const values = new Float32Array(width * height);
    values[15 * width + 20] = 1;
    const blurred = blur({ values, width, height }, [3, 2]);
    assert.ok(Math.abs(blurred.reduce((sum, value) => sum + value, 0) - 1) < 1e-4);
    const gauss = (x: number, deviation: number) => Math.exp(-(x ** 2) / (2 * deviation ** 2)) / (deviation * Math.sqrt(2 * Math.PI));
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) assert.ok(Math.abs(blurred[y * width + x] - gauss(x - 20, 3) * gauss(y - 15, 2)) < 0.004, `${x}, ${y}`);
    }
    assert.equal(values[0], 0, 'what it was given stays');
  });

  it('goes on beyond edges, and leaves as it is what is not blurred', () => {
    const values = Float32Array.from({ length: 12 }, (_, i) => i);
    assert.deepEqual(blur({ values, width: 4, height: 3 }, [0, 0]), values);
    const even = blur({ values: new Float32Array(12).fill(7), width: 4, height: 3 }, [100, 0.3]);
    assert.ok(even.every(value => Math.abs(value - 7) < 1e-4));
  });
});
