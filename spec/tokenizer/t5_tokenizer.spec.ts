import assert from 'node:assert/strict';
import { T5Tokenizer } from '../../lib/tokenizer/t5_tokenizer.js';
import { loadGolden } from '../support/golden.js';
import { MemoryFolder } from '../support/memory_folder.js';
import { processorTime } from '../support/processor_time.js';

interface Reference {
  files: Record<string, unknown>; texts: string[]; eos: number; pad: number; unk: number; ids: number[][]; decoded: string[];
}

const { meta } = loadGolden('tokenizer/t5');
const { tokenizerJson } = meta;
const small = { model: { type: 'Unigram', unk_id: 2, vocab: [['<pad>', 0], ['</s>', 0], ['<unk>', 0], ['\u2581', -1], ['a', -2], ['\u2581a', -2], ['aa', -3]] } };

/** A charsmap of these nodes of its trie and these texts, in base64. */
function charsMap(nodes: number[], texts: string): string {
  return Buffer.concat([Buffer.from(Uint32Array.of(4 * nodes.length, ...nodes).buffer), Buffer.from(texts)]).toString('base64');
}

/** Of one key, `a`, which becomes the texts up to a NUL. */
function replacing(texts: string): string {
  const [letter, below] = [0x61, 0x62];
  const nodes = new Array<number>(256).fill(0);
  nodes[letter] = letter | 0x100 | (letter ^ below) << 10;
  nodes[below] = 0x80000000;
  return charsMap(nodes.map(node => node >>> 0), texts);
}

