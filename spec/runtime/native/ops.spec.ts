import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { graphRecorders } from '../../../lib/core/graph.js';
import { Conv2d } from '../../../lib/layers/conv2d.js';
import { GroupNorm } from '../../../lib/layers/group_norm.js';
import { Linear } from '../../../lib/layers/linear.js';
import { silu } from '../../../lib/layers/activations.js';
import { UNet2DConditionModel } from '../../../lib/models/unet_2d_condition_model.js';
import { TF, type Binding } from '../../../lib/runtime/native/binding.js';
import { Constants } from '../../../lib/runtime/native/constants.js';
import type { NativeBackend } from '../../../lib/runtime/native/native_backend.js';
import { describeOnDevices, expectNoLeak } from '../../support/backends.js';
import { expectClose } from '../../support/close.js';

/** One for all steps: what was made before another is made anew. */
const recorder = { ops: [] as string[], ran(op: string) { this.ops.push(op); }, uploaded() {}, used() {}, wrote() {}, reads() {} };

/** What TensorFlow is asked for during `work`: ops by name, values that it is handed, and values that are read. */
function watch(backend: NativeBackend, work: (ops: readonly string[]) => void): { ops: string[]; uploads: number; reads: number } {
  const { context } = backend;
  const { binding } = context;
  const seen = { ops: [] as string[], uploads: 0, reads: 0 };
  const counted = (method: 'createTensor' | 'tensorDataSync') => ({
    value: (...inputs: [never, never, never]) => {
      if (method === 'createTensor') seen.uploads++;
      else seen.reads++;
      return binding[method](...inputs);
    },
  });
  context.binding = Object.create(binding, { createTensor: counted('createTensor'), tensorDataSync: counted('tensorDataSync') }) as Binding;
  context.recorder = recorder;
  recorder.ops = seen.ops;
  try {
    work(seen.ops);
    return seen;
  } finally {
    context.recorder = undefined;
    context.binding = binding;
  }
}

