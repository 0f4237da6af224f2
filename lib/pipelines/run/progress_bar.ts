/** How a pipeline shows its progress. */
export interface ProgressBarConfig {
  /** Whether to show nothing at all. By default there is a bar if stderr is a terminal, and else a line every few seconds. */
  disable?: boolean;
  /** What stands before the bar. */
  desc?: string;
  /**
   * Called with true when the GPU begins to be prepared for a kind of picture, before the first such picture, and with false when that is
   * done.
   */
  onPreparing?: (preparing: boolean) => void;
}

export interface ProgressBar {
  update(done: number): void;
  stop(): void;
}

/** How every bar looks. With `linewrap` the terminal stays as it is; otherwise it would stay changed when the process is ended. */
export const BAR_LOOK = { barCompleteChar: '\u2588', barIncompleteChar: ' ', linewrap: true };

/** Between two lines, in milliseconds. */
const PATIENCE = 5000;

/** A bar on stderr, in a terminal; elsewhere a line now and then, and in a page nothing. */
export async function startProgressBar(total: number, { disable = false, desc = '' }: ProgressBarConfig): Promise<ProgressBar> {
  const stderr = typeof process === 'undefined' ? undefined : process.stderr;
  if (disable || !stderr) return { update() {}, stop() {} };
  if (!stderr.isTTY) return lines(total, desc);
  const { SingleBar } = (await import('cli-progress')).default;
  const bar = new SingleBar({
    format: `${desc ? `${desc} ` : ''}{percentage}% |{bar}| {value}/{total} [{duration_formatted} < {eta_formatted}]`,
    ...BAR_LOOK,
    barsize: 30,
  });
  bar.start(total, 0);
  return bar;
}

/** For logs. Quick work leaves none. */
function lines(total: number, desc: string): ProgressBar {
  const started = performance.now();
  let told = started;
  return {
    update(done) {
      const now = performance.now();
      if (now - told < PATIENCE) return;
      told = now;
      console.error(`${desc ? `${desc}: ` : ''}${done} of ${total}, ${Math.round((now - started) / 1000)} s`);
    },
    stop() {},
  };
}
