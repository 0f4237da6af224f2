import { GROWTH, type Finished, type Run } from './cases.js';
import { median } from './median.js';
import type { Dtype } from './options.js';

export interface SideResult extends Finished {
  name: string;
  versions?: string;
  /** Seconds to load the weights, and from the start of the process to its first result. */
  load: number;
  first: number;
  runs: Run[];
  /** What the process took of the GPU's memory, in bytes. */
  gpuMemory?: number;
  /** Of its result from that of our first, relative to the largest value. */
  difference?: number;
  /** Why it has no figures. */
  failed?: string;
}

export interface CaseResult {
  name: string;
  dtype: Dtype;
  /** Our variants, which are the first sides. */
  ours: readonly string[];
  sides: SideResult[];
  /** Floating-point operations a second of a large matrix product, in the same minutes, where they were measured. */
  matmulPeak?: number;
}

/** What stands above the rows of a case. */
export function head(ours: readonly string[]): string[] {
  return ['', 's', ...ours.map(variant => `ours ${variant} / it`), 'load s', 'first result s', 'peak GiB', 'GPU GiB', 'of it tensors', 'difference', 'GFLOP/s (of matmul peak)'];
}

/** One row for each side. Ratios are of our time to the row's, run by run: below 1 we are ahead. */
export function rows({ name, dtype, ours, sides, matmulPeak }: CaseResult, of = sides): string[][] {
  return of.map(side => {
    const first = `${name}, ${dtype}: ${side.name}`;
    if (side.failed) return [first, side.failed, ...Array<string>(ours.length + 7).fill('')];
    const speed = side.flops ? side.flops / median(walls(side)) : undefined;
    return [
      first, range(walls(side)), ...sides.slice(0, ours.length).map(our => our === side ? '' : ratio(our, side)?.toFixed(2) ?? ''),
      side.load.toFixed(2), side.first.toFixed(2), gib(side.peakRss), gib(side.gpuMemory), gib(side.peakAllocated), side.difference?.toExponential(0) ?? '',
      speed && matmulPeak ? `${(speed / 1e9).toFixed(0)} (${(100 * speed / matmulPeak).toFixed(0)}%)` : '',
    ];
  });
}

/** How cost grows, a line for each side in the order of the table, where all of a chart's cases were measured. Mermaid, which pages of repositories draw. */
export function charts(results: CaseResult[]): string[] {
  return GROWTH.flatMap(({ title, amount, cases }) => {
    const measured = Object.values(cases).map(name => results.find(result => result.name === name));
    if (measured.includes(undefined)) return [];
    const sides = (measured as CaseResult[]).map(result => result.sides);
    if (sides.flat().some(({ failed }) => failed)) return [];
    const lines = sides[0].map((_, side) => `  line [${sides.map(of => median(walls(of[side])).toFixed(3)).join(', ')}]`);
    const axes = [`  x-axis "${amount}" [${Object.keys(cases).join(', ')}]`, '  y-axis "seconds"'];
    return ['```mermaid\nxychart-beta\n' + [`  title "${title}"`, ...axes, ...lines].join('\n') + '\n```'];
  });
}

/** Markdown. */
export function table(top: readonly string[], lines: ReadonlyArray<readonly string[]>): string {
  return [tableHead(top), ...lines.map(tableRow)].join('\n');
}

export function tableHead(top: readonly string[]): string {
  return [top, top.map(() => '---')].map(tableRow).join('\n');
}

export function tableRow(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

/** How much of a side's time another takes, where both have been measured. */
export function ratio(our: SideResult, their: SideResult): number | undefined {
  const ratios = our.runs.flatMap((run, i) => i in their.runs ? [run.wall / their.runs[i].wall] : []);
  return our.failed || their.failed || !ratios.length ? undefined : median(ratios);
}

function walls(side: SideResult): number[] {
  return side.runs.map(run => run.wall);
}

/** The median, and from what to what. */
function range(values: number[]): string {
  const seconds = (value: number) => value < 0.1 ? value.toFixed(4) : value.toFixed(2);
  return `${seconds(median(values))} (${seconds(Math.min(...values))}-${seconds(Math.max(...values))})`;
}

function gib(bytes?: number): string {
  return bytes === undefined ? '' : (bytes / 2 ** 30).toFixed(2);
}
