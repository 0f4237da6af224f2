import type { GraphOptions } from '../../core/graph.js';
import type { Model } from '../../models/model.js';
import type { ProgressBarConfig } from './progress_bar.js';

/** Options of a pipeline's `compile`. */
export interface CompileOptions extends GraphOptions {
  /** Whether a picture waits after the first step until XLA has made machine code of its networks, or goes on with graphs as they are. */
  wait?: boolean;
}

/** What takes longer is told. */
const PATIENCE = 2000;

/** Waits for kernels that are compiled, and tells of it. */
export async function followPreparation(compile: () => Promise<void>, { disable, onPreparing }: ProgressBarConfig): Promise<void> {
  const told = setTimeout(() => { if (!disable) console.warn('preparing the GPU, the first time'); }, PATIENCE);
  onPreparing?.(true);
  try {
    await compile();
  } finally {
    clearTimeout(told);
    onPreparing?.(false);
  }
}

/** Tells what XLA makes machine code of, how long that took, and of what it could not. Comes back at once, or to `wait` when it is done. */
export async function followCompilation(
  networks: ReadonlyMap<string, Model<unknown>>, { wait, silent }: { wait?: boolean; silent?: boolean },
): Promise<void> {
  const started = performance.now();
  const names = [...networks.keys()].join(', ');
  const say = (text: string) => { if (!silent) console.warn(`compile: ${text}`); };
  const begins = `XLA makes machine code of ${names}${wait ? '' : ' meanwhile'}; that can take a minute or two, the first time`;
  const begun = setTimeout(() => say(begins), PATIENCE);
  const done = Promise.all([...networks].map(async ([name, network]) => {
    try {
      await network.compiled();
    } catch (error) {
      say(`XLA does not take ${name}, which runs as a graph without it (${(error as Error).message.split('\n')[0].slice(0, 300)})`);
    }
  })).then(() => {
    clearTimeout(begun);
    const milliseconds = performance.now() - started;
    if (milliseconds > PATIENCE) say(`machine code is made, after ${Math.round(milliseconds / 1000)} s`);
  });
  if (wait) await done;
}
