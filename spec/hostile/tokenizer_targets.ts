import { CLIPTokenizer } from '../../lib/tokenizer/clip_tokenizer.js';
import { T5Tokenizer } from '../../lib/tokenizer/t5_tokenizer.js';
import { readSafetensors } from '../../lib/weights/safetensors.js';
import { MemoryFolder } from '../support/memory_folder.js';
import { golden, json, parse, text, type Target } from './target.js';

export const vocab = { a: 0, b: 1, ab: 2, 'c</w>': 3, 'abc</w>': 4, '<|startoftext|>': 5, '<|endoftext|>': 6 };
export const merges = '#version: 0.2\na b\nab c</w>\n';
const token = { content: '<|endoftext|>', lstrip: false, normalized: true, rstrip: false, single_word: false };
const special = { bos_token: { ...token, content: '<|startoftext|>' }, eos_token: token, unk_token: token, pad_token: '<|endoftext|>' };

/** T5's, of which a small vocabulary, and its map with little of it: what is spoilt is to be met. */
function t5Targets(): Target[] {
  const { tokenizerJson: whole, folders } = JSON.parse(readSafetensors(golden('tokenizer/t5.safetensors.gz')).metadata.meta);
  const vocab = whole.model.vocab.slice(0, 40);
  const map = Buffer.from(whole.normalizer.precompiled_charsmap, 'base64').subarray(0, 3000);
  map.writeUInt32LE(2048);
  const tokenizerJson = { ...whole, normalizer: { type: 'Precompiled', precompiled_charsmap: map.toString('base64') }, model: { ...whole.model, vocab } };
  const text = 'the \uff21 caf\u00e9 e\u0301 <extra_id_0>\u2581\u732b</s>';
  return [
    {
      name: "T5's tokenizer.json", isJson: true, seeds: [json(tokenizerJson)],
      read: bytes => void T5Tokenizer.fromFiles({ tokenizerJson: parse('tokenizer.json', bytes) }).encode(text),
    },
    {
      name: "T5's tokenizer_config.json", isJson: true, seeds: [json(folders.hub.files['tokenizer_config.json'])],
      read: bytes => void T5Tokenizer.fromFiles({ tokenizerJson }, parse('tokenizer_config.json', bytes)).toFiles(),
    },
  ];
}

/** Each of the files that a tokenizer is written down in. */
export function tokenizerTargets(): Target[] {
  const files = JSON.parse(readSafetensors(golden('tokenizer/clip.safetensors.gz')).metadata.meta).folders.json.files;
  const [tokenizerJson, config] = ['tokenizer.json', 'tokenizer_config.json'].map(name => json(files[name]));
  return [
    ...t5Targets(),
    {
      name: 'tokenizer.json', isJson: true, seeds: [tokenizerJson],
      read: bytes => void CLIPTokenizer.fromFiles({ tokenizerJson: parse('tokenizer.json', bytes) }).encode('A cat, \u732b \ud83d\udc31!'),
    },
    {
      name: 'tokenizer_config.json', isJson: true, seeds: [config],
      read: bytes => void CLIPTokenizer.fromFiles({ tokenizerJson: parse('tokenizer.json', tokenizerJson) }, parse('tokenizer_config.json', bytes)).encode('A cat'),
    },
    { name: 'merges.txt', isJson: false, seeds: [new TextEncoder().encode(merges)], read: bytes => void CLIPTokenizer.fromFiles({ vocab, merges: text(bytes) }).encode('abc') },
    { name: 'vocab.json', isJson: true, seeds: [json(vocab)], read: bytes => void CLIPTokenizer.fromFiles({ vocab: parse('vocab.json', bytes), merges }).encode('abc') },
    {
      name: 'added_tokens.json', isJson: true, seeds: [json({ '<a>': 7, '<b>': 8 })],
      read: bytes => void CLIPTokenizer.fromFiles({ vocab, merges, addedTokens: parse('added_tokens.json', bytes) }).encode('a<a>'),
    },
    {
      name: 'special_tokens_map.json', isJson: true, seeds: [json(special)],
      read: async bytes => {
        const folder = new MemoryFolder({ 'vocab.json': json(vocab), 'merges.txt': merges, 'tokenizer_config.json': '{"model_max_length":77}', 'special_tokens_map.json': bytes });
        (await CLIPTokenizer.fromPretrained(folder)).encode('abc');
      },
    },
  ];
}
