import type { ModelSource } from '../lib/files/model_folder.js';
import type { ConvertOptions } from './convert.js';

export type { ConvertOptions } from './convert.js';
export { PickleError } from '../lib/checkpoints/pickle_objects.js';

/**
 * Writes a model as a folder that loads fastest here: the same configs, and weights in TensorFlow.js' layout, which can be mapped. Needs
 * Node.
 * @param source whatever `fromPretrained` takes: a folder of a pipeline or of a single network, a single-file checkpoint, a hub id.
 * @param out a folder that is new or empty; nothing is there until all of it is.
 * @throws ModelFileError, WeightsError or SafetensorsError if the source is not complete, before anything is written.
 */
export async function convertModel(source: ModelSource, out: string | URL, options: ConvertOptions = {}): Promise<void> {
  const converter = await import('./convert.js');
  await converter.convertModel(source, out, options);
}
