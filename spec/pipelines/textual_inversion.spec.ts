import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { encodePrompt } from '../../lib/pipelines/inputs/encode_prompt.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { writeSafetensors } from '../../lib/weights/safetensors.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { MemoryFolder } from '../support/memory_folder.js';
import { seeded, TINY } from '../support/tiny_pipeline.js';
import { captureWarnings } from '../support/warnings.js';

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

  it('from whatever holds them, called as the file says, or as it is told', async () => {
    const files: Array<[string, { token?: string }, string]> = [
      ['hat.safetensors', { token: '<hat>' }, '<hat>'], ['hat.pt', {}, 'hat'], ['hat.pt', { token: '<hat>' }, '<hat>'], ['dictionary.pt', { token: '<hat>' }, '<hat>'],
      ['dictionary.bin', {}, '<hat>'], ['stated.bin', {}, '<hat>'], ['tensor.pt', { token: '<hat>' }, '<hat>'],
    ];
    let expected: tf.TypedArray | undefined;
    for (const [file, options, token] of files) {
      const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
      await pipe.loadTextualInversion(`${FOLDER}/${file}`, options);
      assert.deepEqual(pipe.tokenizer.encode(`a ${token}`, { padding: false })[0].slice(-3, -1), [524, 525], file);
      const embeds = encodePrompt(pipe, [`a ${token}`]);
      expected ??= embeds.dataSync();
      assert.deepEqual(embeds.dataSync(), expected, file);
      embeds.dispose();
      pipe.dispose();
    }
  });

  it('which LoRA files bring along', async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    const entry = (name: string, shape: number[]) => ({ name, dtype: 'F32' as const, shape, bytes: () => new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)) });
    const chunks: Uint8Array[] = [];
    for await (const chunk of writeSafetensors([
      entry('lora_unet_conv_in.lora_down.weight', [1, 4, 3, 3]), entry('lora_unet_conv_in.lora_up.weight', [8, 1, 1, 1]),
      entry('bundle_emb.<toy>.string_to_param.*', [2, 16]), entry('bundle_emb.v1.5.string_to_param.*', [1, 16]), entry('bundle_emb.wide.string_to_param.*', [1, 24]),
      entry('bundle_emb.a.string_to_param.*', [1, 16]),
    ], {})) chunks.push(chunk);
    const warnings = await captureWarnings(() => pipe.loadLoraWeights(new MemoryFolder({ 'lora.safetensors': Buffer.concat(chunks) }), { weightName: 'lora.safetensors' }));
    assert.deepEqual(warnings.sort(), [
      "memory/lora.safetensors: its bundled word a is left out: token: got 'a' with the id 526; the tokenizer knows 'a' already",
      'memory/lora.safetensors: its bundled word wide is left out: it has the shape [1, 24]',
    ]);
    assert.deepEqual(pipe.tokenizer.encode('<toy> v1.5', { padding: false })[0].slice(1, -1), [524, 525, 526]);
    assert.equal(pipe.textEncoder.tokens, 527);
    pipe.dispose();
  });

  it('and says so when a tokenizer knows more than the text encoder', async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    pipe.tokenizer.addToken('<toy>', [pipe.textEncoder.tokens]);
    assert.throws(() => encodePrompt(pipe, ['a <toy>']), /^RangeError: tokenizer: gives the id 524, the text encoder knows 524 tokens: the two are of different models$/);
    pipe.dispose();
  });

  it('names what does not fit, and changes nothing', () => expectNoLeak(async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    await pipe.loadTextualInversion(FOLDER);
    await assert.rejects(pipe.loadTextualInversion(FOLDER), /RangeError: token: got '<Cat>' with the id 525; the tokenizer knows '<Cat>' already/);
    await assert.rejects(pipe.loadTextualInversion(`${FOLDER}/hat.safetensors`), /TypeError: .*hat\.safetensors: does not say what to call it; say it by token, as in '<cat>'/);
    await assert.rejects(pipe.loadTextualInversion(`${FOLDER}/tensor.pt`), /TypeError: .*tensor\.pt: does not say what to call it/);
    await assert.rejects(pipe.loadTextualInversion(`${FOLDER}/hat.pt`, { token: ' ' }), /TypeError: token: got ' ', takes a text, as in '<cat>'/);
    await assert.rejects(pipe.loadTextualInversion('spec/golden/weights/dtypes.safetensors'), /WeightsError: .*dtypes\.safetensors: is no textual inversion for this model: holds i64 \[3\], f64 \[33\], .* takes one tensor \[tokens, 16\]/);
    const pieces: Uint8Array[] = [];
    for await (const piece of writeSafetensors([{ name: '<many>', dtype: 'F32', shape: [1025, 16], bytes: () => new Uint8Array(4 * 1025 * 16) }], {})) pieces.push(piece);
    const many = new MemoryFolder({ 'learned_embeds.safetensors': Buffer.concat(pieces) });
    await assert.rejects(pipe.loadTextualInversion(many), /WeightsError: .*: is a word of 1025 embeddings, takes up to 1024$/);
    await assert.rejects(pipe.loadTextualInversion('spec'), /spec: has no learned_embeds\.safetensors or learned_embeds\.bin; say which file it is by weightName/);
    assert.equal(pipe.textEncoder.tokens, 525);
    pipe.dispose();
    return [];
  }));
});
