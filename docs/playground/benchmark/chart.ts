import type { DeviceInfo } from '../protocol.js';
import { duration, make } from '../page/dom.js';
import { isFigure, PARTS, speed, type Figure, type Outcome, type Part } from './report.js';

export const PART_NAMES: Record<Part, string> = {
  matrixProduct: 'Matrix product', attention: 'Attention', convolution: 'Convolution', picture: 'Picture of the bundled model', unet: 'UNet step with guidance',
};

/** How a device is called. */
export type Label = (device: DeviceInfo['device']) => string;

/** Bars on one scale, one below the other, as long as devices are fast: for the eye alone, the table says the same. */
export function drawChart(outcomes: readonly Outcome[], label: Label): HTMLElement[] {
  const figures = outcomes.filter(isFigure).filter(({ gflop }) => gflop);
  const fastest = Math.max(...figures.map(speed));
  const drawn = PARTS.map(part => ({ part, of: figures.filter(each => each.part === part) })).filter(({ of }) => of.length > 0);
  return drawn.map(({ part, of }) => make('div', { className: 'part' }, make('h3', {}, PART_NAMES[part]), ...of.map(figure => {
    const bar = make('span', { className: `bar ${figure.device}` });
    bar.style.setProperty('--share', `${100 * speed(figure) / fastest}%`);
    return make('div', { className: 'row' },
      make('span', {}, label(figure.device)), make('span', { className: 'track' }, bar),
      make('span', { className: 'number' }, make('b', {}, rate(figure)), ` · ${precise(figure.median)}`));
  })));
}

/** '1.9 s for 20 steps by WebAssembly' */
export function pictureCaption(outcomes: readonly Outcome[], label: Label): string {
  const figures = outcomes.filter(isFigure).filter(({ steps }) => steps);
  return figures.map(({ median, steps, device }) => `${precise(median)} for ${steps} ${steps === 1 ? 'step' : 'steps'} by ${label(device)}`).join(', ');
}

/** A row for each of a part and a device. */
export function tableRows(outcomes: readonly Outcome[], label: Label): HTMLTableRowElement[] {
  const inOrder = PARTS.flatMap(part => outcomes.filter(each => each.part === part));
  return inOrder.map(outcome => {
    const head = make('th', { scope: 'row' }, PART_NAMES[outcome.part]);
    if (!isFigure(outcome)) return make('tr', {}, head, cell('On', label(outcome.device)), make('td', { colSpan: 4, className: 'error' }, outcome.failed));
    const { device, size, smaller, milliseconds, median } = outcome;
    const range = milliseconds.length > 1 ? `${precise(Math.min(...milliseconds))} to ${precise(Math.max(...milliseconds))}` : 'one';
    return make('tr', {}, head, cell('On', label(device)), cell('Size', size, ...smaller ? [make('span', { className: 'note' }, `Smaller: ${smaller}`)] : []),
      cell('Median', precise(median)), cell('Runs', range), cell('Speed', rate(outcome)));
  });
}

/** Of a column, whose name stands before it where columns are not side by side. */
function cell(column: string, ...content: Array<Node | string>): HTMLTableCellElement {
  const made = make('td', { className: column.toLowerCase() }, ...content);
  made.dataset.column = column;
  return made;
}

/** '640 GFLOP/s', '9.1 steps/s' */
function rate(figure: Figure): string {
  const value = speed(figure);
  const digits = value < 10 ? value.toPrecision(2) : Math.round(value).toLocaleString('en');
  return `${digits} ${figure.steps ? 'steps' : 'GFLOP'}/s`;
}

function precise(milliseconds: number): string {
  return milliseconds < 100 ? `${milliseconds.toPrecision(2)} ms` : duration(milliseconds);
}
