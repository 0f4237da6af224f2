import type { Result, Sources } from '../protocol.js';

/** A picture of the gallery. */
export interface Picture extends Omit<Result, 'png'>, Sources {
  id: number;
  /** A PNG file. */
  file: Blob;
}

const NAME = 'tfjs-diffusers-playground';
const STORE = 'pictures';

/** The gallery's pictures, kept in this browser; only for this visit where it keeps nothing. */
export class PictureStore {
  private lastId = 0;

  private constructor(private readonly database?: IDBDatabase) {}

  static async open(): Promise<PictureStore> {
    try {
      const opening = indexedDB.open(NAME, 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: 'id', autoIncrement: true });
      return new PictureStore(await finished(opening));
    } catch {
      return new PictureStore();
    }
  }

  /** Newest first. */
  async all(): Promise<Picture[]> {
    const pictures = this.database ? await finished<Picture[]>(this.store('readonly').getAll()) : [];
    return pictures.reverse();
  }

  async add(result: Result, { start, control, style }: Sources): Promise<Picture> {
    const { png, ...rest } = result;
    const picture = { ...rest, start, control, style, file: new Blob([png], { type: 'image/png' }) };
    const id = this.database ? await finished(this.store('readwrite').add(picture)) as number : ++this.lastId;
    return { ...picture, id };
  }

  /** Puts a picture that was removed back where it was. */
  async restore(picture: Picture): Promise<void> {
    if (this.database) await finished(this.store('readwrite').put(picture));
  }

  async remove({ id }: Picture): Promise<void> {
    if (this.database) await finished(this.store('readwrite').delete(id));
  }

  private store(mode: IDBTransactionMode): IDBObjectStore {
    return this.database!.transaction(STORE, mode).objectStore(STORE);
  }
}

function finished<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