describeOnDevices('ops of the native backend', device => {
  if (device === 'wasm') return;
  const backend = () => tf.backend() as NativeBackend;

  it('of a step of Stable Diffusion 1.5 are bounded, upload nothing but the timestep, and read nothing', () => expectNoLeak(() => {
    const unet = new UNet2DConditionModel({ block_out_channels: [32, 64, 64, 64], cross_attention_dim: 32, attention_head_dim: 4 }); // of its depth, which alone counts
    const [sample, encoderHiddenStates] = [tf.randomNormal([2, 16, 16, 4]), tf.randomNormal([2, 77, 32])];
    const step = (timestep: number) => watch(backend(), () => unet.forward(sample, timestep, { encoderHiddenStates }).dispose());
    step(801);
    const { ops, uploads, reads } = step(781);
    const count = ops.length + ops.filter(op => op === '_MklNativeConv2DWithBias').length; // oneDNN's, where a GPU has two ops
    assert.ok(count <= 2460, `${count} ops`);
    assert.deepEqual([uploads, reads], [1, 0]);
    assert.equal(step(781).uploads, 0);
    unet.dispose();
    return [sample, encoderHiddenStates];
  }));

  it("take oneDNN's convolution for large images only on processors that it is made for", () => expectNoLeak(() => tf.tidy(() => {
    const conv = new Conv2d(3, 5, { stride: 2, padding: [0, 1, 0, 1] });
    const takes = (size: number) => watch(backend(), () => tf.dispose(conv.forward(tf.ones([1, size, size, 3])))).ops.includes('_MklNativeConv2DWithBias');
    assert.equal(takes(130), takes(9) && backend().binding.usesOneDnn());
    conv.dispose();
    return [];
  })));

  it("take oneDNN's product for many rows and columns of float32, where TensorFlow's own is not oneDNN's, also in graphs, and compiled by XLA", async () => {
    const has = !backend().binding.usesOneDnn() && backend().context.has('_MklMatMul');
    for (const [rows, columns, large] of [[319, 1600, false], [320, 1535, false], [321, 1537, true], [640, 1536, true]] as const) {
      const linear = new Linear(33, columns);
      const x = tf.randomNormal([rows, 33]);
      const { ops } = watch(backend(), () => tf.dispose(linear.forward(x)));
      assert.deepEqual(ops.filter(op => op.includes('MatMul')), [large && has ? '_MklMatMul' : 'MatMul'], `${rows} x ${columns}`);
      const expected = tf.tidy(() => tf.add(tf.matMul(x, linear.getParameter('weight')), linear.getParameter('bias')));
      const values = { shape: expected.shape, data: expected.dataSync() };
      for (const xla of [false, true]) {
        const { graph, results } = graphRecorders.current!(given => [linear.forward(given)], [x], linear.stateDict(), { xla });
        await graph.compiled;
        for (const result of [...results, ...graph.run([x], linear.stateDict())]) {
          expectClose(result, values);
          result.dispose();
        }
        graph.dispose();
      }
      tf.dispose([x, expected]);
      linear.dispose();
    }
  });

  it('keep small values that JavaScript makes: each is handed over once', () => {
    const { binding } = backend();
    const made: number[] = [], freed: number[] = [];
    const constants = new Constants((...tensor) => {
      const id = binding.createTensor(...tensor);
      made.push(id);
      return id;
    }, id => {
      freed.push(id);
      binding.deleteTensor(id);
    });
    const get = (shape: number[], dtype: number, values: Float32Array | Int32Array) => constants.get(shape, dtype, values)!;
    const values = Float32Array.of(1, -0);
    const first = get([2], TF.FLOAT, values);
    assert.equal(get([2], TF.FLOAT, Float32Array.of(1, -0)), first);
    const others = [get([2], TF.FLOAT, Float32Array.of(1, 0)), get([1, 2], TF.FLOAT, values), get([2], TF.INT32, Int32Array.of(1, -0))];
    assert.equal(new Set([first, ...others]).size, 4);
    assert.equal(constants.get([3000], TF.FLOAT, new Float32Array(3000)), undefined); // too large to keep
    values.fill(7); // which its owner may
    assert.ok(constants.giveBack(first) && constants.giveBack(first));
    assert.equal(get([2], TF.FLOAT, Float32Array.of(1, -0)), first);
    assert.deepEqual([...binding.tensorDataSync(first)], [1, -0]);
    assert.equal(made.length, 4);
    const narrow = () => constants.cast(first, TF.HALF, () => ({ id: binding.createTensor([2], TF.FLOAT, Float32Array.of(1, 0)), shape: [2], dtype: TF.HALF }))!.id;
    const half = narrow();
    assert.equal(narrow(), half);
    [first, half, half, ...others].forEach(id => constants.giveBack(id));
    assert.equal(freed.length, 0);
    assert.equal(constants.giveBack(-1), false);

    const useMany = () => { for (let i = 0; i < 3000; i++) constants.giveBack(get([], TF.INT32, Int32Array.of(i))); };
    useMany();
    assert.deepEqual(freed.filter(id => id <= half).sort((a, b) => a - b), [first, ...others, half]); // not used for long
    const used = get([], TF.FLOAT, Float32Array.of(0.5));
    useMany();
    assert.deepEqual([...binding.tensorDataSync(used)], [0.5]);
    constants.giveBack(used);
    assert.ok(freed.includes(used));
  });

  it('run many inputs and outputs, and attributes that are others each time', () => expectNoLeak(() => tf.tidy(() => {
    const rows = tf.unstack(tf.reshape(tf.range(0, 100), [50, 2])) as tf.Tensor1D[];
    expectClose(tf.concat(rows), { shape: [100], data: Array.from({ length: 100 }, (_, i) => i) });
    for (let i = 1; i < 50; i++) assert.deepEqual(tf.maxPool(tf.ones([1, 60, 60, 1]) as tf.Tensor4D, i, 1, 'valid').shape, [1, 61 - i, 61 - i, 1]);
    assert.throws(() => backend().executeSingleOutput('Square', [], []), /OpKernel 'Square' has constraint on attr 'T' not in NodeDef/);
    return [];
  })));

  it('reshape where one needs another shape, once, and not where none does', () => expectNoLeak(() => tf.tidy(() => {
    watch(backend(), ops => {
      const x = tf.tensor2d([[1, 2, 3, 4], [5, 6, 7, 8]]);
      const [y, same] = [tf.reshape(x, [-1, 2]), tf.reshape(x, [4, 2])];
      x.dispose();
      const reshapes = () => ops.filter(op => op === 'Reshape').length;
      const sum = tf.add(tf.mul(y, 2), same);
      assert.deepEqual([sum.shape, [...sum.dataSync()]], [[4, 2], [3, 6, 9, 12, 15, 18, 21, 24]]);
      expectClose(tf.softmax(tf.reshape(tf.mul(y, 0), [2, 1, 4])), { shape: [2, 1, 4], data: Array<number>(8).fill(0.25) });
      assert.equal(reshapes(), 0);
      const turned = [tf.transpose(y), tf.transpose(same), tf.add(y, tf.tensor2d([[10, 20]]))];
      assert.equal(reshapes(), 1);
      assert.deepEqual(turned.map(each => [...each.dataSync()]), [[1, 3, 5, 7, 2, 4, 6, 8], [1, 3, 5, 7, 2, 4, 6, 8], [11, 22, 13, 24, 15, 26, 17, 28]]);
      const heads = tf.reshape(tf.transpose(tf.reshape(y, [1, 2, 2, 2]), [0, 2, 1, 3]), [2, 2, 2]); // as attention's
      expectClose(tf.matMul(heads, heads, false, true), { shape: [2, 2, 2], data: [5, 17, 17, 61, 25, 53, 53, 113] });
      assert.throws(() => tf.reshape(y, [3, 3]), /Size\(8\) must match the product of shape 3,3/);
    });
    return [];
  })));

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
