export interface ProgressBarConfig {
  /** No bar at all. Default: a bar where stderr is a terminal. */
  disable?: boolean;
  /** What stands before the bar. */
  desc?: string;
}

export interface ProgressBar {
  update(done: number): void;
  stop(): void;
}

/** A bar on stderr, in a terminal; elsewhere nothing. */
export async function startProgressBar(total: number, { disable = false, desc = '' }: ProgressBarConfig): Promise<ProgressBar> {
  const inTerminal = typeof process !== 'undefined' && process.stderr?.isTTY;
  if (disable || !inTerminal) return { update() {}, stop() {} };
  const { SingleBar } = (await import('cli-progress')).default;
  const bar = new SingleBar({
    format: `${desc ? `${desc} ` : ''}{percentage}% |{bar}| {value}/{total} [{duration_formatted} < {eta_formatted}]`,
    barCompleteChar: '\u2588',
    barIncompleteChar: ' ',
    barsize: 30,
    hideCursor: true,
  });
  bar.start(total, 0);
  return bar;
}
