import assert from 'node:assert/strict';
import { compileRegex, RegexError } from '../../lib/core/python_regex.js';
import { loadGolden } from '../support/golden.js';

const compile = (pattern: string) => compileRegex(pattern, { steps: 1e6 });

describe('compileRegex', () => {
  it('finds what Python finds, and refuses what it refuses', () => {
    const { names, found } = loadGolden('lora/out').meta.regexes as { names: string[]; found: Record<string, boolean[] | null> };
    for (const [pattern, expected] of Object.entries(found)) {
      const whole = `(.*\\.)?(${pattern})$`;
      if (expected) assert.deepEqual(names.map(name => compile(whole)(name)), expected, pattern);
      else assert.throws(() => compile(whole), RegexError, pattern);
    }
  });

  it('takes no time for what takes Python forever', () => {
    const text = 'a'.repeat(200);
    for (const pattern of ['(a+)+b', '(a*)*b', '(a|a)*b', '(a|aa)+b', '((a*)*)*b', '(?=(a+)+b).*', '(.*)(.*)(.*)(.*)(.*)(.*)b', '((((a{0,50}){0,50}){0,50}){0,50})b']) {
      assert.equal(compile(`(${pattern})$`)(text), false, pattern);
    }
    assert.equal(compile('(a{1000000000}|b)*$')(text), false);
    assert.equal(compile('(a{,1000000000}|b)*$')(text), true);
  });

  it('stops when the budget is used up', () => {
    const budget = { steps: 1000 };
    const test = compileRegex('(.*)x?', budget);
    assert.equal(test('abc'), true);
    assert.throws(() => { for (let i = 0; i < 1000; i++) test('abc'); }, /^RegexError: takes too long to match$/);
    assert.throws(() => compileRegex('a'.repeat(100), { steps: 1000 }), /^RegexError: takes too long to match$/);
  });

  it('says what is wrong with a pattern, and where', () => {
    const cases: Array<[string, RegExp]> = [
      ['(a', /missing \), at position 2/], ['a)', /unbalanced \), at position 1/], ['[a', /unterminated character set/], ['a**', /multiple repeat/],
      ['*', /nothing to repeat/], ['(?=a)|^*', /nothing to repeat/], ['a{2,1}', /min repeat greater than max repeat/], ['\\q', /bad escape \\q/],
      ['\\', /bad escape \(end of pattern\)/], ['[z-a]', /bad character range/], ['(a)\\1', /a reference to a group is not matched here/],
      ['a*+', /a possessive quantifier is not matched here/], ['(?>a)', /a group of a kind that is not matched here/], ['(?i)a', /a group of a kind/],
      ['(?P<1>a)', /bad name of a group/], ['\\x1', /incomplete escape/], ['\\U00110000', /incomplete escape/],
      ['('.repeat(50), /groups nested over 32 deep/], ['a'.repeat(3000), /^RegexError: has 3000 characters, takes up to 2000$/],
    ];
    for (const [pattern, message] of cases) assert.throws(() => compile(pattern), message, pattern);
  });
});
