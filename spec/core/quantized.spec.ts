import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { roundTo } from '../../lib/core/float16.js';
import { canCompile } from '../../lib/core/graph.js';
import { hasHalves } from '../../lib/core/precision.js';
import { dequantize, matrixOf, packNibbles, unpackNibbles, type QuantizedMatrix } from '../../lib/core/quantized.js';
import { StoredQuantized } from '../../lib/core/stored_quantized.js';
import { Conv2d } from '../../lib/layers/conv2d.js';
import { Linear } from '../../lib/layers/linear.js';
import { Model } from '../../lib/models/model.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';

/** A network of two layers, as one graph. */
class TwoLayers extends Model<object> {
  static className = 'TwoLayers';
  private readonly first = this.add('first', new Linear(12, 12));
  private readonly second = this.add('second', new Linear(12, 12));

  compute(x: tf.Tensor): tf.Tensor {
    return this.graph('both', x => this.second.forward(this.first.forward(x)), x);
  }
}

/** A matrix of numbers that differ everywhere, and what each of them stands for, by the definition. */
function matrix(bits: 4 | 8, shape: number[], groupSize: number, hasMinimums: boolean): { matrix: QuantizedMatrix; expected: Float32Array } {
  const { depth, columns } = matrixOf(shape);
  const numbers = Array.from({ length: depth * columns }, (_, i) => bits === 8 ? i * 37 % 256 - 128 : i * 7 % 16);
  const count = Math.ceil(depth / groupSize) * columns;
  const scales = Float32Array.from({ length: count }, (_, i) => 0.01 + (i % 11) / 100);
  const minimums = hasMinimums ? Float32Array.from({ length: count }, (_, i) => (i % 7) / 3 - 1) : undefined;
  const values = bits === 8 ? Int8Array.from(numbers) : packNibbles(Uint8Array.from(numbers));
  const expected = Float32Array.from(numbers, (number, i) => {
    const group = Math.floor(Math.floor(i / columns) / groupSize) * columns + i % columns;
    return minimums ? number * scales[group] + minimums[group] : (bits === 4 ? number - 8 : number) * scales[group];
  });
  return { matrix: { bits, shape, groupSize, values, scales, minimums }, expected };
}

const CASES: Array<[name: string, ...Parameters<typeof matrix>]> = [
  ['8 bits by column', 8, [24, 12], 24, false],
  ['8 bits by column, a kernel', 8, [3, 3, 5, 8], 45, false],
  ['8 bits in groups', 8, [64, 4], 32, false],
  ['8 bits in groups, the last one shorter, with minimums', 8, [70, 20], 16, true],
  ['4 bits in groups', 4, [64, 8], 32, true],
  ['4 bits, the last group shorter', 4, [33, 16], 32, true],
  ['4 bits, one group, without minimums', 4, [7, 8], 7, false],
  ['4 bits in groups, without minimums', 4, [70, 16], 32, false],
  ['4 bits, a kernel', 4, [3, 3, 7, 24], 32, true],
  ['one row', 8, [1, 4], 1, true],
];

describe('numbers of 4 bits', () => {
  it('lie two in a byte, the first in the lower half', () => {
    assert.deepEqual([...packNibbles(Uint8Array.of(1, 2, 15, 0))], [0x21, 0x0f]);
    assert.deepEqual([...unpackNibbles(Uint8Array.of(0x21, 0x0f))], [1, 2, 15, 0]);
  });
});

