import assert from 'node:assert/strict';
import { toIds } from '../../lib/pipelines/inputs/encode_prompt.js';
import { CLIPTokenizer } from '../../lib/tokenizer/clip_tokenizer.js';
import { readClipMerges } from '../../lib/checkpoints/clip_merges.js';
import { clipVocabulary } from '../../lib/checkpoints/clip_vocabulary.js';
import { loadGolden } from '../support/golden.js';
import { MemoryFolder } from '../support/memory_folder.js';

interface Reference {
  bos: number; eos: number; pad: number; modelMaxLength: number; ids: number[][]; decoded: string[];
}

/** Python's idea of white space at the ends differs from JavaScript's by some control characters. */
function strip(text: string): string {
  const blank = (char: string) => char <= ' ' || '\u0085\ufeff'.includes(char) || char.trim() === '';
  const chars = [...text];
  const from = chars.findIndex(char => !blank(char));
  return from < 0 ? '' : chars.slice(from, chars.findLastIndex(char => !blank(char)) + 1).join('');
}

const { merges, vocab } = clipVocabulary(await readClipMerges());

describe('CLIPTokenizer', () => {
  const { meta } = loadGolden('tokenizer/clip');
  const prompts: string[] = meta.prompts;

  function check(tokenizer: CLIPTokenizer, texts: string[], reference: Reference): void {
    const { bos, eos, pad, modelMaxLength } = reference;
    assert.deepEqual([tokenizer.bosTokenId, tokenizer.eosTokenId, tokenizer.padTokenId, tokenizer.modelMaxLength], [bos, eos, pad, modelMaxLength]);
    for (const [i, text] of texts.entries()) {
      const ids = reference.ids[i];
      assert.deepEqual(tokenizer.encode(text, { padding: false, truncation: false }), [[bos, ...ids, eos]], JSON.stringify(text));
      const [padded] = tokenizer.encode(text);
      assert.deepEqual(padded, [bos, ...ids.slice(0, 75), eos, ...new Array(Math.max(0, 75 - ids.length)).fill(pad)]);
      assert.equal(strip(tokenizer.decode(ids)), strip(reference.decoded[i]));
    }
  }

  it('has the real vocabulary to compare with, and prompts enough', () => {
    assert.equal(Object.keys(vocab).length, 49408);
    assert.ok(prompts.length >= 200);
  });

  for (const [name, { files, extra, ...reference }] of Object.entries<any>(meta.folders)) { // eslint-disable-line @typescript-eslint/no-explicit-any -- a golden's
    it(`gives the ids of transformers for the files of '${name}'`, async () => {
      const texts = Object.fromEntries(Object.entries(files).map(([file, content]) => [file, JSON.stringify(content)]));
      const tokenizer = await CLIPTokenizer.fromPretrained(new MemoryFolder({ 'vocab.json': JSON.stringify(vocab), 'merges.txt': merges, ...texts }));
      check(tokenizer, reference.ids.length === prompts.length ? prompts : meta.extra, reference);
      check(tokenizer, meta.extra, extra);
    });
  }

  it('gives an added token the same place whether it comes from files or is learned', () => {
    const files = CLIPTokenizer.fromFiles({ vocab, merges, addedTokens: { '<cat-toy>': 49408 } });
    const learned = CLIPTokenizer.fromFiles({ vocab, merges });
    learned.addToken('<cat-toy>', [49408]);
    for (const tokenizer of [files, learned]) {
      assert.deepEqual(tokenizer.encode('a <cat-toy> backpack', { padding: false }), [[49406, 320, 49408, 14894, 49407]]);
      assert.equal(tokenizer.decode([320, 49408, 14894]), 'a <cat-toy>backpack');
      assert.throws(() => tokenizer.addToken('<cat-toy>', [49409]), /^RangeError: token: got '<cat-toy>' with the id 49409; the tokenizer knows '<cat-toy>' already$/);
      assert.throws(() => tokenizer.addToken('<b>', [49408]), /the tokenizer knows '<cat-toy>' already$/);
      assert.throws(() => tokenizer.addToken('<b>', [2368]), /the tokenizer knows 'cat<\/w>' already$/);
    }
  });

  it('encodes several texts, to any length', () => {
    const tokenizer = CLIPTokenizer.fromFiles({ vocab, merges });
    assert.deepEqual(tokenizer.encode(['a cat', 'a'], { maxLength: 5 }), [[49406, 320, 2368, 49407, 49407], [49406, 320, 49407, 49407, 49407]]);
    assert.deepEqual(tokenizer.encode(['a cat and a dog'], { maxLength: 4 }), [[49406, 320, 2368, 49407]]);
    assert.deepEqual(tokenizer.encode([]), []);
  });

  it('names what is cut off', () => {
    const tokenizer = CLIPTokenizer.fromFiles({ vocab, merges });
    assert.equal(tokenizer.truncatedText('word '.repeat(75)), '');
    assert.equal(tokenizer.truncatedText(`${'word '.repeat(75)} a red FOX`), 'a red fox');
    assert.equal(tokenizer.truncatedText('a cat and a dog', 5), 'a dog');
  });

  it('is asked once for the ids of a text that is too long, and of what is cut', () => {
    const tokenizer = CLIPTokenizer.fromFiles({ vocab, merges });
    const text = `${'word '.repeat(75)} a red FOX`;
    const asked: string[] = [];
    const counted = new Proxy(tokenizer, {
      get: (target, name: keyof CLIPTokenizer) => {
        const value = target[name];
        return typeof value !== 'function' ? value : (...args: unknown[]) => {
          asked.push(name);
          return (value as (...args: unknown[]) => unknown).apply(target, args);
        };
      },
    });
    const { warn } = console;
    const warned: string[] = [];
    console.warn = line => { warned.push(String(line)); };
    try {
      assert.deepEqual(toIds(counted, [text]), tokenizer.encode([text]));
    } finally {
      console.warn = warn;
    }
    assert.match(warned.join(), /it does not see 'a red fox'$/);
    assert.deepEqual(asked, ['encode', 'decode']);
  });

  const refuses: Array<[string, () => unknown, RegExp]> = [
    ['a vocabulary that is a list', () => CLIPTokenizer.fromFiles({ vocab: [], merges }), /^TypeError: vocab\.json: got \[\], takes an object of ids by token$/],
    ['an id that is no number', () => CLIPTokenizer.fromFiles({ vocab: { a: 'b' }, merges }), /token 'a' has the id 'b'/],
    ['an id far away', () => CLIPTokenizer.fromFiles({ vocab: { a: 4e9 }, merges }), /token 'a' has the id 4000000000, takes a whole number below 1000000/],
    ['a merge of three', () => CLIPTokenizer.fromFiles({ vocab, merges: 'a b c' }), /^TypeError: merges: got 'a b c', takes two tokens$/],
    ['a tokenizer.json without a model', () => CLIPTokenizer.fromFiles({ tokenizerJson: {} }), /^TypeError: tokenizer\.json: takes an object with a model$/],
    ['a tokenizer.json without merges', () => CLIPTokenizer.fromFiles({ tokenizerJson: { model: { vocab } } }), /model\.merges takes a list/],
    ['a special token that is a number', () => CLIPTokenizer.fromFiles({ vocab, merges }, { pad_token: 3 }), /^TypeError: tokenizer: pad_token is 3, takes a text, or an object of content and flags$/],
    ['an added token without content', () => CLIPTokenizer.fromFiles({ vocab, merges }, { added_tokens_decoder: { 49408: {} } }), /^TypeError: tokenizer: added_tokens_decoder is \[object Object\], takes a text/],
    ['a flag that is none', () => CLIPTokenizer.fromFiles({ vocab, merges }, { added_tokens_decoder: { 49408: { content: 'a', lstrip: 1 } } }), /takes a text, or an object of content and flags$/],
    ['an added token far away', () => CLIPTokenizer.fromFiles({ vocab, merges, addedTokens: { '<a>': 1e9 } }), /^TypeError: tokenizer: a token of added_tokens has the id 1000000000, takes a whole number below 1000000$/],
    ['added tokens as a list', () => CLIPTokenizer.fromFiles({ vocab, merges, addedTokens: [] }), /^TypeError: added_tokens\.json: got \[\], takes an object of ids by token$/],
    ['special tokens as a list', () => CLIPTokenizer.fromFiles({ vocab, merges, specialTokensMap: [] }), /^TypeError: special_tokens_map\.json: got \[\], takes an object$/],
    ['endless added tokens', () => CLIPTokenizer.fromFiles({ vocab, merges, addedTokens: { ['a'.repeat(2e6)]: 49408 } }), /^RangeError: tokenizer: its added tokens have over 1000000 characters$/],
    ['a config that is a list', () => CLIPTokenizer.fromFiles({ vocab, merges }, []), /^TypeError: tokenizer_config\.json: got \[\], takes an object$/],
    ['a text that is none', () => CLIPTokenizer.fromFiles({ vocab, merges }).encode([1 as unknown as string]), /^TypeError: text: got 1, takes a string$/],
    ['no room', () => CLIPTokenizer.fromFiles({ vocab, merges }).encode('a', { maxLength: 1 }), /^RangeError: maxLength: got 1, takes a whole number, 2 or more$/],
  ];
  for (const [title, work, message] of refuses) {
    it(`refuses ${title}`, () => assert.throws(work, message));
  }
});
