import { KEEP_SECONDS, type PictureStore } from './picture_store.js';

const MAX_BYTES = 2 ** 28;

/** Pictures in this process: for one that draws them itself. */
export class MemoryStore implements PictureStore {
  private readonly pictures = new Map<string, { readonly bytes: Uint8Array; readonly until: number }>();
  private bytes = 0;

  /** @param maxBytes of all pictures together; the oldest make room. */
  constructor(private readonly seconds = KEEP_SECONDS, private readonly maxBytes = MAX_BYTES) {}

  async write(name: string, bytes: Uint8Array): Promise<void> {
    this.drop(name);
    this.pictures.set(name, { bytes, until: Date.now() + this.seconds * 1000 });
    this.bytes += bytes.length;
    for (const [old, { until }] of this.pictures) { // the oldest first
      if (old === name || (until >= Date.now() && this.bytes <= this.maxBytes)) break;
      this.drop(old);
    }
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    const { bytes, until = 0 } = this.pictures.get(name) ?? {};
    return until >= Date.now() ? bytes : undefined;
  }

  async remove(name: string): Promise<void> {
    this.drop(name);
  }

  private drop(name: string): void {
    this.bytes -= this.pictures.get(name)?.bytes.length ?? 0;
    this.pictures.delete(name);
  }
}
