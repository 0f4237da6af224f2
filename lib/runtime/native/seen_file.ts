import { closeSync, fstatSync, openSync, realpathSync, statSync, type Stats } from 'node:fs';

/** A file that was opened once and is wanted again later: the same, unchanged, or not at all. */
export class SeenFile {
  private readonly path: string;
  private readonly identity: string;

  /** @param name what errors call the file. */
  constructor(private readonly name: string, path: string) {
    this.path = realpathSync(path); // of an open file
    this.identity = identify(statSync(path));
  }

  /**
   * Calls `use` with a path of the open file.
   * @throws Error if the file is gone or another.
   */
  open<T>(use: (path: string) => T): T {
    let file: number;
    try {
      file = openSync(this.path, 'r');
    } catch (error) {
      throw new Error(`${this.name}: weights are offloaded to it, and it is gone; load the model anew`, { cause: error });
    }
    try {
      if (identify(fstatSync(file)) !== this.identity) {
        throw new Error(`${this.name}: weights are offloaded to it, and it changed; load the model anew`);
      }
      return use(process.platform === 'linux' ? `/proc/self/fd/${file}` : this.path);
    } finally {
      closeSync(file);
    }
  }
}

function identify({ dev, ino, size, mtimeMs }: Stats): string {
  return [dev, ino, size, mtimeMs].join(' ');
}
