import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Generator, randn } from '../../lib/core/random.js';
import { Linear } from '../../lib/layers/linear.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import type { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { describeOnDevices } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { graphsLeft } from '../support/native.js';
import { seeded, TINY } from '../support/tiny_pipeline.js';
import { captureWarnings } from '../support/warnings.js';

/** Of the same ops, which a graph may fuse, and then rounds less often: bfloat16 is as far from float32 in both ways. */
const TOLERANCES = { float32: { atol: 1e-5, rtol: 1e-5 }, float16: { atol: 1e-2, rtol: 1e-2 }, bfloat16: { atol: 8e-2, rtol: 3e-2 } };

/** Disposes it when nothing is compiled any more: what is would give its graphs back later. */
async function finish(pipe: StableDiffusionPipeline): Promise<void> {
  for (const network of [pipe.textEncoder, pipe.unet, pipe.vae]) await network.compiled();
  pipe.dispose();
}

describeOnDevices('a compiled pipeline', device => {
  it('makes the same pictures, also at another size, and frees its graphs', async () => {
    const before = tf.memory().numTensors;
    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device });
    const draw = async (size: number) => {
      const { images } = await pipe.generate('a red circle on a blue background', {
        numInferenceSteps: 3, height: size, width: 64, generator: new Generator().manualSeed(1),
      });
      return images[0].data;
    };
    const expected = [await draw(64), await draw(48)];
    const warnings = await captureWarnings(() => pipe.compile());
    assert.equal(warnings.length, device === 'wasm' ? 1 : 0);
    for (const compiled of [[await draw(64), await draw(48)], [await draw(64), await draw(48)]]) {
      compiled.forEach((bytes, i) => assert.ok(bytes.every((byte, k) => Math.abs(byte - expected[i][k]) <= 1)));
    }
    await finish(pipe);
    assert.equal(tf.memory().numTensors, before);
  });

  if (device === 'wasm') return; // has no graphs

  for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
    it(`gives what it gave op by op, whatever the shape, in ${dtype}`, async () => {
      const pipe = await DiffusionPipeline.fromPretrained(TINY, { device, dtype });
      const runs = [[1, 2, 3], [2, 4, 2], [1, 2, 3]].map(([batch, height, width], run) => tf.tidy(() => {
        const [sample, encoderHiddenStates] = [[batch, 2 * height, 2 * width, 4], [batch, 5 + run, pipe.unet.config.cross_attention_dim as number]]
          .map((shape, i) => tf.keep(randn(shape, seeded(run + i))));
        return { sample, timestep: 100 * run, encoderHiddenStates };
      }));
      const forward = () => runs.map(({ sample, timestep, encoderHiddenStates }) => pipe.unet.forward(sample, timestep, { encoderHiddenStates }));
      const expected = forward();
      pipe.compile();
      for (const actual of [forward(), forward()]) { // recorded, then called
        actual.forEach((out, i) => expectClose(out, { shape: expected[i].shape, data: expected[i].dataSync() }, TOLERANCES[dtype]));
        tf.dispose(actual);
      }
      tf.dispose([expected, runs.map(({ sample, encoderHiddenStates }) => [sample, encoderHiddenStates])]);
      await finish(pipe);
    });
  }

  it('takes its graphs along when it is disposed', async () => {
    let pipe: StableDiffusionPipeline;
    assert.equal(await graphsLeft(async () => {
      pipe = await DiffusionPipeline.fromPretrained(TINY, { device });
      pipe.compile({ xla: false }); // which has functions of its own
      for (const height of [16, 32]) await pipe.generate('a cat', { numInferenceSteps: 1, height });
    }), 5); // the text encoder, and UNet and VAE at two sizes
    assert.equal(await graphsLeft(async () => pipe.dispose()), -5);
  });

  it('says that a layer reads values, leaves nothing of the attempt, and runs when it no longer does', async () => {
    const pipe = await DiffusionPipeline.fromPretrained(TINY, { device });
    pipe.compile();
    const draw = () => pipe.generate('a cat', { numInferenceSteps: 1, generator: seeded(0), outputType: 'latent' });
    const layer = [...pipe.unet.descendants()].find(block => block instanceof Linear)!;
    const { forward } = layer;
    layer.forward = x => {
      const y = forward.call(layer, x);
      y.dataSync();
      return y;
    };
    const before = tf.memory().numTensors;
    await assert.rejects(draw(), { message: 'compile: the network reads a value of a tensor, which a graph cannot do' });
    assert.equal(tf.memory().numTensors, before);
    Reflect.deleteProperty(layer, 'forward');
    (await draw()).images.dispose();
    pipe.dispose();
  });
});
