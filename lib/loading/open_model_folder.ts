import { show } from '../core/checks.js';
import { isModelFolder, type ModelFolder, type ModelSource } from '../files/model_folder.js';
import type { OpenOptions } from './open_options.js';

/**
 * What a source is called: a path where it is one of this machine, `file:` addresses too. A folder is given back as it is.
 * @throws TypeError for what is no source.
 */
export async function resolveSource(source: ModelSource): Promise<string | ModelFolder> {
  if (source instanceof URL || (typeof source === 'string' && source !== '')) {
    const { pathOf } = await import('./open_by_name.js'); // only Node has files
    return pathOf(String(source));
  }
  if (isModelFolder(source)) return source;
  throw new TypeError(`source: got ${show(source)}, takes a path or an address, an id on the hub, as in 'owner/name', or a ModelFolder`);
}

/**
 * A folder or a single-file checkpoint by its path, else a model on the hub by its id, as in 'owner/name', or a file there by its address;
 * or the given model folder itself.
 * @param named a file in the folder that the user named by its path, so that it may be a link to anywhere.
 */
export async function openModelFolder(source: ModelSource, options: OpenOptions = {}, named?: string): Promise<ModelFolder> {
  const name = await resolveSource(source);
  if (typeof name !== 'string') return name;
  const { openByName } = await import('./open_by_name.js');
  return openByName(name, options, named);
}
