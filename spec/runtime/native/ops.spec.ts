import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { GroupNorm } from '../../../lib/layers/group_norm.js';
import { silu } from '../../../lib/layers/activations.js';
import { UNet2DConditionModel } from '../../../lib/models/unet_2d_condition_model.js';
import { TF, type Binding, type NativeBackend } from '../../../lib/runtime/native/backend.js';
import { keepConstants } from '../../../lib/runtime/native/constants.js';
import { describeOnDevices, expectNoLeak } from '../../support/backends.js';
import { expectClose } from '../../support/close.js';

/** TensorFlow's binding itself, below what keeps constants. */
const rawBinding = () => Object.getPrototypeOf((tf.backend() as NativeBackend).binding) as Binding;

/** The calls of `binding` by name, an op's by the op's. */
function counting(binding: Binding): { binding: Binding; calls: string[] } {
  const calls: string[] = [];
  const counted = (method: keyof Binding, name: (first: string) => string) => ({
    value: (...inputs: [never]) => {
      calls.push(name(inputs[0]));
      return (binding[method] as (...inputs: unknown[]) => unknown)(...inputs);
    },
  });
  return { calls, binding: Object.create(binding, {
    executeOp: counted('executeOp', op => op), createTensor: counted('createTensor', () => 'upload'), tensorDataSync: counted('tensorDataSync', () => 'read'),
  }) as Binding };
}

