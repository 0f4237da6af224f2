import { FetchFolder, type LoadingProgress } from '../../../lib/index.js';
import type { BundledFolder } from '../protocol.js';

/** Where the site is, of which a worker's script is a part. */
export const site = new URL('./', location.href).href;

/** A folder that the site brings, whose files are fetched when they are read. */
export function bundledFolder({ name, url, files }: BundledFolder, progressCallback?: (progress: LoadingProgress) => void): FetchFolder {
  return new FetchFolder(new URL(url, site).href, { name, files: new Map(files), progressCallback });
}
