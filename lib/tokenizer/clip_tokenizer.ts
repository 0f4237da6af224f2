import { Tokenizer } from '@huggingface/tokenizers';
import { checkInteger, show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import { openModelFolder, type HubOptions, type ModelFolder } from '../hub/model_folder.js';

/** The vocabulary: either pair of files, or the one that holds both. Contents are those of the parsed files. */
export type CLIPTokenizerFiles =
  | { vocab: unknown; /** The text of merges.txt. */ merges: string }
  | { tokenizerJson: unknown };

export interface EncodeOptions {
  /** Ids per text at most, and with `padding` exactly; `modelMaxLength` by default. */
  maxLength?: number;
  /** Whether short texts are filled up with the padding token. */
  padding?: boolean;
  /** Whether long texts are cut. */
  truncation?: boolean;
}

const maxId = 1_000_000; // the library keeps a list as long as the largest id

interface AddedToken {
  id: number;
  content: string;
  special?: boolean;
  normalized?: boolean;
  lstrip?: boolean;
  rstrip?: boolean;
  single_word?: boolean;
}

/** The steps of a tokenizer, in the words of a tokenizer.json. */
interface TokenizerPipeline extends Record<string, unknown> {
  added_tokens: AddedToken[];
}

interface Vocabulary {
  vocab: Map<string, number>;
  merges: Array<[string, string]>;
  addedTokens: AddedToken[];
}

/**
 * CLIP's byte-pair encoding: lower-cased words and punctuation, 49,408 ids, 77 per text.
 * Equals transformers' CLIPTokenizer (arXiv:2103.00020).
 */
export class CLIPTokenizer {
  /** Where it may be written down. */
  static readonly fileNames: readonly string[] = ['tokenizer_config.json', 'special_tokens_map.json', 'tokenizer.json', 'vocab.json', 'merges.txt'];

  private tokenizer: Tokenizer;
  /** The ids of a learned token of several vectors, by the first. */
  private readonly vectors = new Map<number, readonly number[]>();

  private constructor(
    private readonly pipeline: TokenizerPipeline,
    readonly modelMaxLength: number,
    readonly bosTokenId: number,
    readonly eosTokenId: number,
    readonly padTokenId: number,
  ) {
    this.tokenizer = new Tokenizer(pipeline, {});
  }

  /**
   * @param tokenizerConfig the parsed tokenizer_config.json, with what special_tokens_map.json says taking precedence, as transformers reads them.
   * @throws TypeError for files of another kind.
   */
  static fromFiles(files: CLIPTokenizerFiles, tokenizerConfig: unknown = {}): CLIPTokenizer {
    if (!isObject(tokenizerConfig)) throw new TypeError(`tokenizer_config.json: got ${show(tokenizerConfig)}, takes an object`);
    const { vocab, merges, addedTokens } = 'vocab' in files ? readVocabulary(files.vocab, files.merges) : readTokenizerJson(files.tokenizerJson);
    const declared = readAddedTokens(tokenizerConfig.added_tokens_decoder) ?? addedTokens;
    const added = new Map(declared.map(token => [token.content, token]));
    const named = (role: string, fallback: string): number => {
      const token = tokenizerConfig[role] ?? fallback; // a string, or an object with flags
      const content = isObject(token) ? token.content : token;
      if (typeof content !== 'string') throw new TypeError(`tokenizer: its ${role} is ${show(token)}, takes a string`);
      const known = declared.find(other => other.content === content);
      const id = known?.id ?? vocab.get(content);
      if (id === undefined) throw new TypeError(`tokenizer: its ${role} ${show(content)} is not in the vocabulary`);
      added.set(content, { normalized: false, ...(known ?? (isObject(token) ? token : {})), id, content, special: true });
      return id;
    };
    const [bos, eos] = [named('bos_token', '<|startoftext|>'), named('eos_token', '<|endoftext|>')];
    named('unk_token', '<|endoftext|>');
    const pad = named('pad_token', '<|endoftext|>'); // the last of two names of a token decides on its flags
    const maxLength = tokenizerConfig.model_max_length;
    const pipeline = tokenizerPipeline(vocab, merges, [...added.values()]);
    return new CLIPTokenizer(pipeline, typeof maxLength === 'number' && maxLength < 1e6 ? maxLength : 77, bos, eos, pad);
  }

  /** Reads the tokenizer of a diffusers folder, or of a model on the hub. */
  static async fromPretrained(source: string | ModelFolder, options: { subfolder?: string } & HubOptions = {}): Promise<CLIPTokenizer> {
    const folder = await openModelFolder(source, options);
    const path = (file: string) => options.subfolder ? `${options.subfolder}/${file}` : file;
    await folder.prefetch?.(CLIPTokenizer.fileNames.map(path));
    const config = await folder.has(path('tokenizer_config.json')) ? await folder.readJson(path('tokenizer_config.json')) : {};
    const special = await folder.has(path('special_tokens_map.json')) ? await folder.readJson(path('special_tokens_map.json')) : {};
    const merged = isObject(config) && isObject(special) && !config.added_tokens_decoder ? { ...config, ...special } : config;
    const files = await folder.has(path('tokenizer.json'))
      ? { tokenizerJson: await folder.readJson(path('tokenizer.json')) }
      : { vocab: await folder.readJson(path('vocab.json')), merges: await folder.readText(path('merges.txt')) };
    return CLIPTokenizer.fromFiles(files, merged);
  }

  /** Ids of each text: the beginning, the text, the end, and the padding. */
  encode(texts: string | readonly string[], { maxLength = this.modelMaxLength, padding = true, truncation = true }: EncodeOptions = {}): number[][] {
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
    if (ids.length === 0) return '';
    return this.tokenizer.decode([...ids], { clean_up_tokenization_spaces: false }).trim();
  }

  /**
   * Learns a token, which stands for as many ids as are given: `<cat>`, or `<cat>`, `<cat>_1`, `<cat>_2`, ...
   * @throws RangeError for a token or an id that it knows already.
   */
  addToken(token: string, ids: readonly number[]): void {
    if (typeof token !== 'string' || token.trim() === '') throw new TypeError(`token: got ${show(token)}, takes a text, as in '<cat>'`);
    const added = ids.map((id, i) => ({ id, content: i === 0 ? token : `${token}_${i}`, normalized: true }));
    for (const { id, content } of added) {
      const known = this.tokenizer.token_to_id(content) !== undefined ? content : this.tokenizer.id_to_token(id);
      if (known !== undefined) throw new RangeError(`token: got ${show(token)} with the id ${id}; the tokenizer knows ${show(known)} already`);
    }
    this.pipeline.added_tokens.push(...added);
    this.tokenizer = new Tokenizer(this.pipeline, {});
    if (ids.length > 1) this.vectors.set(ids[0], ids);
  }

  private textIds(text: string): number[] {
    if (typeof text !== 'string') throw new TypeError(`text: got ${show(text)}, takes a string`);
    return this.tokenizer.encode(text, { add_special_tokens: false }).ids.flatMap((id: number) => this.vectors.get(id) ?? [id]);
  }
}

/** The steps of transformers' CLIPTokenizer, in the words of a tokenizer.json. */
function tokenizerPipeline(vocab: Vocabulary['vocab'], merges: Vocabulary['merges'], addedTokens: AddedToken[]): TokenizerPipeline {
  const regex = (pattern: string) => ({ type: 'Split', pattern: { Regex: pattern }, behavior: 'Removed', invert: true });
  return {
    added_tokens: addedTokens,
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
    model: { type: 'BPE', vocab: Object.fromEntries(vocab), merges, end_of_word_suffix: '</w>', unk_token: '<|endoftext|>' },
  };
}

function readTokenizerJson(json: unknown): Vocabulary {
  if (!isObject(json) || !isObject(json.model)) throw new TypeError('tokenizer.json: takes an object with a model');
  const { vocab, merges } = json.model;
  if (!Array.isArray(merges)) throw new TypeError('tokenizer.json: model.merges takes a list');
  return {
    vocab: checkVocab('tokenizer.json: model.vocab', vocab),
    merges: merges.map(checkMerge),
    addedTokens: checkAddedTokens('added_tokens', json.added_tokens ?? []),
  };
}

/** The entries of `added_tokens_decoder`, tokens by id, or undefined if there is no such thing. */
function readAddedTokens(decoder: unknown): AddedToken[] | undefined {
  if (!isObject(decoder)) return undefined;
  return checkAddedTokens('added_tokens_decoder', Object.entries(decoder).map(([id, token]) => ({ ...(isObject(token) ? token : {}), id: Number(id) })));
}

function checkAddedTokens(name: string, tokens: unknown): AddedToken[] {
  const isToken = (token: unknown) => isObject(token) && typeof token.content === 'string' && token.content !== '' && isId(token.id);
  if (!Array.isArray(tokens) || !tokens.every(isToken)) throw new TypeError(`tokenizer: ${name} takes tokens of { id, content, ... }`);
  return tokens as AddedToken[];
}

function readVocabulary(vocab: unknown, merges: string): Vocabulary {
  const lines = merges.split('\n').filter((line, i) => line.trim() !== '' && !(i === 0 && line.startsWith('#version')));
  return { vocab: checkVocab('vocab.json', vocab), merges: lines.map(checkMerge), addedTokens: [] };
}

function checkVocab(name: string, vocab: unknown): Map<string, number> {
  if (!isObject(vocab)) throw new TypeError(`${name}: got ${show(vocab)}, takes an object of ids by token`);
  for (const [token, id] of Object.entries(vocab)) {
    if (!isId(id)) throw new TypeError(`${name}: token ${show(token)} has the id ${show(id)}, takes a whole number below ${maxId}`);
  }
  return new Map(Object.entries(vocab) as Array<[string, number]>);
}

function isId(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < maxId;
}

/** 'a b' or ['a', 'b'] */
function checkMerge(merge: unknown): [string, string] {
  const pair = typeof merge === 'string' ? merge.trimEnd().split(' ') : merge;
  if (!Array.isArray(pair) || pair.length !== 2 || !pair.every(part => typeof part === 'string')) {
    throw new TypeError(`merges: got ${show(merge)}, takes two tokens`);
  }
  return pair as [string, string];
}
