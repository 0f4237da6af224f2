/** What a page has instead of clip_merges.ts: bundlers take this file by the `browser` field of package.json. */
export async function readClipMerges(): Promise<never> {
  throw new Error('a page has to be told where the folder models/clip-tokenizer of tfjs-diffusers is');
}
