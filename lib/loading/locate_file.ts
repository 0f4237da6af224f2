import { ModelFileError, type ModelFolder, type ModelSource } from '../files/model_folder.js';
import { parseHubAddress } from '../hub/hub_address.js';
import type { HubOptions } from '../hub/hub_settings.js';
import { openModelFolder, resolveSource } from './open_model_folder.js';

/**
 * One file of weights: the folder that it lies in, and its path there. From the hub it is fetched.
 * @param source the file's path, which ends in `.safetensors`, `.bin`, `.ckpt`, `.pt` or `.pth`, or its address on the hub; or its folder,
 *   as for openModelFolder.
 * @param weightName the file's path in the folder; by default the first of `usual` that there is.
 */
export async function locateFile(
  source: ModelSource, weightName: string | undefined, usual: readonly string[], options: HubOptions = {},
): Promise<{ folder: ModelFolder; path: string }> {
  const name = await resolveSource(source);
  const { folder, file } = await openFolderOf(name, options);
  const names = file ? [file] : weightName ? [weightName] : usual;
  for (const path of names) {
    if (!await folder.has(path)) continue;
    await folder.prefetch?.([path]);
    return { folder, path };
  }
  if (file) throw new ModelFileError(`${name as string}: there is no such file`);
  if (names.length === 0) throw new ModelFileError(`${folder.name}: takes a weightName, which says which file it is`);
  throw new ModelFileError(`${folder.name}: has no ${names.join(' or ')}${names === usual ? '; say which file it is by weightName' : ''}`);
}

/** The folder that a file lies in, and the file's path there; or the folder that is named itself. */
async function openFolderOf(name: string | ModelFolder, options: HubOptions): Promise<{ folder: ModelFolder; file?: string }> {
  if (typeof name !== 'string') return { folder: name };
  const onHub = parseHubAddress(name, options.endpoint);
  if (onHub) return { folder: await openModelFolder(onHub.id, { ...options, revision: onHub.revision }), file: onHub.path };
  const [, parent = '.', file] = /^(?:(.*)[/\\])?([^/\\]+\.(?:safetensors|bin|ckpt|pth?))$/i.exec(name) ?? [];
  return { folder: await openModelFolder(file ? parent : name, options, file), file };
}
