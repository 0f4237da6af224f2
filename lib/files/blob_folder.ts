import { parseJson } from '../core/json.js';
import type { ByteSource } from './byte_source.js';
import { checkRelativePath, ModelFileError, readText, type ModelFolder } from './model_folder.js';

/** The bytes of a blob. @param name what errors call it. */
export function blobSource(name: string, blob: Blob): ByteSource {
  const read = async (offset: number, length: number) => {
    if (offset + length > blob.size) {
      throw new ModelFileError(`${name}: ends at byte ${blob.size}, bytes up to ${offset + length} were wanted`);
    }
    return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
  };
  return { size: blob.size, read, close: async () => {} };
}

/** A model whose files are blobs, as a page has them: downloaded, or picked by a user. */
export abstract class BlobFolder implements ModelFolder {
  constructor(readonly name: string) {}

  /** The file at a path inside the folder, or undefined if there is none. */
  protected abstract find(path: string): Promise<Blob | undefined>;

  async has(path: string): Promise<boolean> {
    return await this.find(checkRelativePath(path)) !== undefined;
  }

  async readJson(path: string): Promise<unknown> {
    return parseJson(`${this.name}/${path}`, await this.readText(path));
  }

  async readText(path: string): Promise<string> {
    return readText(`${this.name}/${path}`, await this.open(path));
  }

  async open(path: string): Promise<ByteSource> {
    return blobSource(`${this.name}/${path}`, await this.get(path));
  }

  private async get(path: string): Promise<Blob> {
    const blob = await this.find(checkRelativePath(path));
    if (!blob) throw new ModelFileError(`${this.name}/${path}: there is no such file`);
    return blob;
  }
}
