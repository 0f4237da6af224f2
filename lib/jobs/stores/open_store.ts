import { access, constants, mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { FolderStore } from './folder_store.js';
import type { PictureStore } from './picture_store.js';

export interface OpenStoreOptions {
  /** For how long pictures are kept, in seconds; ten minutes by default. */
  readonly keepSeconds?: number;
  /** Of S3 that is not Amazon's. */
  readonly s3Endpoint?: string;
}

/**
 * A store by its place.
 * @param place a folder, or s3://bucket or s3://bucket/prefix.
 * @throws Error of one line if it cannot be used.
 */
export async function openStore(place: string, { keepSeconds, s3Endpoint: endpoint }: OpenStoreOptions = {}): Promise<PictureStore> {
  const [, scheme, rest] = /^([a-z][a-z0-9+.-]+):\/(?:\/(.*))?/is.exec(place) ?? [];
  if (scheme === undefined) return openFolder(resolve(place), keepSeconds);
  const [, bucket, prefix = ''] = /^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/s.exec(rest ?? '') ?? [];
  if (scheme !== 's3' || bucket === undefined) throw new TypeError(`--store: got '${place}', takes a folder or s3://bucket/prefix`);
  const { S3Store } = await import('./s3_store.js');
  return S3Store.open({ bucket, prefix: prefix && !prefix.endsWith('/') ? `${prefix}/` : prefix, endpoint, keepSeconds });
}

async function openFolder(folder: string, keepSeconds?: number): Promise<PictureStore> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (error) {
    throw new Error(`--store: ${folder} cannot be written to: ${(error as Error).message}`, { cause: error });
  }
  return new FolderStore(folder, keepSeconds);
}
