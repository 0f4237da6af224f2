import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { encodePrompt } from '../../lib/pipelines/encode_prompt.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { seeded, TINY } from '../support/tiny_pipeline.js';

const FOLDER = 'spec/golden/textual_inversion';
const close = { atol: 5e-4, rtol: 5e-4 };

describeOnDevices('Textual inversion equals diffusers', device => {
  const { tensors, meta } = loadGolden('textual_inversion/out');

  it('from files of diffusers and of others, pickled or not', () => expectNoLeak(async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    const count = tf.memory().numTensors;
    await pipe.loadTextualInversion(FOLDER);
    await pipe.loadTextualInversion(FOLDER, { weightName: 'toy.bin' });
    await pipe.loadTextualInversion(`${FOLDER}/hat.safetensors`, { token: '<hat>' });
    assert.equal(tf.memory().numTensors, count);
    for (const [i, prompt] of (meta.prompts as string[]).entries()) {
      assert.deepEqual(pipe.tokenizer.encode(prompt), [meta.ids[i]]);
      const embeds = encodePrompt(pipe, [prompt]);
      expectClose(embeds, tensors[`${i}/embeds`], close);
      embeds.dispose();
    }
    const { images } = await pipe.generate(meta.prompts[0], { numInferenceSteps: 2, generator: seeded(0), outputType: 'latent' });
    expectClose(images, tensors.out, close);
    pipe.dispose();
    return images;
  }));

  it('from A1111\'s pickles', async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    await pipe.loadTextualInversion(FOLDER, { weightName: 'hat.pt', token: '<hat>' });
    const safetensors = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    await safetensors.loadTextualInversion(FOLDER, { weightName: 'hat.safetensors', token: '<hat>' });
    const [one, two] = [pipe, safetensors].map(each => encodePrompt(each, ['a <hat>']));
    assert.deepEqual(one.dataSync(), two.dataSync());
    tf.dispose([one, two]);
    pipe.dispose();
    safetensors.dispose();
  });

  it('names what does not fit, and changes nothing', () => expectNoLeak(async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    await pipe.loadTextualInversion(FOLDER);
    await assert.rejects(pipe.loadTextualInversion(FOLDER), /RangeError: token: got '<Cat>' with the id 525; the tokenizer knows '<Cat>' already/);
    await assert.rejects(pipe.loadTextualInversion(`${FOLDER}/hat.pt`), /TypeError: .*hat\.pt: does not say what to call it; say it by token, as in '<cat>'/);
    await assert.rejects(pipe.loadTextualInversion(`${FOLDER}/hat.pt`, { token: ' ' }), /TypeError: token: got ' ', takes a text, as in '<cat>'/);
    await assert.rejects(pipe.loadTextualInversion(`${FOLDER}/out.safetensors`), /WeightsError: .*out\.safetensors: is no textual inversion for this model: holds 0\/embeds \[1, 77, 16\], .* takes one tensor \[tokens, 16\]/);
    await assert.rejects(pipe.loadTextualInversion('spec'), /spec: has no learned_embeds\.safetensors or learned_embeds\.bin; say which file it is by weightName/);
    assert.equal(pipe.textEncoder.tokens, 525);
    pipe.dispose();
    return [];
  }));
});
