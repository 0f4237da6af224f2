import { existsSync } from 'node:fs';
import { readCheckpoint } from '../checkpoints/checkpoint.js';
import { checkpointFolder } from '../checkpoints/checkpoint_folder.js';
import { show } from '../core/checks.js';
import type { ByteSource } from '../files/byte_source.js';
import { FileSource } from '../files/local_folder.js';
import { ModelFileError, type ModelFolder } from '../files/model_folder.js';
import { parseHubAddress } from '../hub/hub_address.js';
import { HubFolder } from '../hub/hub_folder.js';
import { readHubSettings } from '../hub/hub_settings.js';
import type { OpenOptions } from './open_options.js';

/**
 * The folder that a single-file checkpoint (`.safetensors`, `.gguf`, `.ckpt`) stands for.
 * @param file a path, or the address of a file on the hub, as in 'https://huggingface.co/owner/name/blob/main/model.safetensors'.
 */
export async function openSingleFile(file: string, options: OpenOptions = {}): Promise<ModelFolder> {
  const onHub = /^https?:/i.test(file);
  if (!onHub && !existsSync(file)) throw new ModelFileError(`${file}: there is no such file`);
  const open = onHub ? await fromHub(file, options) : () => FileSource.open(file);
  return checkpointFolder(await readCheckpoint(file, open), options);
}

async function fromHub(address: string, options: OpenOptions): Promise<() => Promise<ByteSource>> {
  const { endpoint } = await readHubSettings(options);
  const place = parseHubAddress(address, endpoint);
  if (!place) {
    const example = `${endpoint}/owner/name/blob/main/model.safetensors`;
    throw new ModelFileError(`${show(address)}: takes the address of a file on the hub, as in '${example}'`);
  }
  const { id, revision, path } = place;
  const folder = await HubFolder.open(id, { ...options, revision });
  if (!await folder.has(path)) throw new ModelFileError(`${id}/${path}: there is no such file at revision ${show(revision)}`);
  await folder.prefetch?.([path]);
  return () => folder.open(path);
}
