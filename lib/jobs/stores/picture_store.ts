/** Where pictures lie until they are fetched. They are removed some time after they were written. */
export interface PictureStore {
  /** @param name of letters, digits, `-`, `_`, `.` and `/`. @param bytes a PNG file. */
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** A picture's bytes, or undefined if there is none of that name, or no longer. */
  read(name: string): Promise<Uint8Array | undefined>;
  close?(): Promise<void>;
}

/** How long pictures are kept where nothing else is said, in seconds. */
export const KEEP_SECONDS = 600;
