import { stat } from 'node:fs/promises';
import { isHubId } from './hub_id.js';
import { LocalFolder } from './local_folder.js';
import type { HubOptions, ModelFolder } from './model_folder.js';

/** A folder of this machine, or where there is none of that name, a model on the hub. */
export async function openByName(name: string, options: HubOptions): Promise<ModelFolder> {
  if (!isHubId(name) || await stat(name).catch(() => undefined)) return LocalFolder.open(name);
  const { HubFolder } = await import('./hub_folder.js');
  return HubFolder.open(name, options);
}
