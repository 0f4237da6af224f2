/** What a page has instead of convert.ts: bundlers take this file by the `browser` field of package.json. */
export async function convertModel(): Promise<never> {
  throw new Error('a model cannot be converted in a page; convert the model first, with tfjs-diffusers convert');
}
