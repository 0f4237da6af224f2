/** What a page has instead of output_folder.ts: bundlers take this file by the `browser` field of package.json. */
export function newFolderPath(): never {
  throw new Error('a model cannot be saved in a page, which has no folders; save it in Node');
}

/** Never called: there is no path of a folder. */
export const makeFolder = newFolderPath;
