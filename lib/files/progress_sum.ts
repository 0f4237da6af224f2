import type { DownloadProgress } from './model_folder.js';

const intervalMs = 100;

/** Adds up what several downloads report, and tells it at the beginning, at the end, and about ten times a second between. */
export class ProgressSum {
  private readonly started = performance.now();
  private told = -Infinity;
  private received = 0;
  private filesLoaded = 0;

  constructor(
    private readonly total: number,
    private loaded: number,
    private readonly files: number,
    private readonly onProgress?: (progress: DownloadProgress) => void,
  ) {
    this.tell();
  }

  /** More bytes, or fewer. */
  add(bytes: number): void {
    this.loaded += bytes;
    this.received += Math.max(0, bytes);
    if (performance.now() - this.told >= intervalMs) this.tell();
  }

  fileDone(): void {
    this.filesLoaded++;
    this.tell();
  }

  private tell(): void {
    this.told = performance.now();
    const { loaded, total, files, filesLoaded } = this;
    const bytesPerSecond = Math.round(1000 * this.received / Math.max(1, this.told - this.started));
    this.onProgress?.({ stage: 'download', loaded, total, filesLoaded, files, bytesPerSecond });
  }
}
