const UNIT = 4; // bytes of a node
const MAX_REPLACEMENT = 64; // bytes; the longest of Unicode's own has 33
const WINDOW = 256; // characters
const MAX_KEY = 5; // bytes of several characters that are looked up as one

/**
 * What SentencePiece replaces in texts before it cuts them, as a tokenizer.json's `precompiled_charsmap` has it: a double-array trie of
 * characters, and what each becomes.
 * Equals the normalizer `Precompiled` of Rust's tokenizers, of clusters of characters that are seen as one too: a short one that begins
 * with a key becomes what that becomes, all of it; else each of its characters is looked up.
 */
export class CharsMap {
  private readonly nodes: Uint32Array;
  private readonly replacements: Uint8Array;
  /** By where they begin. */
  private readonly known = new Map<number, string>();
  private readonly clusters = new Intl.Segmenter('en', { granularity: 'grapheme' });
  private readonly key = new Uint8Array(3 * MAX_KEY);
  private readonly encoder = new TextEncoder();
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  /** @throws TypeError for what is none. */
  constructor(readonly base64: string) {
    const bytes = decodeBase64(base64);
    const view = new DataView(bytes.buffer);
    const size = bytes.length < UNIT ? -1 : view.getUint32(0, true);
    if (size < 0 || size % UNIT !== 0 || UNIT + size > bytes.length) {
      throw new TypeError(`tokenizer.json: precompiled_charsmap is ${bytes.length} bytes, whose first four do not give the size of a trie`);
    }
    this.nodes = Uint32Array.from({ length: size / UNIT }, (_, i) => view.getUint32(UNIT + UNIT * i, true));
    this.replacements = bytes.subarray(UNIT + size);
  }

  /** @throws RangeError if a character becomes more than any does. */
  normalize(text: string): string {
    let normalized = '';
    let done = 0;
    for (let i = 1; i <= text.length; i++) { // between two characters of ASCII a cluster always ends, and to find others takes long
      if (i < text.length && !(isPlain(text.charCodeAt(i - 1)) && isPlain(text.charCodeAt(i)))) continue;
      normalized += this.normalizePart(text.slice(done, i));
      done = i;
    }
    return normalized;
  }

  private normalizePart(part: string): string {
    if (part.length <= 1) return this.find(part) ?? part;
    let normalized = '';
    for (const segment of this.clustersOf(part)) {
      const whole = segment.length <= MAX_KEY ? this.find(segment) : undefined;
      if (whole !== undefined) normalized += whole;
      else for (const char of segment) normalized += this.find(char) ?? char;
    }
    return normalized;
  }

  /** By windows: to go through the clusters of a long text at once takes an engine time that grows with its square. */
  private* clustersOf(text: string): Generator<string> {
    let length = WINDOW;
    for (let begin = 0; begin < text.length;) {
      const found = Array.from(this.clusters.segment(text.slice(begin, begin + length)), ({ segment }) => segment);
      const isEnd = begin + length >= text.length;
      if (!isEnd && found.length === 1) {
        length *= 2;
        continue;
      }
      if (!isEnd) found.pop(); // which may go on behind the window
      yield* found;
      begin += found.reduce((sum, { length }) => sum + length, 0);
      length = WINDOW;
    }
  }

  /** What the shortest key that `text` begins with becomes. */
  private find(text: string): string | undefined {
    const { nodes, key } = this;
    const { written } = this.encoder.encodeInto(text, key);
    if (written > MAX_KEY) return undefined;
    let at = offset(nodes[0]);
    for (let i = 0; i < written && key[i] !== 0; i++) {
      at ^= key[i];
      const node = nodes[at];
      if ((node & 0x800000ff) !== key[i]) return undefined; // also where there is none
      at ^= offset(node);
      if ((node & 0x100) !== 0) return this.replacement(nodes[at] & 0x7fffffff);
    }
    return undefined;
  }

  private replacement(begin: number): string {
    let text = this.known.get(begin);
    if (text === undefined) {
      const bytes = this.replacements.subarray(begin, begin + MAX_REPLACEMENT + 1);
      const end = bytes.indexOf(0);
      if (end < 0 && bytes.length > MAX_REPLACEMENT) {
        throw new RangeError(`tokenizer.json: precompiled_charsmap replaces a character by over ${MAX_REPLACEMENT} bytes`);
      }
      text = this.decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
      this.known.set(begin, text);
    }
    return text;
  }
}

/** Where a node's children are, from its own place. */
function offset(node: number): number {
  return (node >>> 10) << ((node & 0x200) >>> 6);
}

/** Whether it is a character of ASCII that is seen. */
function isPlain(unit: number): boolean {
  return unit >= 0x20 && unit < 0x7f;
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  let binary: string;
  try {
    binary = atob(text);
  } catch (error) {
    throw new TypeError('tokenizer.json: precompiled_charsmap is no base64', { cause: error });
  }
  return Uint8Array.from({ length: binary.length }, (_, i) => binary.charCodeAt(i));
}
