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

/** One row for each side of each case. Ratios are ours to theirs: below 1 we are ahead. */
export function markdown(results: CaseResult[]): string {
  const rows = results.flatMap(({ name, matmulPeak, sides: [ours, ...theirs] }) => [ours, ...theirs].map(side => {
    const walls = side.runs.map(run => run.wall);
    const wall = median(walls);
    const ratio = side === ours ? '' : median(side.runs.map((run, i) => ours.runs[i].wall / run.wall)).toFixed(2);
    const speed = ours.flops ? `${(ours.flops / wall / 1e9).toFixed(0)} (${(100 * ours.flops / wall / matmulPeak).toFixed(0)}%)` : '';
    return [
      name, side.name, seconds(wall), `${seconds(Math.min(...walls))}-${seconds(Math.max(...walls))}`, seconds(median(side.runs.map(run => run.cpu))),
      ratio, speed, seconds(side.load), (side.peakRss / 2 ** 30).toFixed(2), side.difference?.toExponential(1) ?? '',
    ];
  }));
  const head = ['case', 'side', 'median s', 'spread', 'CPU s', 'ours / theirs', 'GFLOP/s (of matmul peak)', 'load s', 'peak GiB', 'difference'];
  return [head, head.map(() => '---'), ...rows].map(row => `| ${row.join(' | ')} |`).join('\n');
}

/** How cost grows, a line for each side in the order of the table, where all of a chart's cases were measured. Mermaid, which pages of repositories draw. */
export function charts(results: CaseResult[]): string[] {
  return GROWTH.flatMap(({ title, amount, cases }) => {
    const measured = Object.values(cases).map(name => results.find(result => result.name === name));
    if (measured.includes(undefined)) return [];
    const sides = (measured as CaseResult[]).map(result => result.sides);
    const lines = sides[0].map((_, side) => `  line [${sides.map(of => median(of[side].runs.map(run => run.wall)).toFixed(3)).join(', ')}]`);
    const axes = [`  x-axis "${amount}" [${Object.keys(cases).join(', ')}]`, '  y-axis "seconds"'];
    return ['```mermaid\nxychart-beta\n' + [`  title "${title}"`, ...axes, ...lines].join('\n') + '\n```'];
  });
}

function seconds(value: number): string {
  return value < 0.1 ? value.toFixed(4) : value.toFixed(2);
}
