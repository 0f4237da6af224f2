import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { show } from '../core/checks.js';
import { LocalFolder } from '../files/local_folder.js';
import { isWeightFile, ModelFileError, type ModelFolder } from '../files/model_folder.js';
import { isHubId } from '../hub/hub_id.js';
import type { OpenOptions } from './open_options.js';

/** A name as it is, or the path of a `file:` address. @throws TypeError for such an address of another machine. */
export function pathOf(name: string): string {
  return /^file:/i.test(name) ? fileURLToPath(name) : name;
}

/** A folder or a single-file checkpoint of this machine, or where there is none of that name, a model on the hub. */
export async function openByName(name: string, options: OpenOptions, named?: string): Promise<ModelFolder> {
  const there = await stat(name).catch(() => undefined);
  const isFile = isWeightFile(name) && !there?.isDirectory();
  if (isFile || /^https?:/i.test(name)) {
    const { openSingleFile } = await import('./open_single_file.js');
    return openSingleFile(name, options);
  }
  const { predictionType } = options;
  if (predictionType) {
    throw new RangeError(`predictionType: got ${show(predictionType)} for a folder, takes none: the config of its scheduler says it`);
  }
  if (there) return LocalFolder.open(name, name, named);
  if (!isHubId(name)) {
    throw new ModelFileError(`${name}: there is no such folder, and no model on the hub is called so: they are called as in 'owner/name'`);
  }
  const { HubFolder } = await import('../hub/hub_folder.js');
  return HubFolder.open(name, options);
}
