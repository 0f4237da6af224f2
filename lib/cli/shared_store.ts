import { openStore } from '../jobs/stores/open_store.js';
import type { PictureStore } from '../jobs/stores/picture_store.js';
import { UsageError } from './usage_error.js';

export interface StoreCommandOptions {
  redis?: string;
  store?: string;
  s3Endpoint?: string;
  keep?: number;
}

/** What --store names; undefined without. @throws UsageError where servers and workers need one that they share. */
export async function sharedStore({ redis, store, s3Endpoint, keep: keepSeconds }: StoreCommandOptions): Promise<PictureStore | undefined> {
  if (store !== undefined) return openStore(store, { s3Endpoint, keepSeconds });
  if (redis === undefined) return undefined;
  throw new UsageError(
    '--redis: takes a --store too, which servers and workers share: a folder that all of them see, or s3://bucket/prefix',
  );
}
