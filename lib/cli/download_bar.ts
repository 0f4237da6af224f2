import { SingleBar } from 'cli-progress';
import { formatBytes } from '../core/format.js';
import type { DownloadProgress } from '../files/model_folder.js';
import { BAR_LOOK } from '../pipelines/run/progress_bar.js';

/** Shows how far all downloads together are: a bar on stderr in a terminal, else a line when they begin. */
export class DownloadBar {
  private bar?: SingleBar;
  private begun = false;

  /** @param say how to print a line. */
  constructor(private readonly model: string, private readonly say: (line: string) => void, private readonly disable = false) {}

  update({ loaded, total, filesLoaded, files, bytesPerSecond }: DownloadProgress): void {
    const seconds = Math.ceil((total - loaded) / bytesPerSecond);
    const left = seconds < 100 ? `${seconds} s` : seconds < Infinity ? `${Math.ceil(seconds / 60)} min` : '?';
    const speed = `${formatBytes(bytesPerSecond)}/s`;
    const text = `${filesLoaded}/${files} files, ${formatBytes(loaded)} of ${formatBytes(total)}, ${speed}, ${left} left`;
    if (this.begun) this.bar?.update(loaded, { text });
    else if (!this.disable && process.stderr.isTTY) this.begin(loaded, total, text);
    else this.say(`Downloading ${this.model}: ${files} files, ${formatBytes(total - loaded)}`);
    this.begun = true;
    if (filesLoaded === files) this.stop();
  }

  /** Takes the bar away: what is printed then stands below it. */
  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
  }

  private begin(loaded: number, total: number, text: string): void {
    this.bar = new SingleBar({ ...BAR_LOOK, format: 'Downloading {percentage}% |{bar}| {text}', barsize: 20 });
    this.bar.start(total, loaded, { text });
  }
}
