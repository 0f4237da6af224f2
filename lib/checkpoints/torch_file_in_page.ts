/** What a page has instead of torch_file.ts: bundlers take this file by the `browser` field of package.json. */
export async function readTorchFile(): Promise<never> {
  throw new Error('pickled weights cannot be read in a page; convert the model first, with tfjs-diffusers convert');
}
