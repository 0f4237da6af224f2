import assert from 'node:assert/strict';
import { readPeftSettings } from '../../lib/adapters/peft_settings.js';

describe('readPeftSettings', () => {
  it('takes the first pattern that fits the module as a whole, or behind a dot', () => {
    const settings = readPeftSettings('config', {
      r: 4, lora_alpha: 8, rank_pattern: { 'to_q': 2, '^mid.*': 3 }, alpha_pattern: { 'attn1\\.to_[qk]': 16, 'to_q': 1, '(?!up).*conv\\d': 5 },
    });
    const cases: Array<[string, number, number]> = [
      ['down.attn1.to_q', 2, 16], ['down.attn1.to_k', 4, 16], ['attn2.to_q', 2, 1], ['mid.attn2.to_q', 2, 1], ['mid.attn2.to_v', 3, 8],
      ['down.conv1', 4, 5], ['up.conv1', 4, 5], ['up.conv12', 4, 8], ['down.xattn1.to_k', 4, 8],
    ];
    const broken = readPeftSettings('config', { alpha_pattern: { 'a)|(b': 2 } }); // (.*\\.)?(a)|(b)$
    assert.deepEqual(['ax', 'x.ax', 'b', 'x.b'].map(module => broken('unet', [module]).alpha), [2, 2, 2, undefined]);
    for (const [module, rank, alpha] of cases) assert.deepEqual(settings('unet', [module]), { rank, alpha, rankStabilized: false }, module);
  });

  it('knows networks by the beginning of its keys, and the names of LoHa and LoKr', () => {
    const settings = readPeftSettings('config', { 'unet.r': 2, 'unet.lora_alpha': 4, 'text_encoder.alpha': 1, 'text_encoder.use_rslora': true, 'unet.alpha_pattern': null });
    assert.deepEqual(settings('unet', ['a']), { rank: 2, alpha: 4, rankStabilized: false });
    assert.deepEqual(settings('text_encoder', ['a', 'text_model.a']), { rank: undefined, alpha: 1, rankStabilized: true });
  });

  it('names what is wrong', () => {
    const cases: Array<[unknown, RegExp]> = [
      [[], /^WeightsError: config: takes an object$/],
      [{ r: '4' }, /^WeightsError: config: r: got '4', takes a number$/],
      [{ alpha_pattern: { a: null } }, /^WeightsError: config: alpha_pattern: got null, takes a number$/],
      [{ alpha_pattern: ['a'] }, /^WeightsError: config: alpha_pattern: got \[a\], takes an object of numbers$/],
      [{ rank_pattern: { 'a(': 1 } }, /^WeightsError: config: rank_pattern: 'a\(': missing \), at position \d+$/],
      [{ rank_pattern: { '(a)\\1': 1 } }, /^WeightsError: config: rank_pattern: '\(a\)\\1': a reference to a group is not matched here/],
    ];
    for (const [config, message] of cases) assert.throws(() => readPeftSettings('config', config)('unet', ['a']), message);
  });

  it('gives up on patterns that would keep it busy', () => {
    const patterns = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`${'(.*)'.repeat(200)}${i}`, 1]));
    const settings = readPeftSettings('config', { alpha_pattern: patterns });
    assert.throws(() => settings('unet', ['down_blocks.x'.repeat(100)]), /^WeightsError: config: alpha_pattern: .*takes too long to match$/);
  });
});