describe('T5Tokenizer', () => {
  function check(tokenizer: T5Tokenizer, { texts, ids, decoded, eos, pad, unk }: Reference): void {
    assert.deepEqual([tokenizer.eosTokenId, tokenizer.padTokenId, tokenizer.unkTokenId, tokenizer.modelMaxLength], [eos, pad, unk, 512]);
    for (const [i, text] of texts.entries()) {
      assert.deepEqual(tokenizer.encode(text, { padding: false, truncation: false }), [ids[i]], JSON.stringify(text));
      const cut = ids[i].length > 77 ? [...ids[i].slice(0, 76), eos] : [...ids[i], ...new Array<number>(77 - ids[i].length).fill(pad)];
      assert.deepEqual(tokenizer.encode(text, { maxLength: 77 }), [cut]);
      assert.equal(tokenizer.decode(ids[i]), decoded[i]);
    }
  }

  for (const [name, reference] of Object.entries<Reference>(meta.folders)) {
    it(`gives the ids and texts of transformers for the files of '${name}', and once it is written down again`, async () => {
      const texts = Object.entries({ ...reference.files, 'tokenizer.json': tokenizerJson }).map(([file, content]) => [file, JSON.stringify(content)]);
      const tokenizer = await T5Tokenizer.fromPretrained(new MemoryFolder(Object.fromEntries(texts)));
      check(tokenizer, reference);
      const files = tokenizer.toFiles();
      const again = await T5Tokenizer.fromPretrained(new MemoryFolder(files));
      check(again, reference);
      assert.deepEqual(again.toFiles(), files);
    });
  }

  it('encodes several texts, to any length', () => {
    const tokenizer = T5Tokenizer.fromFiles({ tokenizerJson: small });
    assert.deepEqual(tokenizer.encode(['a', 'aaa b'], { maxLength: 4 }), [[5, 1, 0, 0], [5, 6, 3, 1]]);
    assert.deepEqual(tokenizer.encode('a', { maxLength: 1 }), [[1]]);
    assert.deepEqual(tokenizer.encode('a'), [[5, 1, ...new Array(510).fill(0)]]);
    assert.deepEqual(tokenizer.encode([]), []);
    assert.deepEqual(tokenizer.encode('\ud83d a', { padding: false }), [[3, 2, 5, 1]], 'half a character is an unknown one');
  });

  it('names what is cut off', () => {
    const tokenizer = T5Tokenizer.fromFiles({ tokenizerJson });
    assert.equal(tokenizer.truncatedText('the '.repeat(511)), '');
    assert.equal(tokenizer.truncatedText(`${'the '.repeat(511)} a red fox`), 'a red fox');
    assert.equal(tokenizer.truncatedText('the the the end', 4), 'end');
  });

  it('takes a time that grows with the text and no faster', () => {
    const tokenizer = T5Tokenizer.fromFiles({ tokenizerJson });
    for (const part of ['a', ' the', '\u2581', '\u732b', '\u0301', '\u{1f431}\u200d', '<extra_id_']) {
      assert.ok(processorTime(() => void tokenizer.encode(part.repeat(2e5 / part.length))) < 5000, JSON.stringify(part));
    }
  });

  it('says what to do with a folder of a spiece.model alone', async () => {
    await assert.rejects(T5Tokenizer.fromPretrained(new MemoryFolder({ 'spiece.model': 'x' })),
      /^ModelFileError: memory\/tokenizer\.json: there is no such file, and spiece\.model is not read: let transformers make one of it, AutoTokenizer\.from_pretrained\(/);
    await assert.rejects(T5Tokenizer.fromPretrained(new MemoryFolder({})), /^ModelFileError: memory\/tokenizer\.json: there is no such file$/);
  });

  const withModel = (model: object) => () => T5Tokenizer.fromFiles({ tokenizerJson: { model: { ...small.model, ...model } } });
  const withMap = (map: unknown) => () => T5Tokenizer.fromFiles({ tokenizerJson: { ...small, normalizer: { type: 'Precompiled', precompiled_charsmap: map } } }).encode('a');
  const refuses: Array<[string, () => unknown, RegExp]> = [
    ['a tokenizer.json without a model', () => T5Tokenizer.fromFiles({ tokenizerJson: [] }), /^TypeError: tokenizer\.json: takes an object with a model$/],
    ['another model', withModel({ type: 'BPE' }), /^RangeError: tokenizer\.json: model\.type: got 'BPE', takes 'Unigram'$/],
    ['another unknown token', withModel({ unk_id: 0 }), /^RangeError: tokenizer\.json: model\.unk_id: got 0, takes 2$/],
    ['a vocabulary by token', withModel({ vocab: { a: 1 } }), /^TypeError: tokenizer\.json: model\.vocab is \[object Object\], takes a list of tokens and scores$/],
    ['a vocabulary of too few', withModel({ vocab: [['a', 0]] }), /^RangeError: tokenizer\.json: model\.vocab has 1 tokens, takes 3 or more$/],
    ['a token without a score', withModel({ vocab: [['a', 0], ['b']] }), /^TypeError: tokenizer\.json: model\.vocab has \[b\], takes a token and its score$/],
    ['an infinite score', withModel({ vocab: [['a', Infinity]] }), /model\.vocab has \[a, Infinity\], takes a token and its score$/],
    ['an endless token', withModel({ vocab: [...small.model.vocab, ['a'.repeat(513), 0]] }), /^RangeError: tokenizer\.json: token 'aaa.*\.\.\. has over 512 characters$/],
    ['endless tokens', withModel({ vocab: Array.from({ length: 9000 }, (_, i) => [String(i).repeat(128), 0]) }), /^RangeError: tokenizer\.json: its tokens have over 4000000 characters$/],
    ['a map that is a number', withMap(3), /^TypeError: tokenizer\.json: precompiled_charsmap is 3, takes a text$/],
    ['a map that is no base64', withMap('!'), /^TypeError: tokenizer\.json: precompiled_charsmap is no base64$/],
    ['a map that is cut off', withMap(Buffer.from([4, 0, 0, 0, 1]).toString('base64')), /^TypeError: tokenizer\.json: precompiled_charsmap is 5 bytes, whose first four do not give the size of a trie$/],
    ['a map that makes texts endless', withMap(replacing('b'.repeat(65))), /^RangeError: tokenizer\.json: precompiled_charsmap replaces a character by over 64 bytes$/],
    ['endless sentinels', () => T5Tokenizer.fromFiles({ tokenizerJson: small }, { extra_ids: 1e9 }), /^RangeError: tokenizer_config\.json: extra_ids: got 1000000000, takes a whole number, from 0 to 10000$/],
    ['a config that is a list', () => T5Tokenizer.fromFiles({ tokenizerJson: small }, []), /^TypeError: tokenizer_config\.json: got \[\], takes an object$/],
    ['special tokens as a list', () => T5Tokenizer.fromFiles({ tokenizerJson: small, specialTokensMap: [] }), /^TypeError: special_tokens_map\.json: got \[\], takes an object$/],
    ['a text that is none', () => T5Tokenizer.fromFiles({ tokenizerJson: small }).encode([1 as unknown as string]), /^TypeError: text: got 1, takes a string$/],
    ['no room', () => T5Tokenizer.fromFiles({ tokenizerJson: small }).encode('a', { maxLength: 0 }), /^RangeError: maxLength: got 0, takes a whole number, 1 or more$/],
  ];
  for (const [title, work, message] of refuses) {
    it(`refuses ${title}`, () => assert.throws(work, message));
  }

  it('follows a map of any texts to the end of each', () => {
    const tokenizerOf = (map: string) => T5Tokenizer.fromFiles({ tokenizerJson: { ...small, normalizer: { type: 'Precompiled', precompiled_charsmap: map } } });
    assert.deepEqual(tokenizerOf(replacing(' a\0b')).encode('a', { padding: false }), [[5, 1]]);
    assert.deepEqual(tokenizerOf(replacing('')).encode('a', { padding: false }), [[1]]);
    assert.deepEqual(tokenizerOf(charsMap([], '')).encode('a', { padding: false }), [[5, 1]]);
  });
});
