import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Generator } from '../../lib/core/random.js';
import { Model } from '../../lib/models/model.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import type { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { EulerAncestralDiscreteScheduler } from '../../lib/schedulers/index.js';
import { TF } from '../../lib/runtime/native/binding.js';
import type { NativeBackend } from '../../lib/runtime/native/native_backend.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { DEMO_MODEL } from '../support/demo_model.js';

const PROMPTS = ['a yellow star on a black background', 'a large pink heart on a purple background', 'a red circle above a blue square on a white background'];

/**
 * How far pictures of 12 steps may be from those of float32, of 255, at the worst and in the mean. On the same prompts diffusers is up to
 * 5 and 0.5 away in float16, 48 and 4.5 in bfloat16, whose 8 bits move the edges of shapes: by how much at the worst depends on the
 * processor, 108 without and 119 with matrix units of its own for them, 134 on a GPU (H200).
 */
const TOLERANCES = {
  float16: { worst: 6, mean: 0.5, type: TF.HALF },
  bfloat16: { worst: 140, mean: 6, type: TF.BFLOAT16 },
};

describeOnDevices('Pictures in half precision', device => {
  const computes = device !== 'wasm';
  const bytes = async (pipe: StableDiffusionPipeline) => {
    const generator = PROMPTS.map((_, seed) => new Generator('cpu').manualSeed(seed));
    const { images } = await pipe.generate(PROMPTS, { generator, numInferenceSteps: 12 });
    return images.flatMap(image => [...image.data]);
  };
  const networks = (pipe: StableDiffusionPipeline) => Object.values(pipe.components).filter(part => part instanceof Model);
  let wide: number[];
  before(async () => {
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device, compile: false });
    wide = await bytes(pipe);
    pipe.dispose();
  });

  for (const [dtype, { worst, mean, type }] of Object.entries(TOLERANCES)) {
    it(`${dtype}: within ${worst} of 255 of float32, ${mean} in the mean, with weights of half the size`, () => expectNoLeak(async () => {
      const before = tf.memory().numBytes;
      const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device, compile: false, dtype: dtype as 'float16' });
      const narrow = await bytes(pipe);
      if (computes) {
        const backend = tf.backend() as NativeBackend;
        const types = networks(pipe).flatMap(network => Object.values(network.stateDict()).map(({ dataId }) => backend.dataOf(dataId).dtype));
        assert.deepEqual([...new Set(types)], [type]);
      } else {
        assert.equal(tf.memory().numBytes, before, 'weights are with tfjs only while their layer runs');
      }
      pipe.dispose();
      const differences = narrow.map((value, i) => Math.abs(value - wide[i]));
      const most = differences.reduce((a, b) => Math.max(a, b));
      const average = differences.reduce((a, b) => a + b) / differences.length;
      assert.ok(most <= worst && average <= mean, `${most} at the worst, ${average} in the mean`);
      return [];
    }));
  }

  it('begin from noise drawn in halves, and add such: what of a generator is used up shows it', async () => {
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device, dtype: 'float16' });
    pipe.scheduler = EulerAncestralDiscreteScheduler.fromConfig(pipe.scheduler.config);
    const [generator, same] = [new Generator('cpu').manualSeed(1), new Generator('cpu').manualSeed(1)];
    const side = 17 * pipe.vaeScaleFactor; // 17 * 17 * 4 is no multiple of 16
    const { images } = await pipe.generate(PROMPTS[0], { generator, height: side, width: side, numInferenceSteps: 1, outputType: 'latent' });
    for (let draws = 0; draws < 2; draws++) same.randn(images.size, 'float16');
    assert.deepEqual(generator.randn(5), same.randn(5));
    images.dispose();
    pipe.dispose();
  });

  it('keep halves when they go to a device that has none', async () => {
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device, dtype: 'float16' });
    await pipe.to('wasm');
    const before = tf.memory().numBytes;
    await pipe.generate(PROMPTS[0], { numInferenceSteps: 1 });
    assert.equal(tf.memory().numBytes, before);
    assert.ok(before < pipe.numParameters * 4);
    pipe.dispose();
    await pipe.to(device);
  });
});