describeOnDevices('a quantized weight', () => {
  const near = (actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number) => {
    assert.equal(actual.length, expected.length);
    for (let i = 0; i < actual.length; i++) {
      assert.ok(Math.abs(actual[i] - expected[i]) <= tolerance, `${actual[i]} is not ${expected[i]}, at ${i}`);
    }
  };

  for (const [name, ...of] of CASES) {
    it(`is widened: ${name}`, () => expectNoLeak(() => {
      const { matrix: quantized, expected } = matrix(...of);
      const wide = new StoredQuantized(quantized, 'float32').read();
      assert.deepEqual(wide.shape, [...quantized.shape]);
      near(dequantize(quantized), expected, 1e-6);
      near(wide.dataSync(), expected, 1e-6);
      return wide;
    }));

    it(`is widened to halves, where there are such, rounded once: ${name}`, () => expectNoLeak(() => {
      const { matrix: quantized } = matrix(...of);
      return (['float16', 'bfloat16'] as const).map(dtype => {
        const wide = new StoredQuantized(quantized, dtype).read();
        const values = dequantize(quantized);
        if (!hasHalves()) {
          assert.deepEqual(wide.dataSync(), values);
          return wide;
        }
        const rounded = roundTo(dtype, values);
        const unit = dtype === 'float16' ? 2 ** -10 : 2 ** -7; // a backend's sum may be another in float32's last bit, and lie beyond a middle
        wide.dataSync().forEach((value, i) => assert.ok(Math.abs(value - rounded[i]) <= unit * Math.abs(rounded[i]) + 1e-6, `${i}`));
        near(wide.dataSync(), roundTo(dtype, Float32Array.from(wide.dataSync())), 0);
        return wide;
      });
    }));
  }

  it('is there while its layer runs, and gives what its values give', () => expectNoLeak(() => {
    const layers = [
      { layer: new Linear(70, 20), weight: matrix(8, [70, 20], 16, true), input: [3, 70] },
      { layer: new Conv2d(7, 24), weight: matrix(4, [3, 3, 7, 24], 32, true), input: [2, 5, 6, 7] },
    ];
    for (const { layer, weight, input } of layers) {
      const x = tf.randomUniform(input, -1, 1, 'float32', 1);
      layer.setParameter('weight', tf.tensor(weight.expected, [...weight.matrix.shape]));
      const expected = layer.forward(x);
      layer.storeParameter('weight', new StoredQuantized(weight.matrix, 'float32'));
      const before = tf.memory().numTensors;
      const first = layer.forward(x);
      near(first.dataSync(), expected.dataSync(), 1e-4);
      assert.equal(tf.memory().numTensors, before + 1);
      assert.ok(!layer.isAllocated('weight'));
      layer.changeParameter('weight', base => tf.mul(base, 2));
      const bias = layer.getParameter('bias');
      const twice = tf.tidy(() => layer.forward(x).add(bias));
      const sum = tf.mul(expected, 2);
      near(twice.dataSync(), sum.dataSync(), 1e-4);
      layer.changeParameter('weight');
      tf.dispose([x, expected, first, twice, sum]);
      layer.dispose();
    }
    return [];
  }));

  it('is held by graphs, which take it again and again, and no longer than they are there', () => {
    const net = new TwoLayers({});
    const { matrix: quantized } = matrix(8, [12, 12], 12, false);
    net.storeParameter('first.weight', new StoredQuantized(quantized, 'float32'));
    net.storeParameter('second.weight', new StoredQuantized(quantized, 'float32'));
    const x = tf.randomUniform([2, 12], -1, 1, 'float32', 1);
    const expected = net.forward(x);
    const alone = tf.memory().numTensors;
    net.compile();
    for (let i = 0; i < 3; i++) {
      const y = net.forward(x);
      near(y.dataSync(), expected.dataSync(), 1e-4);
      y.dispose();
      assert.equal(net.isAllocated('first.weight'), canCompile());
    }
    net.release();
    assert.ok(!net.isAllocated('first.weight'));
    const again = net.forward(x);
    near(again.dataSync(), expected.dataSync(), 1e-4);
    again.dispose();
    net.compile(false);
    net.forward(x).dispose();
    assert.ok(!net.isAllocated('first.weight'));
    assert.equal(tf.memory().numTensors, alone);
    tf.dispose([x, expected]);
    net.dispose();
  });
});
