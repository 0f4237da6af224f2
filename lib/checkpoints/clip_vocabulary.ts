/** The vocabulary that all Stable Diffusion 1.x and 2.x share, which single-file checkpoints leave out. */
export interface ClipVocabulary {
  /** What merges.txt holds. */
  readonly merges: string;
  /** Ids by token: bytes, bytes that end a word, merges, and the two special tokens. */
  readonly vocab: Record<string, number>;
}

/** How many tokens it has. */
export const CLIP_TOKENS = 49408;

export function clipVocabulary(merges: string): ClipVocabulary {
  const printable = [...range(0x21, 0x7f), ...range(0xa1, 0xad), ...range(0xae, 0x100)];
  const letters = [...printable, ...range(256, 512 - printable.length)].map(code => String.fromCharCode(code)); // a letter for every byte
  const merged = merges.split('\n').slice(1, -1).map(line => line.replace(' ', ''));
  const tokens = [...letters, ...letters.map(letter => `${letter}</w>`), ...merged, '<|startoftext|>', '<|endoftext|>'];
  return { merges, vocab: Object.fromEntries(tokens.map((token, id) => [token, id])) };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
