import { show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import type { ModelSource } from '../files/model_folder.js';
import type { HubOptions } from '../hub/hub_settings.js';
import { openModelFolder } from '../loading/open_model_folder.js';

/** The files of a tokenizer, some of which may be missing. */
export interface TokenizerFolder {
  has(file: string): Promise<boolean>;
  /** What a file of JSON says; undefined if there is none. */
  json(file: string): Promise<unknown>;
  /** What a file says. @throws ModelFileError if there is none. */
  text(file: string): Promise<string>;
  /** As `json`, of one that must be there. @throws ModelFileError if it is not. */
  needed(file: string): Promise<unknown>;
  /** What errors call a file. */
  nameOf(file: string): string;
}

/** Opens a tokenizer's folder, or that of a model on the hub, of which these files are fetched at once. */
export async function openTokenizerFolder(
  source: ModelSource, { subfolder, ...options }: { subfolder?: string } & HubOptions, fileNames: readonly string[],
): Promise<TokenizerFolder> {
  const folder = await openModelFolder(source, options);
  const path = (file: string) => subfolder ? `${subfolder}/${file}` : file;
  await folder.prefetch?.(fileNames.map(path));
  return {
    has: file => folder.has(path(file)),
    json: async file => await folder.has(path(file)) ? folder.readJson(path(file)) : undefined,
    text: file => folder.readText(path(file)),
    needed: file => folder.readJson(path(file)),
    nameOf: file => `${folder.name}/${path(file)}`,
  };
}

/** @throws TypeError for what is no `{...}`. */
export function checkObject(file: string, value: unknown): Readonly<Record<string, unknown>> {
  if (!isObject(value)) throw new TypeError(`${file}: got ${show(value)}, takes an object`);
  return value;
}
