import assert from 'node:assert/strict';
import { parseTextualInversion } from '../../lib/adapters/textual_inversion.js';
import type { StateDict } from '../../lib/loading/state_dict.js';
import { captureWarnings } from '../support/warnings.js';

const file = (shapes: Record<string, number[]>): StateDict => ({
  name: 'word.safetensors', metadata: {},
  tensors: new Map(Object.entries(shapes).map(([key, shape]) => [key, { shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) }])),
});

describe('A learned word of Stable Diffusion 3', () => {
  it('is that of the CLIPs, without what T5 would have learned, which is said', async () => {
    const warnings = await captureWarnings(() => {
      const { token, embeddings } = parseTextualInversion(file({ clip_l: [2, 8], clip_g: [2, 12], t5xxl: [2, 24] }), [8, 12], '<cat>');
      assert.deepEqual([token, embeddings.map(each => each?.shape)], ['<cat>', [[2, 8], [2, 12]]]);
    });
    assert.deepEqual(warnings, ["word.safetensors: leaves out what is for T5 (t5xxl), which learns no words; CLIP's text encoders do"]);
  });

  it('for T5 alone is refused by one line', () => {
    assert.throws(() => parseTextualInversion(file({ t5xxl: [2, 24] }), [8, 12], '<cat>'),
      /^WeightsError: word\.safetensors: is a word for T5 \(t5xxl\) alone, which learns none; takes one for CLIP$/);
  });
});
