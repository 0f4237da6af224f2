import { Tokenizer } from '@huggingface/tokenizers';
import { checkInteger, show } from '../core/checks.js';
import { isObject, toJsonText } from '../core/json.js';
import type { ModelSource } from '../files/model_folder.js';
import type { HubOptions } from '../hub/hub_settings.js';
import { AddedTokenSplitter, type AddedToken } from './added_tokens.js';
import { isId, MAX_ID, readAddedTokens } from './read_added_tokens.js';
import { checkObject, openTokenizerFolder } from './tokenizer_folder.js';

/** The vocabulary: vocab.json and merges.txt, or tokenizer.json, which holds both. Contents are those of the parsed files. */
export type CLIPTokenizerFiles = (
  | { vocab: unknown; /** The text of merges.txt. */ merges: string }
  | { tokenizerJson: unknown }
) & {
  /** What special_tokens_map.json says, which counts before the config. */
  specialTokensMap?: unknown;
  /** What added_tokens.json says: ids by token. */
  addedTokens?: unknown;
};

/** Options of a tokenizer's `encode`. */
export interface EncodeOptions {
  /** Ids per text at most, and with `padding` exactly; `modelMaxLength` by default. */
  maxLength?: number;
  /** Whether short texts are filled up with the padding token. */
  padding?: boolean;
  /** Whether long texts are cut. */
  truncation?: boolean;
}

const NAMES = { bos_token: '<|startoftext|>', eos_token: '<|endoftext|>', unk_token: '<|endoftext|>', pad_token: '<|endoftext|>' };
const WORD_END = '</w>';

interface Vocabulary {
  vocab: Map<string, number>;
  merges: Array<[string, string]>;
  /** As tokenizer.json lists them, unchecked. */
  addedTokens?: unknown;
}

/**
 * CLIP's byte-pair encoding: lower-cased words and punctuation, 49,408 ids, 77 per text.
 * Equals transformers' CLIPTokenizer (arXiv:2103.00020).
 */
export class CLIPTokenizer {
  /** The files that it may be read from. */
  static readonly fileNames: readonly string[] = [
    'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json', 'tokenizer.json', 'vocab.json', 'merges.txt',
  ];

  private readonly tokenizer: Tokenizer;
  private readonly addedTokens = new Map<number, AddedToken>();
  private splitters!: { asWritten: AddedTokenSplitter; normalized: AddedTokenSplitter };
  /** The ids of a learned token of several vectors, `<cat>`, `<cat>_1`, `<cat>_2`, ..., by the first: also of one that a file has. */
  private readonly vectors = new Map<number, readonly number[]>();

  private constructor(
    private readonly vocabulary: Vocabulary,
    addedTokens: AddedToken[],
    readonly modelMaxLength: number,
    readonly bosTokenId: number,
    readonly eosTokenId: number,
    readonly padTokenId: number,
    private readonly unkToken: AddedToken,
  ) {
    this.tokenizer = new Tokenizer(tokenizerPipeline(vocabulary, unkToken.content), {});
    this.add(addedTokens);
  }

  /**
   * @param tokenizerConfig the parsed tokenizer_config.json.
   * @throws TypeError for files of another kind.
   */
  static fromFiles(files: CLIPTokenizerFiles, tokenizerConfig: unknown = {}): CLIPTokenizer {
    const { specialTokensMap: map = {}, addedTokens } = files;
    const config = checkObject('tokenizer_config.json', tokenizerConfig);
    const specialTokensMap = checkObject('special_tokens_map.json', map);
    const vocabulary = 'vocab' in files ? readVocabulary(files.vocab, files.merges) : readTokenizerJson(files.tokenizerJson);
    const sources = { config, specialTokensMap, addedTokens, tokenizerJson: vocabulary.addedTokens };
    const { tokens, named } = readAddedTokens(sources, vocabulary.vocab, NAMES);
    const { bos_token: bos, eos_token: eos, pad_token: pad, unk_token: unk } = named;
    const said = config.model_max_length;
    const maxLength = typeof said === 'number' && said < 1e6 ? said : 77;
    return new CLIPTokenizer(vocabulary, tokens, maxLength, bos.id, eos.id, pad.id, unk);
  }

