import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { DiffusionPipeline } from '../../../lib/pipelines/index.js';
import { UNet2DConditionModel } from '../../../lib/models/unet_2d_condition_model.js';
import { flag, type, TF, type Binding } from '../../../lib/runtime/native/binding.js';
import type { Recorder } from '../../../lib/runtime/native/eager_context.js';
import type { NativeBackend } from '../../../lib/runtime/native/native_backend.js';
import { outputShapes } from '../../../lib/runtime/native/op_shapes.js';
import { describeOnDevices, expectNoLeak } from '../../support/backends.js';
import { seeded, TINY, TINY_XL } from '../../support/tiny_pipeline.js';

describeOnDevices('ops that run while JavaScript goes on', device => {
  if (device === 'wasm') return;
  const backend = () => tf.backend() as NativeBackend;

  /** Which ops TensorFlow is asked of what shape their results are, which waits for them, during `work`. */
  async function asked(work: () => unknown): Promise<string[]> {
    const { context } = backend();
    const { binding } = context;
    const ops: string[] = [];
    const names = new Map<number, string>();
    context.binding = Object.create(binding, {
      defineOp: {
        value: (name: string, attributes: []) => {
          const op = binding.defineOp(name, attributes);
          names.set(op, name);
          return op;
        },
      },
      runOp: {
        value: (op: number, inputs: number, outputs: number, withShapes: boolean) => {
          if (withShapes) ops.push(names.get(op) ?? 'one from before');
          binding.runOp(op, inputs, outputs, withShapes);
        },
      },
    }) as Binding;
    try {
      await work();
      return ops;
    } finally {
      context.binding = binding;
    }
  }

  it('wait for nothing within a network', () => expectNoLeak(async () => {
    const unet = await UNet2DConditionModel.fromPretrained(TINY);
    const [sample, encoderHiddenStates] = [tf.randomNormal([2, 8, 8, 4]), tf.randomNormal([2, 77, unet.config.cross_attention_dim as number])];
    assert.deepEqual(await asked(() => unet.forward(sample, 801, { encoderHiddenStates }).dispose()), []);
    unet.dispose();
    return [sample, encoderHiddenStates];
  }));

  it('wait for nothing within a network of k-diffusion\'s blocks', () => expectNoLeak(async () => {
    const unet = await UNet2DConditionModel.fromPretrained('spec/golden/pipelines/unet_k');
    const { cross_attention_dim: features, time_cond_proj_dim: condition } = unet.config;
    const [sample, encoderHiddenStates, timestepCond] = [tf.randomNormal([2, 8, 16, 8]), tf.randomNormal([2, 77, features as number]), tf.randomNormal([2, condition!])];
    const step = () => unet.forward(sample, 0.3, { encoderHiddenStates, timestepCond });
    assert.deepEqual(await asked(() => step().dispose()), []);
    const out = step();
    assert.deepEqual(out.shape, [2, 8, 16, 5]);
    unet.dispose();
    return [sample, encoderHiddenStates, timestepCond, out];
  }));

  for (const model of [TINY, TINY_XL]) {
    it(`have the shapes that JavaScript takes them to have: ${model}`, () => expectNoLeak(async () => {
      const { context } = backend();
      const seen = new Set<string>();
      const recorder: Recorder = {
        ran: (op, _, __, results) => {
          for (const { id, shape, dtype } of results) {
            const [same] = context.binding.executeOp('Identity', [type('T', dtype)], [id], 1);
            context.binding.deleteTensor(same.id);
            assert.deepEqual(shape, same.shape, op);
          }
          seen.add(op);
        },
        uploaded() {}, used() {}, wrote() {}, reads() {},
      };
      const pipe = await DiffusionPipeline.fromPretrained(model, { device, compile: false });
      pipe.setProgressBarConfig({ disable: true });
      context.recorder = recorder;
      try {
        await pipe.generate('a star', { numInferenceSteps: 2, generator: seeded(0), height: 24, width: 16 });
      } finally {
        context.recorder = undefined;
      }
      assert.ok(seen.size > 15, `${[...seen]}`);
      pipe.dispose();
      return [];
    }));
  }

  it('have the shapes of convolutions, products, and parts', () => {
    const of = (op: string, attributes: Parameters<typeof outputShapes>[1], ...shapes: Array<number[] | Int32Array>) =>
      outputShapes(op, attributes, shapes.map(each => each instanceof Int32Array ? { shape: [each.length], values: each } : { shape: each }));
    const convolution = (padding: string, stride: number, dilation = 1, around: number[] = []) => [
      { name: 'data_format', type: 0, value: 'NHWC' }, { name: 'padding', type: 0, value: padding }, { name: 'strides', type: 1, value: [1, stride, stride, 1] },
      { name: 'dilations', type: 1, value: [1, dilation, dilation, 1] }, { name: 'explicit_paddings', type: 1, value: around },
    ];
    assert.deepEqual(of('Conv2D', convolution('SAME', 2), [2, 7, 8, 3], [3, 3, 3, 5]), [[2, 4, 4, 5]]);
    assert.deepEqual(of('Conv2D', convolution('VALID', 2), [2, 7, 8, 3], [3, 3, 3, 5]), [[2, 3, 3, 5]]);
    assert.deepEqual(of('Conv2D', convolution('EXPLICIT', 2, 2, [0, 0, 0, 1, 1, 2, 0, 0]), [2, 7, 8, 3], [3, 3, 3, 5]), [[2, 2, 4, 5]]);
    assert.deepEqual(of('MatMul', [flag('transpose_a', true), flag('transpose_b', true)], [3, 2], [4, 3]), [[2, 4]]);
    assert.deepEqual(of('BatchMatMulV2', [flag('adj_x', false), flag('adj_y', true)], [2, 1, 5, 3], [4, 7, 3]), [[2, 4, 5, 7]]);
    assert.deepEqual(of('Mean', [flag('keep_dims', false)], [2, 3, 4], Int32Array.of(-1, 0)), [[3]]);
    assert.deepEqual(of('Reshape', [], [2, 3, 4], Int32Array.of(-1, 6)), [[4, 6]]);
    assert.deepEqual(of('Slice', [], [2, 3, 4], Int32Array.of(0, 1, 2), Int32Array.of(1, -1, 2)), [[1, 2, 2]]);
    assert.deepEqual(of('SplitV', [], [2, 6], Int32Array.of(1, 5), Int32Array.of(-1)), [[2, 1], [2, 5]]);
    assert.deepEqual(of('ConcatV2', [], [2, 6], [2, 3], Int32Array.of(1)), [[2, 9]]);
    assert.equal(of('ConcatV2', [], [2, 6], [2, 3], [1]), undefined, 'along what is not known here');
    assert.equal(of('AddV2', [], [2, 3], [3, 2]), undefined, 'to be refused where it is called');
    assert.equal(of('Unheard', [], [2]), undefined);
  });

  it('tell once what went wrong in one of them, and go on', () => expectNoLeak(() => tf.tidy(() => {
    const { context } = backend();
    const [a, b] = [tf.ones([2, 3]), tf.ones([4, 5])];
    const product = () => context.run('MatMul', [type('T', TF.FLOAT), flag('transpose_a', false), flag('transpose_b', false)], [a, b].map(x => backend().lend(x).id));
    assert.throws(() => {
      const [{ id }] = product();
      try {
        context.read(id);
      } finally {
        context.free(id);
      }
    }, /Matrix size-incompatible|In\[0\] mismatch/);
    assert.deepEqual([...tf.add(a, a).dataSync()], Array<number>(6).fill(2));
    return [];
  })));

  it('give back what JavaScript handed over', () => expectNoLeak(() => {
    let total = 0;
    for (let i = 0; i < 300; i++) {
      const sum = tf.tidy(() => tf.sum(tf.mul(tf.tensor(new Float32Array(5000).fill(i)), 2)));
      total += i % 50 === 0 ? sum.dataSync()[0] / 10000 : 0;
      sum.dispose();
    }
    assert.equal(total, 750);
    return [];
  }));

  it('each run within its call while a profile is taken', async () => {
    const pipe = await DiffusionPipeline.fromPretrained(TINY, { device, compile: false });
    pipe.setProgressBarConfig({ disable: true });
    const { context } = backend();
    const { binding } = context;
    const ahead: boolean[] = [];
    context.binding = Object.create(binding, { runAhead: { value: (on: boolean) => { ahead.push(on); binding.runAhead(on); } } }) as Binding;
    try {
      await pipe.profile(() => pipe.generate('a star', { numInferenceSteps: 1 }));
    } finally {
      context.binding = binding;
    }
    assert.deepEqual(ahead, [false, true]);
    pipe.dispose();
  });

  it('do not keep a program from ending in the middle of them, in a worker or not', () => {
    const program = `
      const tf = await import(${JSON.stringify(import.meta.resolve('@tensorflow/tfjs'))}).then(module => module.default ?? module);
      const { useDevice } = await import(${JSON.stringify(new URL('../../../lib/index.js', import.meta.url).href)});
      await useDevice(${JSON.stringify(device)});
      let x = tf.ones([500, 500]);
      for (let i = 0; i < 100; i++) x = tf.mul(tf.matMul(x, x), 1e-3);
      process.exit(0);`;
    const inWorker = `
      const { Worker } = await import('node:worker_threads');
      const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(${JSON.stringify(program)})));
      process.exitCode = await new Promise(resolve => worker.on('exit', resolve).on('error', error => { console.error(error); resolve(2); }));`;
    for (const each of [program, inWorker]) {
      const { status, signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', each], { cwd: resolve('.'), encoding: 'utf8', timeout: 240_000 });
      assert.deepEqual([status, signal], [0, null], stderr);
    }
  });

  it('give what they give one by one', () => expectNoLeak(async () => {
    const { context } = backend();
    const pipe = await DiffusionPipeline.fromPretrained(TINY, { device, compile: false });
    pipe.setProgressBarConfig({ disable: true });
    const draw = async () => (await pipe.generate('a star', { numInferenceSteps: 4, generator: seeded(1), outputType: 'latent' })).images;
    const ahead = await draw();
    context.runAhead(false);
    const inTurn = await draw();
    context.runAhead(true);
    assert.deepEqual(ahead.dataSync(), inTurn.dataSync());
    pipe.dispose();
    return [ahead, inTurn];
  }));
});
