import { BlobFolder } from './blob_folder.js';
import { ModelFileError } from './model_folder.js';

/** A folder that a user picked in a page, by `<input type="file" webkitdirectory>` or by dropping it. Nothing leaves the machine. */
export class FileListFolder extends BlobFolder {
  private readonly files: ReadonlyMap<string, Blob>;

  /**
   * @param files each with its path below the folder's parent, as in a File's `webkitRelativePath`: `my-model/unet/config.json`.
   * @throws ModelFileError if there are none.
   */
  constructor(files: Iterable<readonly [path: string, file: Blob]>) {
    const entries = [...files];
    if (entries.length === 0) throw new ModelFileError('folder: has no files, takes the folder of a model');
    super(entries[0][0].split('/')[0]);
    this.files = new Map(entries.map(([path, file]) => [path.split('/').slice(1).join('/'), file]));
  }

  protected async find(path: string): Promise<Blob | undefined> {
    return this.files.get(path);
  }
}