  /** Reads the tokenizer of a diffusers folder, or of a model on the hub. */
  static async fromPretrained(source: ModelSource, options: { subfolder?: string } & HubOptions = {}): Promise<CLIPTokenizer> {
    const folder = await openTokenizerFolder(source, options, CLIPTokenizer.fileNames);
    const tokenizerJson = await folder.json('tokenizer.json');
    const vocabulary = tokenizerJson !== undefined ? { tokenizerJson }
      : { vocab: await folder.needed('vocab.json'), merges: await folder.text('merges.txt') };
    const added = { specialTokensMap: await folder.json('special_tokens_map.json'), addedTokens: await folder.json('added_tokens.json') };
    return CLIPTokenizer.fromFiles({ ...vocabulary, ...added }, await folder.json('tokenizer_config.json'));
  }

  /** The files that transformers and `fromPretrained` read it from, learned words among them: their texts, by their names. */
  toFiles(): Record<string, string> {
    const { vocabulary: { vocab, merges }, addedTokens, modelMaxLength, unkToken } = this;
    const written = ({ id, ...token }: AddedToken) => [id, token] as const;
    const contentOf = (id: number) => addedTokens.get(id)!.content;
    const config = {
      tokenizer_class: 'CLIPTokenizer', model_max_length: modelMaxLength,
      bos_token: contentOf(this.bosTokenId), eos_token: contentOf(this.eosTokenId), pad_token: contentOf(this.padTokenId),
      unk_token: unkToken.content, added_tokens_decoder: Object.fromEntries([...addedTokens.values()].map(written)),
    };
    return {
      'vocab.json': JSON.stringify(Object.fromEntries(vocab)),
      'merges.txt': ['#version: 0.2', ...merges.map(pair => pair.join(' ')), ''].join('\n'),
      'tokenizer_config.json': toJsonText(config),
    };
  }

  /** Ids of each text: the beginning, the text, the end, and the padding. */
  encode(texts: string | readonly string[], options: EncodeOptions = {}): number[][] {
    const { maxLength = this.modelMaxLength, padding = true, truncation = true } = options;
    checkInteger('maxLength', maxLength, 2);
    return (typeof texts === 'string' ? [texts] : texts).map(text => {
      const ids = this.textIds(text);
      const kept = truncation ? ids.slice(0, maxLength - 2) : ids;
      const missing = padding ? Math.max(0, maxLength - 2 - kept.length) : 0;
      return [this.bosTokenId, ...kept, this.eosTokenId, ...new Array<number>(missing).fill(this.padTokenId)];
    });
  }

  /** The end of the text that `encode` cuts off; empty if all of it fits. */
  truncatedText(text: string, maxLength = this.modelMaxLength): string {
    return this.decode(this.textIds(text).slice(maxLength - 2));
  }

  /** The text of the ids, lower-cased and with a space after every word, as the vocabulary has it. */
  decode(ids: readonly number[]): string {
    const runs: Array<number[] | string> = []; // ids of the vocabulary together, for several can make one character
    for (const id of ids) {
      const last = runs.at(-1);
      const token = this.addedTokens.get(id);
      if (token) runs.push(token.normalized ? this.tokenizer.normalizer!(token.content) : token.content);
      else if (Array.isArray(last)) last.push(id);
      else runs.push([id]);
    }
    const decode = (run: number[] | string) =>
      typeof run === 'string' ? run : this.tokenizer.decode(run, { clean_up_tokenization_spaces: false });
    return runs.map(decode).join('').replaceAll(WORD_END, ' ').trim();
  }

  /**
   * Learns a token, which stands for as many ids as are given: `<cat>`, or `<cat>`, `<cat>_1`, `<cat>_2`, ...
   * @throws RangeError for a token or an id that it knows already.
   */
  addToken(token: string, ids: readonly number[]): void {
    this.add(this.newTokens(token, ids));
  }

  /** What `addToken` would add. @throws RangeError for a token or an id that it knows already. */
  newTokens(token: string, ids: readonly number[]): AddedToken[] {
    if (typeof token !== 'string' || token.trim() === '') throw new TypeError(`token: got ${show(token)}, takes a text, as in '<cat>'`);
    const flags = { special: false, normalized: true, lstrip: false, rstrip: false, single_word: false };
    const added = ids.map((id, i): AddedToken => ({ id, content: i === 0 ? token : `${token}_${i}`, ...flags }));
    for (const { id, content } of added) {
      const isKnown = this.vocabulary.vocab.has(content) || [...this.addedTokens.values()].some(other => other.content === content);
      const known = isKnown ? content : this.addedTokens.get(id)?.content ?? this.tokenizer.id_to_token(id);
      if (known !== undefined) {
        throw new RangeError(`token: got ${show(token)} with the id ${id}; the tokenizer knows ${show(known)} already`);
      }
    }
    return added;
  }

