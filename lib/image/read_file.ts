import { open } from 'node:fs/promises';

const MAX_BYTES = 2 ** 30;

/** @throws Error, one line, if there is no such file or it is larger than any picture. */
export async function readImageFile(path: string | URL): Promise<Uint8Array> {
  try {
    const file = await open(path);
    try {
      const { size } = await file.stat();
      if (size > MAX_BYTES) throw new Error(`is ${size} bytes long, takes up to ${MAX_BYTES}`);
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reasons: Record<string, string> = { ENOENT: 'there is no such file', EISDIR: 'is a folder', EACCES: 'no permission' };
    throw new Error(`${path}: ${reasons[code ?? ''] ?? message}`, { cause: error });
  }
}
