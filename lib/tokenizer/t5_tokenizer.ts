import { checkInteger, checkOneOf, show } from '../core/checks.js';
import { isObject, toJsonText } from '../core/json.js';
import { ModelFileError, type ModelSource } from '../files/model_folder.js';
import type { HubOptions } from '../hub/hub_settings.js';
import { AddedTokenSplitter, type AddedToken } from './added_tokens.js';
import { CharsMap } from './chars_map.js';
import type { EncodeOptions } from './clip_tokenizer.js';
import { readAddedTokens } from './read_added_tokens.js';
import { withSentinels } from './t5_sentinels.js';
import { checkObject, openTokenizerFolder } from './tokenizer_folder.js';
import { checkUnigramVocab, Unigram } from './unigram.js';

/** The files of a T5 tokenizer; contents are those of the parsed files. */
export interface T5TokenizerFiles {
  /** What tokenizer.json says. */
  tokenizerJson: unknown;
  /** What special_tokens_map.json says, which counts before the config. */
  specialTokensMap?: unknown;
  /** What added_tokens.json says: ids by token. */
  addedTokens?: unknown;
}

const NAMES = { eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' };
const UNKNOWN_ID = 2;
const SPACE = '\u2581'; // how tokens have it
const MAX_LENGTH = 512;

/** Old habits of English, which a config may ask for: what is written without a space before it. */
const CLEANED: ReadonlyArray<readonly [string, string]> = [
  [' .', '.'], [' ?', '?'], [' !', '!'], [' ,', ','],
  [" ' ", "'"], [" n't", "n't"], [" 'm", "'m"], [" 's", "'s"], [" 've", "'ve"], [" 're", "'re"],
];

/**
 * T5's tokenizer: normalizes a text, cuts it into the likeliest of 32,100 pieces of words, and appends an end token.
 * Equals transformers' T5Tokenizer (arXiv:1910.10683), which takes the vocabulary, the normalization and added tokens from a
 * tokenizer.json, and goes its own steps between.
 */
export class T5Tokenizer {
  /** The files that it may be read from. */
  static readonly fileNames: readonly string[] = [
    'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json', 'tokenizer.json',
  ];

  private readonly splitters: { asWritten: AddedTokenSplitter; normalized: AddedTokenSplitter };
  /** What added tokens decode to. */
  private readonly contents: ReadonlyMap<number, string>;

  private constructor(
    private readonly model: Unigram,
    private readonly charsMap: CharsMap | undefined,
    private readonly addedTokens: readonly AddedToken[],
    private readonly config: Readonly<Record<string, unknown>>,
    readonly modelMaxLength: number,
    readonly eosTokenId: number,
    readonly padTokenId: number,
    readonly unkTokenId: number,
  ) {
    this.contents = new Map(addedTokens.map(({ id, content, normalized }) => [id, normalized ? this.normalize(content) : content]));
    this.splitters = {
      asWritten: new AddedTokenSplitter(addedTokens.filter(token => !token.normalized)),
      normalized: new AddedTokenSplitter(addedTokens.filter(token => token.normalized), content => this.normalize(content)),
    };
  }

  /**
   * @param tokenizerConfig the parsed tokenizer_config.json.
   * @throws TypeError, RangeError for files of another kind.
   */
  static fromFiles(files: T5TokenizerFiles, tokenizerConfig: unknown = {}): T5Tokenizer {
    const { specialTokensMap: map = {}, addedTokens } = files;
    const specialTokensMap = checkObject('special_tokens_map.json', map);
    const { model, charsMap, listed } = readTokenizerJson(files.tokenizerJson);
    const config = withSentinels(checkObject('tokenizer_config.json', tokenizerConfig), specialTokensMap);
    const sources = { config, specialTokensMap, addedTokens, tokenizerJson: listed };
    const { tokens, named: { eos_token: eos, pad_token: pad, unk_token: unk } } = readAddedTokens(sources, model.ids, NAMES);
    const said = config.model_max_length;
    const maxLength = typeof said === 'number' && said >= 1 && said < 1e6 ? Math.floor(said) : MAX_LENGTH;
    return new T5Tokenizer(model, charsMap, tokens, config, maxLength, eos.id, pad.id, unk.id);
  }

  /**
   * Reads the tokenizer of a diffusers folder, or of a model on the hub: from its tokenizer.json.
   * @throws ModelFileError for a folder that has none, such as one of a `spiece.model` alone.
   */
  static async fromPretrained(source: ModelSource, options: { subfolder?: string } & HubOptions = {}): Promise<T5Tokenizer> {
    const folder = await openTokenizerFolder(source, options, T5Tokenizer.fileNames);
    if (!await folder.has('tokenizer.json') && await folder.has('spiece.model')) {
      const name = folder.nameOf('tokenizer.json');
      throw new ModelFileError(`${name}: there is no such file, and spiece.model is not read: let transformers make one of it, `
        + "AutoTokenizer.from_pretrained('the folder').save_pretrained('the folder')");
    }
    const files = {
      tokenizerJson: await folder.needed('tokenizer.json'),
      specialTokensMap: await folder.json('special_tokens_map.json'), addedTokens: await folder.json('added_tokens.json'),
    };
    return T5Tokenizer.fromFiles(files, await folder.json('tokenizer_config.json'));
  }

  /** The files that transformers and `fromPretrained` read it from: their texts, by their names. */
  toFiles(): Record<string, string> {
    const { model: { vocab }, charsMap, addedTokens, modelMaxLength, config } = this;
    const [eos, pad, unk] = [this.eosTokenId, this.padTokenId, this.unkTokenId].map(of => addedTokens.find(({ id }) => id === of)!.content);
    const isNamed = (content: string) => [eos, pad, unk].includes(content);
    const special = addedTokens.filter(token => token.special && !isNamed(token.content)).map(({ content }) => content);
    const metaspace = { type: 'Metaspace', replacement: SPACE, prepend_scheme: 'always', split: true };
    const tokenizerJson = {
      version: '1.0', truncation: null, padding: null,
      added_tokens: [...addedTokens].sort((a, b) => a.id - b.id),
      normalizer: charsMap ? { type: 'Precompiled', precompiled_charsmap: charsMap.base64 } : null,
      pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, metaspace] },
      post_processor: {
        type: 'TemplateProcessing', ...template(eos), special_tokens: { [eos]: { id: eos, ids: [this.eosTokenId], tokens: [eos] } },
      },
      decoder: metaspace,
      model: { type: 'Unigram', unk_id: UNKNOWN_ID, vocab, byte_fallback: false },
    };
    const tokenizerConfig = {
      tokenizer_class: 'T5Tokenizer', model_max_length: modelMaxLength, eos_token: eos, pad_token: pad, unk_token: unk,
      extra_ids: special.filter(content => content.includes('<extra_id_')).length, additional_special_tokens: special,
      clean_up_tokenization_spaces: config.clean_up_tokenization_spaces === true,
      added_tokens_decoder: Object.fromEntries(addedTokens.map(({ id, ...token }) => [id, token])),
    };
    return { 'tokenizer.json': JSON.stringify(tokenizerJson), 'tokenizer_config.json': toJsonText(tokenizerConfig) };
  }

  /** Ids of each text: the text, the end, and the padding. */
  encode(texts: string | readonly string[], options: EncodeOptions = {}): number[][] {
    const { maxLength = this.modelMaxLength, padding = true, truncation = true } = options;
    checkInteger('maxLength', maxLength, 1);
    return (typeof texts === 'string' ? [texts] : texts).map(text => {
      const ids = this.textIds(text);
      const kept = truncation ? ids.slice(0, maxLength - 1) : ids;
      const missing = padding ? Math.max(0, maxLength - 1 - kept.length) : 0;
      return [...kept, this.eosTokenId, ...new Array<number>(missing).fill(this.padTokenId)];
    });
  }

  /** The end of the text that `encode` cuts off; empty if all of it fits. */
  truncatedText(text: string, maxLength = this.modelMaxLength): string {
    return this.decode(this.textIds(text).slice(maxLength - 1));
  }

  /** The text of the ids, including special tokens. */
  decode(ids: readonly number[]): string {
    const tokens = ids.map(id => this.contents.get(id) ?? this.model.vocab[id]?.[0]).filter(token => token !== undefined);
    const text = tokens.map((token, i) => token.replaceAll(SPACE, i === 0 ? '' : ' ')).join('');
    if (this.config.clean_up_tokenization_spaces !== true) return text;
    return CLEANED.reduce((cleaned, [from, to]) => cleaned.replaceAll(from, to), text);
  }

  private textIds(text: string): number[] {
    if (typeof text !== 'string') throw new TypeError(`text: got ${show(text)}, takes a string`);
    const { splitters: { asWritten, normalized }, model } = this;
    const ids: number[] = [];
    for (const written of asWritten.split(text.replace(/\p{Surrogate}/gu, '\ufffd'))) {
      const pieces = typeof written === 'string' ? normalized.split(this.normalize(written)) : [written];
      for (const piece of pieces) {
        if (typeof piece !== 'string') ids.push(piece.id);
        else for (const word of wordsOf(piece)) model.encode(word, ids);
      }
    }
    return ids;
  }

  private normalize(text: string): string {
    return this.charsMap?.normalize(text) ?? text;
  }
}

