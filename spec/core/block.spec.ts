import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Block } from '../../lib/core/block.js';
import { Linear } from '../../lib/layers/linear.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';

class Pair extends Block {
  static className = 'Pair';
  readonly first = this.add('first', new Linear(3, 2));
  readonly others = this.addList('others', 2, () => new Linear(2, 2, { bias: false }));

  compute(x: tf.Tensor): tf.Tensor {
    return this.others.reduce((y, layer) => layer.forward(y), this.first.forward(x));
  }
}

describeOnDevices('Block', () => {
  const paths = ['first.weight', 'first.bias', 'others.0.weight', 'others.1.weight'];

  it('names every parameter by its path', () => {
    const pair = new Pair();
    assert.deepEqual([...pair.parameterSpecs().keys()], paths);
    assert.deepEqual(Object.keys(pair.stateDict()), paths);
    assert.deepEqual(pair.parameterSpecs().get('first.weight'), { shape: [3, 2], layout: 'linear' });
    assert.equal(pair.weights.length, 4);
    pair.dispose();
  });

  it('allocates nothing before it is used, and keeps the tensor that it is given', () => {
    const before = tf.memory();
    const pair = new Pair();
    assert.equal(tf.memory().numTensors, before.numTensors);
    const value = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    const { dataId } = value;
    pair.setParameter('others.1.weight', value);
    assert.equal(pair.stateDict()['others.1.weight'].dataId, dataId);
    assert.ok(value.isDisposed);
    pair.dispose();
    assert.equal(tf.memory().numTensors, before.numTensors);
    assert.equal(tf.memory().numBytes, before.numBytes);
  });

  it('replaces a value without leaving the old one', () => {
    const pair = new Pair();
    pair.stateDict();
    const before = tf.memory().numBytes;
    pair.setParameter('first.bias', tf.tensor1d([7, 8]));
    assert.deepEqual([...pair.stateDict()['first.bias'].dataSync()], [7, 8]);
    assert.equal(tf.memory().numBytes, before);
    pair.dispose();
  });

  it('keeps a loaded value when tf.layers asks for fast initialization', () => {
    const linear = new Linear(1, 2);
    linear.setFastWeightInitDuringBuild(true);
    linear.setParameter('bias', tf.tensor1d([7, 8]));
    assert.deepEqual([...linear.stateDict().bias.dataSync()], [7, 8]);
    linear.dispose();
  });

  it('frees what compute made on the way, also when it fails', () => expectNoLeak(() => {
    const pair = new Pair();
    pair.stateDict();
    const [x, wide] = [tf.ones([1, 3]), tf.ones([1, 4])];
    const before = tf.memory().numTensors;
    const y: tf.Tensor = pair.forward(x);
    assert.equal(tf.memory().numTensors, before + 1);
    assert.throws(() => tf.tidy(() => pair.forward(wide).dataSync())); // native ops fail when JavaScript is elsewhere: reading waits for them
    y.dispose();
    pair.dispose();
    return [x, wide];
  }));

  it('freezes all below', () => {
    const pair = new Pair();
    pair.stateDict();
    pair.trainable = false;
    assert.equal(pair.trainableWeights.length, 0);
    assert.equal(pair.nonTrainableWeights.length, 4);
    pair.dispose();
  });

  it('refuses an unknown path, another shape, a second child of one name, and use after dispose', () => {
    const pair = new Pair();
    assert.throws(() => pair.setParameter('others.2.weight', tf.scalar(1)), /Pair: has no parameter 'others.2.weight'/);
    assert.throws(() => pair.setParameter('first.bias', tf.tensor1d([1])), /first.bias: got shape \[1\], takes \[2\]/);
    assert.throws(() => (pair as unknown as { add(name: string, child: Block): void }).add('first', new Linear(1, 1)), /Pair: has a child 'first' already/);
    pair.dispose();
    assert.throws(() => pair.stateDict(), /Linear: was disposed/);
  });
});