describeOnDevices('ops of the native backend', device => {
  if (device === 'wasm') return;
  const backend = () => tf.backend() as NativeBackend;

  it('of a step of Stable Diffusion 1.5 are bounded, upload nothing but the timestep, and read nothing', () => expectNoLeak(() => {
    const { binding } = backend();
    const { binding: counted, calls } = counting(rawBinding());
    Object.assign(backend(), { binding: keepConstants(counted) });
    try {
      const unet = new UNet2DConditionModel({ block_out_channels: [32, 64, 64, 64], cross_attention_dim: 32, attention_head_dim: 4 }); // of its depth, which alone counts
      const [sample, encoderHiddenStates] = [tf.randomNormal([2, 16, 16, 4]), tf.randomNormal([2, 77, 32])];
      const step = (timestep: number) => {
        calls.length = 0;
        unet.forward(sample, timestep, { encoderHiddenStates }).dispose();
        return [...calls];
      };
      step(801);
      const second = step(781);
      const count = (...names: string[]) => second.filter(name => names.includes(name)).length;
      const withBias = count('_MklNativeConv2DWithBias'); // oneDNN's, where a GPU has two ops
      const ops = second.length - count('upload', 'read') + withBias;
      assert.ok(ops <= 2450, `${ops} ops`);
      assert.deepEqual([count('upload'), count('read')], [1, 0]);
      assert.equal(step(781).filter(name => name === 'upload').length, 0);
      unet.dispose();
      return [sample, encoderHiddenStates];
    } finally {
      Object.assign(backend(), { binding });
    }
  }));

  it('keep small values that JavaScript makes: each is handed over once', () => {
    const { binding, calls } = counting(rawBinding());
    const keeping = keepConstants(binding);
    const values = Float32Array.of(1, -0);
    const first = keeping.createTensor([2], TF.FLOAT, values);
    assert.equal(keeping.createTensor([2], TF.FLOAT, Float32Array.of(1, -0)), first);
    const others = [
      keeping.createTensor([2], TF.FLOAT, Float32Array.of(1, 0)), keeping.createTensor([1, 2], TF.FLOAT, values),
      keeping.createTensor([2], TF.INT32, Int32Array.of(1, -0)), keeping.createTensor([3000], TF.FLOAT, new Float32Array(3000)),
      keeping.createTensor([3000], TF.FLOAT, new Float32Array(3000)),
    ];
    assert.equal(new Set([first, ...others]).size, 6);
    values.fill(7); // which its owner may
    keeping.deleteTensor(first);
    keeping.deleteTensor(first);
    assert.equal(keeping.createTensor([2], TF.FLOAT, Float32Array.of(1, -0)), first);
    assert.deepEqual([...keeping.tensorDataSync(first)], [1, -0]);
    assert.equal(calls.filter(call => call === 'upload').length, 6);
    [first, ...others].forEach(id => keeping.deleteTensor(id));
    assert.throws(() => keeping.tensorDataSync(others[4])); // too large to keep

    for (let i = 0; i < 3000; i++) keeping.deleteTensor(keeping.createTensor([], TF.INT32, Int32Array.of(i)));
    assert.throws(() => keeping.tensorDataSync(first)); // not used for long
    const used = keeping.createTensor([], TF.FLOAT, Float32Array.of(0.5));
    for (let i = 0; i < 3000; i++) keeping.deleteTensor(keeping.createTensor([], TF.INT32, Int32Array.of(i)));
    assert.deepEqual([...keeping.tensorDataSync(used)], [0.5]);
    keeping.deleteTensor(used);
    assert.throws(() => keeping.tensorDataSync(used));
  });

  it('reshape where one needs another shape, once, and not where none does', async () => {
    const { binding } = backend();
    const { binding: counted, calls } = counting(binding);
    Object.assign(backend(), { binding: counted });
    try {
      await expectNoLeak(() => tf.tidy(() => {
        const x = tf.tensor2d([[1, 2, 3, 4], [5, 6, 7, 8]]);
        const [y, same] = [tf.reshape(x, [-1, 2]), tf.reshape(x, [4, 2])];
        x.dispose();
        const sum = tf.add(tf.mul(y, 2), same);
        assert.deepEqual([sum.shape, [...sum.dataSync()]], [[4, 2], [3, 6, 9, 12, 15, 18, 21, 24]]);
        expectClose(tf.softmax(tf.reshape(tf.mul(y, 0), [2, 1, 4])), { shape: [2, 1, 4], data: Array<number>(8).fill(0.25) });
        assert.equal(calls.filter(op => op === 'Reshape').length, 0);
        const turned = [tf.transpose(y), tf.transpose(same), tf.add(y, tf.tensor2d([[10, 20]]))];
        assert.equal(calls.filter(op => op === 'Reshape').length, 1);
        assert.deepEqual(turned.map(each => [...each.dataSync()]), [[1, 3, 5, 7, 2, 4, 6, 8], [1, 3, 5, 7, 2, 4, 6, 8], [11, 22, 13, 24, 15, 26, 17, 28]]);
        const heads = tf.reshape(tf.transpose(tf.reshape(y, [1, 2, 2, 2]), [0, 2, 1, 3]), [2, 2, 2]); // as attention's
        expectClose(tf.matMul(heads, heads, false, true), { shape: [2, 2, 2], data: [5, 17, 17, 61, 25, 53, 53, 113] });
        assert.throws(() => tf.reshape(y, [3, 3]), /Size\(8\) must match the product of shape 3,3/);
        return [];
      }));
    } finally {
      Object.assign(backend(), { binding });
    }
  });

  it('compute SiLU in one, at any value', () => expectNoLeak(() => tf.tidy(() => {
    const values = [-1e4, -100, -89, -88, -20, -5, -1, -1e-3, 0, 1e-3, 1, 5, 20, 88, 100, 1e4];
    expectClose(silu(tf.tensor1d(values)), { shape: [values.length], data: values.map(x => x / (1 + Math.exp(-x))) }, { atol: 1e-36, rtol: 1e-6 });
    return [];
  })));

  it('normalize groups in few, or where they are large in few passes, also far from 0', () => expectNoLeak(() => {
    for (const [batch, size] of [[2, 7], [1, 64], [2, 64], [3, 1]]) {
      const norm = new GroupNorm(8, 40);
      norm.setParameter('weight', tf.randomNormal([40], 1, 0.5, 'float32', 1));
      norm.setParameter('bias', tf.randomNormal([40], 0, 1, 'float32', 2));
      tf.tidy(() => {
        const around = 300;
        const x = tf.randomNormal([batch, size, size, 40], around, 1, 'float32', 3);
        expectClose(norm.forward(x), inFloat64(x, norm), { atol: 2e-4 }); // what rounding x to float32 costs at 300
        const centered = tf.randomNormal([batch, size, size, 40], 0, 3, 'float32', 4);
        expectClose(norm.forward(centered), inFloat64(centered, norm), { atol: 1e-5 });
      });
      norm.dispose();
    }
    return [];
  }));

  it('have gradients all the same', () => {
    const gradient = tf.tidy(() => tf.grad(x => silu(x))(tf.tensor1d([0, 1])));
    expectClose(gradient, { shape: [2], data: [0.5, 0.9276705] });
    gradient.dispose();
  });
});

/** What a GroupNorm gives, computed in double precision. */
function inFloat64(x: tf.Tensor, norm: GroupNorm): { shape: number[]; data: number[] } {
  const { groups, channels, epsilon } = norm;
  const [values, weight, bias] = [x, norm.getParameter('weight'), norm.getParameter('bias')].map(tensor => Array.from(tensor.dataSync()));
  const sample = x.size / x.shape[0];
  const groupOf = (i: number) => Math.floor(i / sample) * groups + Math.floor(i % channels * groups / channels);
  const meanOf = (numbers: number[]) => {
    const sums = Array<number>(x.shape[0] * groups).fill(0);
    numbers.forEach((value, i) => { sums[groupOf(i)] += value; });
    return sums.map(sum => sum / (sample / groups));
  };
  const means = meanOf(values);
  const variances = meanOf(values.map((value, i) => (value - means[groupOf(i)]) ** 2));
  const data = values.map((value, i) => {
    const group = groupOf(i);
    return weight[i % channels] * (value - means[group]) / Math.sqrt(variances[group] + epsilon) + bias[i % channels];
  });
  return { shape: x.shape, data };
}
