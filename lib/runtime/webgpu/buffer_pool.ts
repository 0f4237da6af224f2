/**
 * How many bytes of buffers that nobody uses are kept, as one step of a network uses the same sizes as the one before: of the largest
 * buffer, which is all that a device says of its memory, such a share, and so many bytes at most.
 */
const MOST_FREE = { share: 1 / 4, bytes: 2 ** 30 };

/**
 * Buffers that are used again, by their size and usage. In place of the BufferManager of tfjs, which keeps every buffer for ever, so that
 * each network's come on top of those of the one before: here those that were free for the longest go when there are too many.
 */
export class BufferPool {
  /** In use, and in use or free. */
  numBytesUsed = 0;
  numBytesAllocated = 0;
  private readonly used = new Set<GPUBuffer>();
  /** In the order in which they became free. */
  private readonly free = new Set<GPUBuffer>();
  private readonly freeOf = new Map<string, GPUBuffer[]>();

  /** @param mostFree bytes of free buffers that are kept when commands were submitted. */
  constructor(
    private readonly device: GPUDevice, public mostFree = Math.min(MOST_FREE.bytes, MOST_FREE.share * device.limits.maxBufferSize),
  ) {}

  acquireBuffer(size: number, usage: GPUBufferUsageFlags, mappedAtCreation = false, reuse = true): GPUBuffer {
    let buffer = reuse ? this.freeOf.get(key({ size, usage }))?.pop() : undefined; // not mapped: then tfjs copies into it
    if (buffer) {
      this.free.delete(buffer);
    } else {
      buffer = this.device.createBuffer({ size, usage, mappedAtCreation });
      this.numBytesAllocated += size;
    }
    this.used.add(buffer);
    this.numBytesUsed += size;
    return buffer;
  }

  releaseBuffer(buffer: GPUBuffer, reuse = true): void {
    if (!this.used.delete(buffer)) return; // of before dispose
    this.numBytesUsed -= buffer.size;
    if (!reuse) {
      this.destroy(buffer);
      return;
    }
    const same = this.freeOf.get(key(buffer));
    if (same) same.push(buffer);
    else this.freeOf.set(key(buffer), [buffer]);
    this.free.add(buffer);
  }

  getNumUsedBuffers(): number {
    return this.used.size;
  }

  getNumFreeBuffers(): number {
    return this.free.size;
  }

  /** Gives back all but so many bytes of what is free. Commands that use it must be submitted before, or the device refuses them. */
  keep(bytes: number): void {
    for (const buffer of this.free) {
      if (this.numBytesAllocated - this.numBytesUsed <= bytes) return;
      this.free.delete(buffer);
      const same = this.freeOf.get(key(buffer))!;
      same.splice(same.indexOf(buffer), 1);
      this.destroy(buffer);
    }
  }

  dispose(): void {
    this.keep(0);
    this.used.forEach(buffer => this.destroy(buffer));
    this.used.clear();
    this.numBytesUsed = 0;
  }

  private destroy(buffer: GPUBuffer): void {
    this.numBytesAllocated -= buffer.size;
    buffer.destroy();
  }
}

function key({ size, usage }: Pick<GPUBuffer, 'size' | 'usage'>): string {
  return `${size} ${usage}`;
}
