import { show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import type { AddedToken } from './added_tokens.js';

/** What the files of a folder say of added tokens, parsed and unchecked. */
export interface AddedTokenFiles {
  /** tokenizer_config.json */
  config: Readonly<Record<string, unknown>>;
  /** special_tokens_map.json */
  specialTokensMap: Readonly<Record<string, unknown>>;
  /** added_tokens.json: ids by token, the only place of learned words in what transformers before 4.34 wrote. */
  addedTokens: unknown;
  /** The list that tokenizer.json has. */
  tokenizerJson: unknown;
}

/** The tokens that a tokenizer has a name for. */
type Role = 'bos_token' | 'eos_token' | 'unk_token' | 'pad_token';

/** Ids are below it: the library keeps a list as long as the largest. */
export const MAX_ID = 1_000_000;

/** As a file describes it. */
type Draft = Omit<AddedToken, 'id' | 'normalized'> & { readonly normalized?: boolean };

const roles = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];
const maxCharacters = 1_000_000; // of all added tokens together

/**
 * The added tokens of a tokenizer, as transformers collects them: those of `added_tokens_decoder`, or where there is none those of
 * added_tokens.json and tokenizer.json; then those that have a name and are not among them, and further special ones. A token of the
 * vocabulary keeps its id, and others are numbered behind it in the order of their ids, as added embeddings lie.
 * @param defaults the tokens that a kind of tokenizer has a name for, where no file says otherwise.
 * @throws TypeError for what are no tokens, RangeError for more than a tokenizer has.
 */
export function readAddedTokens<R extends Role>(
  files: AddedTokenFiles, vocab: ReadonlyMap<string, number>, defaults: Readonly<Record<R, string>>,
): { tokens: AddedToken[]; named: Record<R, AddedToken> } {
  const { added_tokens_decoder: decoder, additional_special_tokens: oldName, extra_special_tokens: newName } = files.config;
  const config = { ...files.config, extra_special_tokens: isEmpty(newName) ? oldName : newName };
  const specialTokensMap = isObject(decoder) ? {} : allSpecial(files.specialTokensMap);
  const lists = [config, specialTokensMap].map(source => source.extra_special_tokens);
  const dictionaries = lists.filter(isObject).flatMap(tokens => Object.entries(tokens));
  const said = { ...namedTokens(config), ...namedTokens(specialTokensMap), ...drafts(dictionaries) };
  let extra = lists.flatMap(tokens => tokenList('extra_special_tokens', tokens));
  const special = new Set([...Object.values(said), ...extra].map(({ content }) => content));
  const declared = isObject(decoder) ? decoderTokens(decoder) : legacyTokens(files, special);
  if (extra.length === 0) extra = tokenList('additional_special_tokens', specialTokensMap.additional_special_tokens);

  const known = new Set(declared.map(({ content }) => content));
  const named = { ...namedTokens(defaults), ...said };
  const order = [...roles, ...Object.keys(named)].filter((role, i, all) => Object.hasOwn(named, role) && all.indexOf(role) === i);
  const all = [...declared, ...[...order.map(role => named[role]), ...extra].filter(({ content }) => !known.has(content))];
  const names = new Set(Object.values(named).map(({ content }) => content));
  const tokens = numberTokens(all.map(token => names.has(token.content) ? { ...token, special: true } : token), vocab);
  const byRole = Object.keys(defaults).map(role => [role, tokens.get(named[role].content)]);
  return { tokens: [...tokens.values()], named: Object.fromEntries(byRole) as Record<R, AddedToken> };
}

/** Whether a value can be an id. */
export function isId(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < MAX_ID;
}

/** The tokens that a config names: by a role, or by a name of its own that ends in `_token`. */
function namedTokens(config: Readonly<Record<string, unknown>>): Record<string, Draft> {
  const isToken = (name: string, token: unknown) => roles.includes(name)
    ? token !== null
    : name.endsWith('_token') && (typeof token === 'string' || isObject(token));
  return drafts(Object.entries(config).filter(([name, token]) => isToken(name, token)));
}

