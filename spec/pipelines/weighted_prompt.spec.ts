import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { parsePromptWeights } from '../../lib/pipelines/prompt_weights.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { encodeWeightedPrompt } from '../../lib/pipelines/weighted_prompt.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { seeded, TINY } from '../support/tiny_pipeline.js';

const close = { atol: 5e-4, rtol: 5e-4 };

describe('parsePromptWeights', () => {
  const cases: Array<[string, Array<[string, number]>]> = [
    ['', []],
    ['a red star', [['a red star', 1]]],
    ['a (red:1.3) star', [['a ', 1], ['red', 1.3], [' star', 1]]],
    ['a (red) [star]', [['a ', 1], ['red', 1.1], [' ', 1], ['star', 1 / 1.1]]],
    ['((red))', [['red', 1.1 * 1.1]]],
    ['(a (red:2) star:0.5)', [['a ', 0.5], ['red', 1], [' star', 0.5]]],
    ['(red, blue: .5 )', [['red, blue', 0.5]]],
    ['(red:-1)', [['red', -1]]],
    ['at 5:30, ratio 2:1', [['at 5:30, ratio 2:1', 1]]],
    ['\\(red\\) \\[b\\] \\\\ \\n', [['(red) [b] \\ n', 1]]],
    ['a smile \\:D', [['a smile :D', 1]]],
    ['(red\\:1.5)', [['red', 1.5]]],
    ['(a:2)\\(b:2)', [['a', 2], ['(b:2)', 1]]],
    ['(a:2)\\x(b:2)', [['a', 2], ['x', 1], ['b', 2]]],
    ['(a:2)\\', [['a', 2]]],
    ['\\\\\\', [['\\', 1]]],
    ['\\', []],
    ['(open', [['open', 1.1]]],
    ['[open (both', [['open ', 1 / 1.1], ['both', 1.1 / 1.1]]],
    ['closed) red:1.5) x]', [['closed) red:1.5) x]', 1]]],
    ['()', []],
  ];
  for (const [prompt, expected] of cases) {
    it(JSON.stringify(prompt), () => {
      const pieces = parsePromptWeights(prompt);
      assert.deepEqual(pieces.map(({ text }) => text), expected.map(([text]) => text));
      pieces.forEach(({ weight }, i) => assert.ok(Math.abs(weight - expected[i][1]) < 1e-12, `${weight}`));
    });
  }
});

describeOnDevices('encodeWeightedPrompt', device => {
  const { tensors, meta } = loadGolden('pipelines/weighted_prompt');
  let pipe: StableDiffusionPipeline;
  before(async () => { pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device }); });
  after(() => pipe.dispose());

  for (const [name, pieces] of Object.entries(meta.prompts as Record<string, Array<[string, number]>>)) {
    it(`equals torch: ${name}`, () => expectNoLeak(() => {
      const prompt = pieces.map(([text, weight]) => weight === 1 ? text : `(${text}:${weight})`).join('');
      const embeds = encodeWeightedPrompt(pipe, prompt);
      expectClose(embeds.promptEmbeds, tensors[name], close);
      assert.deepEqual(embeds.negativePromptEmbeds.shape, embeds.promptEmbeds.shape);
      return { ...embeds };
    }));
  }

  it('takes lists, and gives all prompts as many chunks as the longest needs', () => expectNoLeak(() => {
    const long = 'a red star '.repeat(30);
    const embeds = encodeWeightedPrompt(pipe, ['a', long], { negativePrompt: ['(b:2)', ''], clipSkip: 1 });
    const [prompts, tokens] = embeds.promptEmbeds.shape;
    assert.equal(prompts, 2);
    assert.ok(tokens! > 77 && tokens! % 77 === 0);
    assert.deepEqual(embeds.negativePromptEmbeds.shape, embeds.promptEmbeds.shape);
    assert.throws(() => encodeWeightedPrompt(pipe, ['a', 'b'], { negativePrompt: ['c'] }), /negativePrompt: got a list of 1, takes a text, or a list of 2/);
    return { ...embeds };
  }));

  it('begins a chunk at the word BREAK', () => expectNoLeak(() => {
    const encode = (text: string) => {
      const { promptEmbeds, negativePromptEmbeds } = encodeWeightedPrompt(pipe, text);
      negativePromptEmbeds.dispose();
      return promptEmbeds;
    };
    const [both, first, second] = ['a red BREAK star', 'a red', 'star'].map(encode);
    const apart = tf.concat([first, second], 1);
    expectClose(both, { shape: apart.shape, data: apart.dataSync() }, close);
    for (const [prompt, chunks] of [['BREAK', 2], ['a (red BREAK star:1.5) BREAK', 3], ['a BREAKFAST', 1], ['(BREAK:2)', 2]] as const) {
      const embeds = encode(prompt);
      assert.equal(embeds.shape[1], 77 * chunks, prompt);
      embeds.dispose();
    }
    assert.throws(() => encode('BREAK '.repeat(32)), /^RangeError: prompt: got 33 chunks of 77 tokens, takes up to 32$/);
    return [both, first, second, apart];
  }));

  it('is what generate takes', () => expectNoLeak(async () => {
    const options = { numInferenceSteps: 2, outputType: 'latent' } as const;
    const embeds = encodeWeightedPrompt(pipe, 'a red star', { negativePrompt: 'a tree', clipSkip: 1 });
    const { images } = await pipe.generate(undefined, { ...options, ...embeds, generator: seeded(0) });
    const plain = await pipe.generate('a red star', { ...options, negativePrompt: 'a tree', clipSkip: 1, generator: seeded(0) });
    expectClose(images, { shape: images.shape, data: plain.images.dataSync() });
    const long = encodeWeightedPrompt(pipe, 'a (red:1.2) star '.repeat(12));
    const other = await pipe.generate(undefined, { ...options, ...long });
    assert.deepEqual(other.images.shape, images.shape);
    tf.dispose([images, plain.images, other.images, { ...embeds }, { ...long }]);
    return [];
  }));
});
