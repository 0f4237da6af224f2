import { parseJson } from '../../lib/core/json.js';
import { checkRelativePath, ModelFileError, type ModelFolder } from '../../lib/files/model_folder.js';
import type { ByteSource } from '../../lib/files/byte_source.js';

/** A model folder of bytes and texts in memory, which counts the sources that are open. */
export class MemoryFolder implements ModelFolder {
  readonly name = 'memory';
  openSources = 0;

  constructor(private readonly files: Record<string, Uint8Array | string>) {}

  async has(path: string): Promise<boolean> {
    return Object.hasOwn(this.files, checkRelativePath(path));
  }

  async readJson(path: string): Promise<unknown> {
    return parseJson(`${this.name}/${path}`, await this.readText(path));
  }

  async readText(path: string): Promise<string> {
    return new TextDecoder().decode(await this.bytes(path));
  }

  async open(path: string): Promise<ByteSource> {
    const bytes = await this.bytes(path);
    this.openSources++;
    return { ...bytesSource(bytes), close: async () => { this.openSources--; } };
  }

  private async bytes(path: string): Promise<Uint8Array> {
    if (!await this.has(path)) throw new ModelFileError(`${this.name}/${path}: there is no such file`);
    const content = this.files[path];
    return typeof content === 'string' ? new TextEncoder().encode(content) : content;
  }
}

/** Bytes in memory as a source; reading past the end rejects. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read: async (offset, length) => {
      if (offset + length > bytes.length) throw new RangeError(`ends at byte ${bytes.length}`);
      return new Uint8Array(bytes.subarray(offset, offset + length)); // a copy, also of a Buffer
    },
    close: async () => {},
  };
}
