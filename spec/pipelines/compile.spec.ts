import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Generator } from '../../lib/core/random.js';
import { DiffusionPipeline } from '../../lib/pipelines/diffusion_pipeline.js';
import { describeOnDevices } from '../support/backends.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { captureWarnings } from '../support/warnings.js';

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
    pipe.dispose();
    assert.equal(tf.memory().numTensors, before);
  });
});