  private textIds(text: string): number[] {
    if (typeof text !== 'string') throw new TypeError(`text: got ${show(text)}, takes a string`);
    const { splitters: { asWritten, normalized }, vocabulary: { vocab }, unkToken } = this;
    const { normalizer, pre_tokenizer: preTokenizer, model } = this.tokenizer;
    const pieces = asWritten.split(text).flatMap(piece => typeof piece === 'string' ? normalized.split(normalizer!(piece)) : [piece]);
    return pieces.flatMap(piece => typeof piece === 'string'
      ? model!(preTokenizer!(piece)).map((token: string) => vocab.get(token) ?? unkToken.id)
      : this.vectors.get(piece.id) ?? [piece.id]);
  }

  /** The library's own search for added tokens takes no heed of `single_word`, so it knows of none. */
  private add(tokens: AddedToken[]): void {
    for (const token of tokens) this.addedTokens.set(token.id, token);
    const all = [...this.addedTokens.values()];
    const idOf = new Map(all.map(({ content, id }) => [content, id]));
    for (const { content, id } of all) {
      const ids = [id];
      for (let next; (next = idOf.get(`${content}_${ids.length}`)) !== undefined;) ids.push(next);
      if (ids.length > 1) this.vectors.set(id, ids);
    }
    this.splitters = {
      asWritten: new AddedTokenSplitter(all.filter(token => !token.normalized)),
      normalized: new AddedTokenSplitter(all.filter(token => token.normalized), content => this.tokenizer.normalizer!(content)),
    };
  }
}

/** The steps of transformers' CLIPTokenizer, in the words of a tokenizer.json. */
function tokenizerPipeline({ vocab, merges }: Vocabulary, unkToken: string): Record<string, unknown> {
  const regex = (pattern: string) => ({ type: 'Split', pattern: { Regex: pattern }, behavior: 'Removed', invert: true });
  return {
    added_tokens: [],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Replace', pattern: { String: '\u03a3' }, content: '\u03c3' }, // the reference knows no final sigma
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        regex("<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"),
        regex("'s|'t|'re|'ve|'m|'ll|'d|\\p{L}+|\\p{N}+|[^\\s\\p{L}\\p{N}]+"), // ByteLevel's own, where \s is JavaScript's
        { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab: Object.fromEntries(vocab), merges, end_of_word_suffix: WORD_END, unk_token: unkToken },
  };
}

function readTokenizerJson(json: unknown): Vocabulary {
  if (!isObject(json) || !isObject(json.model)) throw new TypeError('tokenizer.json: takes an object with a model');
  const { vocab, merges } = json.model;
  if (!Array.isArray(merges)) throw new TypeError('tokenizer.json: model.merges takes a list');
  return {
    vocab: checkVocab('tokenizer.json: model.vocab', vocab),
    merges: merges.map(checkMerge),
    addedTokens: json.added_tokens,
  };
}

function readVocabulary(vocab: unknown, merges: string): Vocabulary {
  const lines = merges.split('\n').filter((line, i) => line.trim() !== '' && !(i === 0 && line.startsWith('#version')));
  return { vocab: checkVocab('vocab.json', vocab), merges: lines.map(checkMerge) };
}

function checkVocab(name: string, vocab: unknown): Map<string, number> {
  if (!isObject(vocab)) throw new TypeError(`${name}: got ${show(vocab)}, takes an object of ids by token`);
  for (const [token, id] of Object.entries(vocab)) {
    if (!isId(id)) throw new TypeError(`${name}: token ${show(token)} has the id ${show(id)}, takes a whole number below ${MAX_ID}`);
  }
  return new Map(Object.entries(vocab) as Array<[string, number]>);
}

/** 'a b' or ['a', 'b'] */
function checkMerge(merge: unknown): [string, string] {
  const pair = typeof merge === 'string' ? merge.trimEnd().split(' ') : merge;
  if (!Array.isArray(pair) || pair.length !== 2 || !pair.every(part => typeof part === 'string')) {
    throw new TypeError(`merges: got ${show(merge)}, takes two tokens`);
  }
  return pair as [string, string];
}
