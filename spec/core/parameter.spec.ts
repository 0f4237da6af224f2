import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import type { Block } from '../../lib/core/block.js';
import type { StoredValue } from '../../lib/core/stored_value.js';
import { Linear } from '../../lib/layers/linear.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';

/** A made-up way to store values: a byte each, which is all that there is to do for it. */
class EightBits implements StoredValue {
  reads = 0;
  private readonly bytes: Int8Array;
  private readonly scale: number;

  constructor(values: readonly number[], private readonly shape: number[], readonly forTheMoment: boolean) {
    this.scale = Math.max(...values.map(Math.abs)) / 127;
    this.bytes = Int8Array.from(values, value => Math.round(value / this.scale));
  }

  read(): tf.Tensor {
    this.reads++;
    return tf.tidy(() => tf.tensor(Int32Array.from(this.bytes), this.shape, 'int32').cast('float32').mul(this.scale));
  }
}

const VALUES = [1.27, -0.5, 0.25, 1]; // at a scale of 0.01 whole numbers
const PATH = 'weight';

describeOnDevices('a parameter', () => {
  const near = (actual: readonly number[], expected: readonly number[]) => {
    assert.equal(actual.length, expected.length);
    actual.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-5, `${actual} is not ${expected}`));
  };
  const weight = (block: Block) => [...block.getParameter(PATH).dataSync()];
  const run = (layer: Linear) => tf.tidy(() => [...layer.forward(tf.eye(2)).dataSync()]);
  const plain = () => {
    const layer = new Linear(2, 2, { bias: false });
    layer.setParameter(PATH, tf.tensor2d(VALUES, [2, 2]));
    return layer;
  };
  const double = (base: tf.Tensor) => tf.mul(base, 2);
  const addOne = (base: tf.Tensor) => tf.add(base, 1);

  it('stored in eight bits is there while its layer runs, and no longer', () => expectNoLeak(() => {
    const layer = new Linear(2, 2, { bias: false });
    const stored = new EightBits(VALUES, [2, 2], true);
    layer.storeParameter(PATH, stored);
    const before = tf.memory().numTensors;
    near(run(layer), VALUES);
    near(run(layer), VALUES);
    assert.equal(stored.reads, 2);
    assert.equal(tf.memory().numTensors, before);
    assert.ok(!layer.isAllocated(PATH));
    near(weight(layer), VALUES); // who asks for it from outside finds a value that stays until the layer ran
    assert.ok(layer.isAllocated(PATH));
    near(run(layer), VALUES);
    assert.ok(!layer.isAllocated(PATH));
    layer.dispose();
    return [];
  }));

  it('stays on the device once it is used, unless layers release theirs', () => expectNoLeak(() => {
    const layer = new Linear(2, 2, { bias: false });
    const stored = new EightBits(VALUES, [2, 2], false);
    layer.storeParameter(PATH, stored);
    assert.ok(!layer.isAllocated(PATH));
    near(run(layer), VALUES);
    near(run(layer), VALUES);
    assert.ok(layer.isAllocated(PATH));
    assert.equal(stored.reads, 1);
    layer.releaseAfterUse(true);
    near(run(layer), VALUES);
    assert.ok(!layer.isAllocated(PATH));
    layer.dispose();
    return [];
  }));

  it('is released where it can be had again, and not where it cannot', () => expectNoLeak(async () => {
    const layer = plain();
    layer.release();
    assert.ok(layer.isAllocated(PATH));
    await layer.offload();
    assert.ok(!layer.isAllocated(PATH));
    assert.deepEqual(run(layer), VALUES.map(Math.fround));
    layer.setParameter(PATH, tf.zeros([2, 2])); // what was stored is no longer its value
    layer.release();
    assert.deepEqual(run(layer), [0, 0, 0, 0]);
    layer.dispose();
    return [];
  }));

  it('on the device is changed there, by the last change alone, and is to the last bit what it was without', () => expectNoLeak(() => {
    const layer = plain();
    const count = tf.memory().numTensors;
    layer.changeParameter(PATH, double);
    layer.changeParameter(PATH, addOne);
    assert.ok(layer.isAllocated(PATH));
    near(run(layer), VALUES.map(value => value + 1));
    layer.changeParameter(PATH);
    assert.deepEqual(run(layer), VALUES.map(Math.fround));
    assert.equal(tf.memory().numTensors, count);
    layer.changeParameter(PATH, double);
    layer.mergeChanges();
    layer.changeParameter(PATH);
    near(run(layer), VALUES.map(value => 2 * value));
    assert.equal(tf.memory().numTensors, count);
    layer.dispose();
    return [];
  }));

  it('elsewhere keeps its change beside it, and nothing is made before it is used', () => expectNoLeak(async () => {
    const layer = new Linear(2, 2, { bias: false });
    const stored = new EightBits(VALUES, [2, 2], true);
    layer.storeParameter(PATH, stored);
    const before = tf.memory().numTensors;
    layer.changeParameter(PATH, double);
    assert.equal(stored.reads, 0);
    near(run(layer), VALUES.map(value => 2 * value));
    layer.mergeChanges();
    layer.changeParameter(PATH, addOne);
    near(run(layer), VALUES.map(value => 2 * value + 1));
    assert.equal(tf.memory().numTensors, before);
    layer.changeParameter(PATH);
    near(run(layer), VALUES.map(value => 2 * value));
    layer.dispose();

    const offloaded = plain();
    offloaded.changeParameter(PATH, double);
    await offloaded.offload(); // what it was goes to host memory, and not what became of it
    offloaded.changeParameter(PATH, addOne);
    assert.ok(!offloaded.isAllocated(PATH));
    near(run(offloaded), VALUES.map(value => value + 1));
    offloaded.changeParameter(PATH);
    assert.deepEqual(run(offloaded), VALUES.map(Math.fround));
    offloaded.dispose();
    return [];
  }));

  it('that a layer does not have, a bias, is there for as long as it is changed', () => expectNoLeak(() => {
    const layer = plain();
    const paths = () => [...layer.parameterSpecs().keys()];
    layer.changeParameter('bias', addOne);
    assert.deepEqual(paths(), ['weight', 'bias']);
    near(run(layer), VALUES.map(value => value + 1));
    layer.changeParameter('bias');
    assert.deepEqual(paths(), ['weight']);
    near(run(layer), VALUES);
    layer.changeParameter('bias', double);
    layer.mergeChanges();
    layer.changeParameter('bias');
    assert.deepEqual(paths(), ['weight', 'bias']);
    assert.throws(() => layer.changeParameter('scale', double), /^RangeError: Linear: has no parameter 'scale'$/);
    layer.dispose();
    return [];
  }));
});
