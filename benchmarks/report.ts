import { GROWTH, type Finished, type Run } from './cases.js';

export interface SideResult extends Finished {
  name: string;
  /** Seconds to load the weights. */
  load: number;
  runs: Run[];
  /** Of its result from ours, relative to its largest value. */
  difference?: number;
}

export interface CaseResult {
  name: string;
  /** Floating-point operations a second of a large matrix product, in the same minutes. */
  matmulPeak: number;
  sides: SideResult[];
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** One row for each case. Ratios are ours to theirs, run by run: below 1 we are ahead. */
export function markdown(results: CaseResult[]): string {
  const rows = results.map(({ name, matmulPeak, sides: [ours, ...theirs] }) => {
    const speed = ours.flops ? ours.flops / median(walls(ours)) : undefined;
    return [
      name, range(walls(ours)), speed ? `${(speed / 1e9).toFixed(0)} (${(100 * speed / matmulPeak).toFixed(0)}%)` : '', gib(ours),
      ...theirs.flatMap(side => {
        const ratio = median(side.runs.map((run, i) => ours.runs[i].wall / run.wall));
        return [range(walls(side)), ratio.toFixed(2), gib(side), side.difference!.toExponential(0)];
      }),
    ];
  });
  const [ours, ...theirs] = results[0].sides.map(side => side.name);
  const head = ['', `${ours} s`, 'GFLOP/s (of matmul peak)', 'peak GiB', ...theirs.flatMap(side => [`${side} s`, 'ours / theirs', 'peak GiB', 'difference'])];
  return table(head, rows);
}

/** How cost grows, a line for each side in the order of the table, where all of a chart's cases were measured. Mermaid, which pages of repositories draw. */
export function charts(results: CaseResult[]): string[] {
  return GROWTH.flatMap(({ title, amount, cases }) => {
    const measured = Object.values(cases).map(name => results.find(result => result.name === name));
    if (measured.includes(undefined)) return [];
    const sides = (measured as CaseResult[]).map(result => result.sides);
    const lines = sides[0].map((_, side) => `  line [${sides.map(of => median(walls(of[side])).toFixed(3)).join(', ')}]`);
    const axes = [`  x-axis "${amount}" [${Object.keys(cases).join(', ')}]`, '  y-axis "seconds"'];
    return ['```mermaid\nxychart-beta\n' + [`  title "${title}"`, ...axes, ...lines].join('\n') + '\n```'];
  });
}

/** Markdown. */
export function table(head: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  return [head, head.map(() => '---'), ...rows].map(row => `| ${row.join(' | ')} |`).join('\n');
}

function walls(side: SideResult): number[] {
  return side.runs.map(run => run.wall);
}

/** The median, and from what to what. */
function range(values: number[]): string {
  const seconds = (value: number) => value < 0.1 ? value.toFixed(4) : value.toFixed(2);
  return `${seconds(median(values))} (${seconds(Math.min(...values))}-${seconds(Math.max(...values))})`;
}

function gib({ peakRss }: SideResult): string {
  return (peakRss / 2 ** 30).toFixed(2);
}
