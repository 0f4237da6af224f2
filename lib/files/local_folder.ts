import { lstat, open, realpath, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, sep } from 'node:path';
import { parseJson } from '../core/json.js';
import type { ByteSource, FilePlace } from './byte_source.js';
import { checkRelativePath, isWeightFile, ModelFileError, readText, type ModelFolder } from './model_folder.js';

const maxReadBytes = 1 << 30; // one read call takes less than 2 GiB

/** A model in a folder of this machine. */
export class LocalFolder implements ModelFolder {
  private constructor(readonly name: string, private readonly root: string, private readonly named?: string) {}

  /**
   * @param name what errors call the folder.
   * @param named a file in it that the user named by its path.
   * @throws ModelFileError if there is no folder at `path`.
   */
  static async open(path: string, name = path, named?: string): Promise<LocalFolder> {
    const root = await realpath(path).catch(() => undefined);
    if (!root) throw new ModelFileError(`${path}: there is no such folder`);
    if (!(await stat(root)).isDirectory()) {
      throw new ModelFileError(`${path}: is a file, takes the folder of a model, or a .safetensors, .gguf or .ckpt file`);
    }
    return new LocalFolder(name, root, named);
  }

  async has(path: string): Promise<boolean> {
    return await this.locate(path) !== undefined;
  }

  async readJson(path: string): Promise<unknown> {
    return parseJson(`${this.name}/${path}`, await this.readText(path));
  }

  async readText(path: string): Promise<string> {
    return readText(`${this.name}/${path}`, await this.open(path));
  }

  async open(path: string): Promise<ByteSource> {
    const file = await this.locate(path);
    if (!file) throw new ModelFileError(`${this.name}/${path}: there is no such file`);
    return FileSource.open(file, `${this.name}/${path}`);
  }

  /**
   * The real place of the file at `path`, or undefined if there is none.
   * What was downloaded may link into the blobs of its hub cache alone: a model from elsewhere must not make us read (and then show, or
   * upload) what its author links to. A folder of the user's own may have its weights, or the folders of its parts, on another disk.
   */
  private async locate(path: string): Promise<string | undefined> {
    const place = join(this.root, checkRelativePath(path));
    const file = await realpath(place).catch(() => undefined);
    if (!file || !(await stat(file)).isFile()) return undefined;
    const blobs = blobsOf(this.root);
    if (liesIn(file, this.root) || (blobs ? liesIn(file, blobs) : await this.mayLink(path, place, file))) return file;
    throw new ModelFileError(`${this.name}/${path}: is a link that leaves the folder, to ${file}; put the file itself there`);
  }

  /** Whether a path of the user's own folder may lead to `file` elsewhere: weights to weights, or a folder of configs to such. */
  private async mayLink(path: string, place: string, file: string): Promise<boolean> {
    if (path === this.named) return true;
    if (isWeightFile(path)) return isWeightFile(file) || isHubBlob(file);
    return /(\.json|merges\.txt)$/.test(path) && !(await lstat(place)).isSymbolicLink();
  }
}

/** A file of this machine, open until it is closed. */
export class FileSource implements ByteSource {
  private constructor(
    private readonly handle: FileHandle, private readonly name: string, readonly size: number, private readonly place: string,
  ) {}

  /** On Linux by the open file itself: what was checked is what is mapped, whatever takes its name meanwhile. */
  locate(offset: number): FilePlace {
    return { path: process.platform === 'linux' ? `/proc/self/fd/${this.handle.fd}` : this.place, size: this.size, offset };
  }

  /** @param name what errors call the file. */
  static async open(path: string, name = path): Promise<FileSource> {
    try {
      if (!(await stat(path)).isFile()) throw new Error('is not a file');
      const handle = await open(path);
      return new FileSource(handle, name, (await handle.stat()).size, path);
    } catch (error) {
      throw new ModelFileError(`${name}: cannot be read: ${(error as Error).message}`, { cause: error });
    }
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    if (offset + length > this.size) {
      throw new ModelFileError(`${this.name}: ends at byte ${this.size}, bytes up to ${offset + length} were wanted`);
    }
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const { bytesRead } = await this.handle.read(bytes, done, Math.min(length - done, maxReadBytes), offset + done);
      if (bytesRead === 0) throw new ModelFileError(`${this.name}: became shorter while it was read`);
      done += bytesRead;
    }
    return bytes;
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

function liesIn(file: string, folder: string): boolean {
  return file.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** Hub caches hold `<repository>/snapshots/<revision>/...`, links to `<repository>/blobs/<hash>`. */
function blobsOf(folder: string): string | undefined {
  for (let at = folder; dirname(at) !== at; at = dirname(at)) {
    if (basename(dirname(at)) === 'snapshots') return join(dirname(dirname(at)), 'blobs');
  }
  return undefined;
}

/** A file's content in a hub cache, which has no name of its own. */
function isHubBlob(file: string): boolean {
  return basename(dirname(file)) === 'blobs' && basename(dirname(dirname(file))).startsWith('models--');
}
