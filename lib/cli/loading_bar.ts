import { SingleBar } from 'cli-progress';
import { BAR_LOOK } from '../pipelines/run/progress_bar.js';

const PATIENCE_MS = 1000;

/**
 * Shows how far the weights of a network are read, once that takes over a second: a bar on stderr in a terminal, which goes when
 * they are.
 */
export class LoadingBar {
  private bar?: SingleBar;
  private begun = Infinity;

  constructor(private readonly disable = false) {}

  update({ component, loaded, total }: { component: string; loaded: number; total: number }): void {
    this.begun = Math.min(this.begun, performance.now());
    const shows = !this.disable && process.stderr.isTTY && performance.now() - this.begun > PATIENCE_MS;
    if (shows && !this.bar && loaded < total) {
      this.bar = new SingleBar({ ...BAR_LOOK, format: `Loading ${component} {percentage}% |{bar}|`, barsize: 20, clearOnComplete: true });
      this.bar.start(total, loaded);
    }
    this.bar?.update(loaded);
    if (loaded === total) this.stop();
  }

  /** Takes the bar away: what is printed then stands in its place. */
  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
    this.begun = Infinity;
  }
}
