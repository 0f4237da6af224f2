/** Where pictures lie until they are fetched. They are removed some time after they were written. */
export interface PictureStore {
  /** @param name one of picture_names.ts. @param bytes a picture file. */
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** A picture's bytes, or undefined if there is none of that name, or no longer. */
  read(name: string): Promise<Uint8Array | undefined>;
  /** Does nothing if there is none of that name. */
  remove(name: string): Promise<void>;
  close?(): Promise<void>;
}

/** How long pictures are kept where nothing else is said, in seconds. */
export const KEEP_SECONDS = 600;

/** Looks for what is over four times in that time, but at least every hour, until the timer is cleared. */
export function sweepRegularly(sweep: () => Promise<void>, keepSeconds: number): NodeJS.Timeout {
  const run = () => void sweep().catch((error: Error) => console.error(`the store: old pictures cannot be removed: ${error.message}`));
  return setInterval(run, Math.min(Math.max(keepSeconds / 4, 5), 3600) * 1000).unref();
}