/** The words of a text, each with the mark of a space before it; of more marks in a row each is a word. */
function* wordsOf(text: string): Generator<string> {
  for (const [word] of text.matchAll(/\P{White_Space}+/gu)) {
    const marked = word.startsWith(SPACE) ? word : SPACE + word;
    for (const [part] of marked.matchAll(/\u2581[^\u2581]*/g)) yield part;
  }
}

/** How one text, and a pair of them, end. */
function template(eos: string): { single: object[]; pair: object[] } {
  const parts = (id: string) => [{ Sequence: { id, type_id: 0 } }, { SpecialToken: { id: eos, type_id: 0 } }];
  return { single: parts('A'), pair: [...parts('A'), ...parts('B')] };
}

function readTokenizerJson(json: unknown): { model: Unigram; charsMap?: CharsMap; listed: unknown } {
  if (!isObject(json) || !isObject(json.model)) throw new TypeError('tokenizer.json: takes an object with a model');
  const { type = 'Unigram', vocab, unk_id: unknown } = json.model;
  checkOneOf('tokenizer.json: model.type', type, ['Unigram']);
  checkOneOf('tokenizer.json: model.unk_id', unknown ?? UNKNOWN_ID, [UNKNOWN_ID]);
  const checked = checkUnigramVocab(vocab);
  if (checked.length <= UNKNOWN_ID) throw new RangeError(`tokenizer.json: model.vocab has ${checked.length} tokens, takes 3 or more`);
  return { model: new Unigram(checked, UNKNOWN_ID), charsMap: readCharsMap(json.normalizer), listed: json.added_tokens };
}

/** Of several normalizers that which is SentencePiece's. @throws TypeError for one whose map is none. */
function readCharsMap(normalizer: unknown): CharsMap | undefined {
  const steps: unknown = isObject(normalizer) && normalizer.type === 'Sequence' ? normalizer.normalizers : [normalizer];
  const found: unknown = Array.isArray(steps) ? steps.find(step => isObject(step) && step.type === 'Precompiled') : undefined;
  const map = isObject(found) ? found.precompiled_charsmap : undefined;
  if (map === undefined || map === null) return undefined;
  if (typeof map !== 'string') throw new TypeError(`tokenizer.json: precompiled_charsmap is ${show(map)}, takes a text`);
  return map === '' ? undefined : new CharsMap(map);
}
