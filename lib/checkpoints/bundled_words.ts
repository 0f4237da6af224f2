/** What a folder calls the file of the words that came in a single-file checkpoint, by their names. */
export const BUNDLED_WORDS = 'bundle_emb.safetensors';

/** The word of a key under which checkpoints and LoRAs bring words along, `bundle_emb.<word>.string_to_param.*`; undefined of any other. */
export function bundledWord(key: string): string | undefined {
  return /^bundle_emb\.(.+)\.(?:string_to_param\.\*|emb_params)$/s.exec(key)?.[1];
}

/** The same of keys for SDXL's two text encoders, `bundle_emb.<word>.clip_l` and `.clip_g`, with which of the two. */
export function bundledWordOfTwo(key: string): { word: string; encoder: 0 | 1 } | undefined {
  const [, word, letter] = /^bundle_emb\.(.+)\.clip_([lg])$/s.exec(key) ?? [];
  return word === undefined ? undefined : { word, encoder: letter === 'l' ? 0 : 1 };
}
