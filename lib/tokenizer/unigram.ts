import { show } from '../core/checks.js';
import { MAX_ID } from './read_added_tokens.js';

/** How much less likely than the least likely token a character is that is in none. */
const UNKNOWN_PENALTY = 10;
const MAX_TOKEN = 512; // characters: what a place of a text is compared with at most
const MAX_CHARACTERS = 4_000_000; // of all tokens together

/**
 * Cuts words into the tokens that are most likely together, by Viterbi's algorithm. What no token has becomes one unknown token, however
 * many characters it is.
 * Equals the model `Unigram` of Rust's tokenizers (arXiv:1804.10959), in its order of sums and of what wins where two are alike.
 */
export class Unigram {
  /** Ids by token; of several that look the same the last. */
  readonly ids = new Map<string, number>();
  private readonly trie: Trie;
  private readonly unknownScore: number;
  /** For each end of a part of the word: how likely the best way there is, where its last token begins, and which that is. */
  private best = new Float64Array(0);
  private begins = new Int32Array(0);
  private tokens = new Int32Array(0);

  /**
   * @param vocab tokens and logarithms of how likely they are, by id.
   * @throws TypeError, RangeError for what is no vocabulary.
   */
  constructor(readonly vocab: ReadonlyArray<readonly [token: string, score: number]>, readonly unknownId: number) {
    let characters = 0;
    let lowest = Infinity;
    for (const [id, [token, score]] of vocab.entries()) {
      if (token.length > MAX_TOKEN) throw new RangeError(`tokenizer.json: token ${show(token)} has over ${MAX_TOKEN} characters`);
      characters += token.length;
      lowest = Math.min(lowest, score);
      this.ids.set(token, id);
    }
    if (characters > MAX_CHARACTERS) throw new RangeError(`tokenizer.json: its tokens have over ${MAX_CHARACTERS} characters`);
    this.unknownScore = lowest - UNKNOWN_PENALTY;
    this.trie = new Trie(characters);
    for (const [token, id] of this.ids) this.trie.add(token, id);
  }

  /** Ids of a word, added to `ids`. */
  encode(word: string, ids: number[]): void {
    this.findWays(word);
    const found: number[] = [];
    let unknownEnd = 0;
    for (let end = word.length; end > 0; end = this.begins[end]) {
      const isUnknown = this.tokens[end] === this.unknownId;
      if (isUnknown && unknownEnd === 0) unknownEnd = end;
      if (!isUnknown) found.push(this.tokens[end]);
      const begin = this.begins[end];
      const endsUnknown = unknownEnd > 0 && (begin === 0 || this.tokens[begin] !== this.unknownId);
      if (!isUnknown || !endsUnknown) continue;
      found.push(this.ids.get(word.slice(begin, unknownEnd)) ?? this.unknownId);
      unknownEnd = 0;
    }
    for (let i = found.length - 1; i >= 0; i--) ids.push(found[i]);
  }

  private findWays(word: string): void {
    const { trie, vocab } = this;
    if (this.best.length <= word.length) {
      const size = Math.max(256, 2 * word.length);
      [this.best, this.begins, this.tokens] = [new Float64Array(size), new Int32Array(size), new Int32Array(size)];
    }
    const { best, begins, tokens } = this;
    begins.fill(-1, 0, word.length + 1);
    best[0] = 0;
    const offer = (end: number, begin: number, token: number, score: number) => {
      if (begins[end] >= 0 && score <= best[end]) return;
      [best[end], begins[end], tokens[end]] = [score, begin, token];
    };
    for (let begin = 0, length; begin < word.length; begin += length) {
      length = word.codePointAt(begin)! > 0xffff ? 2 : 1;
      let isKnown = false;
      for (let node = 0, end = begin; end < word.length;) {
        node = trie.next(node, word.charCodeAt(end++));
        if (node < 0) break;
        const token = trie.idAt(node);
        if (token < 0) continue;
        offer(end, begin, token, vocab[token][1] + best[begin]);
        isKnown ||= end - begin === length;
      }
      if (!isKnown) offer(begin + length, begin, this.unknownId, this.unknownScore + best[begin]);
    }
  }
}

/** Checks what a tokenizer.json has as `model.vocab`. @throws TypeError, RangeError */
export function checkUnigramVocab(vocab: unknown): Array<[string, number]> {
  if (!Array.isArray(vocab)) throw new TypeError(`tokenizer.json: model.vocab is ${show(vocab)}, takes a list of tokens and scores`);
  if (vocab.length > MAX_ID) throw new RangeError(`tokenizer.json: model.vocab has ${vocab.length} tokens, takes up to ${MAX_ID}`);
  for (const entry of vocab as unknown[]) {
    if (!Array.isArray(entry) || entry.length !== 2 || typeof entry[0] !== 'string' || !Number.isFinite(entry[1])) {
      throw new TypeError(`tokenizer.json: model.vocab has ${show(entry)}, takes a token and its score`);
    }
  }
  return vocab as Array<[string, number]>;
}

/** Tokens by what they begin with: a hash table of steps from a node by a character, in flat arrays, for there are many. */
class Trie {
  private readonly mask: number;
  private readonly from: Int32Array;
  private readonly units: Uint16Array;
  private readonly to: Int32Array;
  private readonly ids: Int32Array;
  private nodes = 1;

  constructor(steps: number) {
    const slots = 2 ** Math.ceil(Math.log2(2 * steps + 2));
    this.mask = slots - 1;
    [this.from, this.units, this.to] = [new Int32Array(slots).fill(-1), new Uint16Array(slots), new Int32Array(slots)];
    this.ids = new Int32Array(steps + 1).fill(-1);
  }

  add(token: string, id: number): void {
    let node = 0;
    for (let i = 0; i < token.length; i++) {
      const unit = token.charCodeAt(i);
      const slot = this.slotOf(node, unit);
      if (this.from[slot] < 0) [this.from[slot], this.units[slot], this.to[slot]] = [node, unit, this.nodes++];
      node = this.to[slot];
    }
    this.ids[node] = id;
  }

  /** The node behind one by a character; negative if there is none. */
  next(node: number, unit: number): number {
    const slot = this.slotOf(node, unit);
    return this.from[slot] < 0 ? -1 : this.to[slot];
  }

  /** The token that ends at a node; negative if none does. */
  idAt(node: number): number {
    return this.ids[node];
  }

  /** Where the step is, or has room. */
  private slotOf(node: number, unit: number): number {
    let slot = (Math.imul(node, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b)) >>> 0;
    slot = (slot ^ (slot >>> 15)) & this.mask;
    while (this.from[slot] >= 0 && (this.from[slot] !== node || this.units[slot] !== unit)) slot = (slot + 1) & this.mask;
    return slot;
  }
}
