/** What a folder calls the file of the words that came in a single-file checkpoint, by their names. */
export const BUNDLED_WORDS = 'bundle_emb.safetensors';

/** The word of a key under which checkpoints and LoRAs bring words along, `bundle_emb.<word>.string_to_param.*`; undefined of any other. */
export function bundledWord(key: string): string | undefined {
  return /^bundle_emb\.(.+)\.(?:string_to_param\.\*|emb_params)$/s.exec(key)?.[1];
}