function drafts(entries: Array<[name: string, token: unknown]>): Record<string, Draft> {
  return Object.fromEntries(entries.map(([name, token]) => [name, draft(name, token)]));
}

/** A file of special tokens alone does not say of each that it is one. */
function allSpecial(map: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const mark = (token: unknown): unknown => Array.isArray(token) ? token.map(mark) : isObject(token) ? { ...token, special: true } : token;
  return Object.fromEntries(Object.entries(map).map(([name, token]) => [name, mark(token)]));
}

function tokenList(name: string, tokens: unknown): Draft[] {
  return Array.isArray(tokens) ? tokens.map(token => draft(name, token)) : [];
}

function isEmpty(tokens: unknown): boolean {
  return tokens === undefined || tokens === null || (Array.isArray(tokens) && tokens.length === 0);
}

/** Tokens by id. */
function decoderTokens(decoder: Record<string, unknown>): Draft[] {
  return inOrder('added_tokens_decoder', Object.entries(decoder).map(([id, token]) => [Number(id), token]));
}

/** Of added_tokens.json and of tokenizer.json, which counts where both have an id. */
function legacyTokens({ addedTokens = {}, tokenizerJson = [] }: AddedTokenFiles, special: ReadonlySet<string>): Draft[] {
  if (!isObject(addedTokens)) throw new TypeError(`added_tokens.json: got ${show(addedTokens)}, takes an object of ids by token`);
  if (!Array.isArray(tokenizerJson)) throw new TypeError(`tokenizer.json: added_tokens is ${show(tokenizerJson)}, takes a list`);
  const old = Object.entries(addedTokens).map(([content, id]): [unknown, unknown] =>
    [id, { content, special: special.has(content), normalized: !special.has(content) }]);
  const listed = tokenizerJson.map((token): [unknown, unknown] => [isObject(token) ? token.id : undefined, token]);
  return inOrder('added_tokens', [...old, ...listed]);
}

/** In the order of their ids; of two with the same, the last. */
function inOrder(name: string, entries: Array<[id: unknown, token: unknown]>): Draft[] {
  const byId = new Map<number, Draft>();
  for (const [id, token] of entries) {
    if (!isId(id)) throw new TypeError(`tokenizer: a token of ${name} has the id ${show(id)}, takes a whole number below ${MAX_ID}`);
    byId.set(id, draft(name, token));
  }
  return [...byId].sort(([a], [b]) => a - b).map(([, token]) => token);
}

/** A token from a file: a text, which is then special, or an object with flags. */
function draft(name: string, token: unknown): Draft {
  const described = isObject(token) ? token : { content: token, special: true };
  const { content, special = false, normalized, lstrip = false, rstrip = false, single_word = false } = described;
  const flags = { special, normalized, lstrip, rstrip, single_word };
  const isFlag = (flag: unknown) => typeof flag === 'boolean' || flag === undefined;
  if (typeof content !== 'string' || content === '' || !Object.values(flags).every(isFlag)) {
    throw new TypeError(`tokenizer: ${name} is ${show(token)}, takes a text, or an object of content and flags`);
  }
  return { content, ...flags } as Draft;
}

/** By content. Of several with the same content that differ the last one's flags count. */
function numberTokens(drafts: Draft[], vocab: ReadonlyMap<string, number>): Map<string, AddedToken> {
  const tokens = new Map<string, AddedToken>();
  const seen = new Set<string>();
  let [next, characters] = [vocab.size, 0];
  for (const token of drafts) {
    const description = JSON.stringify(token);
    if (seen.has(description)) continue;
    seen.add(description);
    const id = tokens.get(token.content)?.id ?? vocab.get(token.content) ?? next;
    next = Math.max(next, id + 1);
    characters += token.content.length;
    if (characters > maxCharacters) throw new RangeError(`tokenizer: its added tokens have over ${maxCharacters} characters`);
    tokens.set(token.content, { ...token, normalized: token.normalized ?? !token.special, id });
  }
  return tokens;
}
