/** What a page has instead of the converter: bundlers take this file by the `browser` field of package.json. */

const refuse = (what: string) => async (): Promise<never> => {
  throw new Error(`${what} in a page; convert the model first, with tfjs-diffusers convert`);
};

export const openPickle = refuse('pickled weights cannot be read');
export const convertModel = refuse('a model cannot be converted');
