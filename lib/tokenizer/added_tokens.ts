/** A token beside those that merges make, with the flags of transformers' AddedToken under their names in files. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  /** Whether it is looked for in the normalized text, and its content normalized: in any case of letters, that is. */
  readonly normalized: boolean;
  /** Whether the white space before it belongs to it, */
  readonly lstrip: boolean;
  /** and that behind it. */
  readonly rstrip: boolean;
  /** Whether it is found as a whole word only. */
  readonly single_word: boolean;
}

const SPACE = /\p{White_Space}/u;
const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u; // what Rust calls \w

/** Cuts added tokens out of texts, as the tokenizers library of Rust does: the first that there is, and of several there the longest. */
export class AddedTokenSplitter {
  private readonly tokens = new Map<string, AddedToken>();
  private readonly pattern: RegExp;

  /** @param written what each token looks like in the text. Of several that look the same the first is found. */
  constructor(tokens: Iterable<AddedToken>, written: (content: string) => string = content => content) {
    for (const token of tokens) {
      const text = written(token.content);
      if (!this.tokens.has(text)) this.tokens.set(text, token);
    }
    const longestFirst = [...this.tokens.keys()].sort((a, b) => b.length - a.length);
    this.pattern = new RegExp(longestFirst.map(text => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|') || '(?!)', 'gu');
  }

  /** The tokens of a text, and the pieces between them, none of which is empty. */
  split(text: string): Array<AddedToken | string> {
    const pieces: Array<AddedToken | string> = [];
    let done = 0;
    for (const { 0: match, index } of text.matchAll(this.pattern)) {
      const token = this.tokens.get(match)!;
      let [begin, end] = [index, index + match.length];
      if (token.single_word && (WORD.test(charBefore(text, begin)) || WORD.test(charAt(text, end)))) continue;
      while (token.lstrip && begin > done && SPACE.test(text[begin - 1])) begin--;
      while (token.rstrip && end < text.length && SPACE.test(text[end])) end++;
      if (begin > done) pieces.push(text.slice(done, begin));
      pieces.push(token);
      done = end;
    }
    if (done < text.length) pieces.push(text.slice(done));
    return pieces;
  }
}

/** The character that begins at `index`, or '' at the end. */
function charAt(text: string, index: number): string {
  return index < text.length ? String.fromCodePoint(text.codePointAt(index)!) : '';
}

/** The character that ends at `index`, or '' at the beginning. */
function charBefore(text: string, index: number): string {
  return [...text.slice(Math.max(0, index - 2), index)].at(-1) ?? '';
}
