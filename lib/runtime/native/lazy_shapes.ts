import { isHalf, TF } from './binding.js';
import { same, type Shape } from './tensor_data.js';

/** A tensor that is put into an op: the shape that is meant, and the one in which it lies. */
export interface Input {
  readonly shape: Shape;
  readonly lies: Shape;
  readonly dtype: number;
}

/** When an op may take its inputs as they lie, and what shape is then meant by its output. Numbers go with any shape: no inputs here. */
interface Rule {
  allows(inputs: readonly Input[]): boolean;
  output(inputs: readonly Input[], lies: Shape): number[];
}

const ELEMENTS: Rule = {
  allows: ([first, ...others]) => others.every(({ shape, lies }) => same(shape, first.shape) && same(lies, first.lies)),
  output: ([{ shape }]) => [...shape],
};
const ROWS: Rule = { allows: ([{ shape, lies }]) => shape.at(-1) === lies.at(-1), output: ([{ shape }]) => [...shape] };
const MATRICES: Rule = {
  allows: ([a, b]) => same(a.shape.slice(0, -2), b.shape.slice(0, -2)) && same(a.lies.slice(0, -2), b.lies.slice(0, -2)) &&
    [a, b].every(({ shape, lies }) => same(shape.slice(-2), lies.slice(-2))),
  output: ([{ shape }], lies) => [...shape.slice(0, -2), ...lies.slice(-2)],
};
const RULES: Record<string, Rule | undefined> = {
  ...Object.fromEntries(['Add', 'Erf', 'Mul', 'RealDiv', 'Sigmoid', 'SoftplusGrad', 'Square', 'Sub'].map(name => [name, ELEMENTS])),
  Softmax: ROWS, _MklSoftmax: ROWS, BatchMatMulV2: MATRICES,
};

/**
 * What makes a reshape no op, as it is none on tfjs's other backends: an op that does not mind takes its inputs as they lie. Then this
 * returns what shape is meant by that in which its output lies; undefined if its inputs must lie in their shapes.
 */
export function takesAsTheyLie(op: string, inputs: readonly Input[]): ((lies: Shape) => number[]) | undefined {
  const rule = RULES[op];
  const shaped = rule ? inputs.filter(({ shape }) => shape.length > 0) : [];
  if (!rule || shaped.length === 0 || !shaped.every(({ dtype }) => dtype === TF.FLOAT || isHalf(dtype)) || !rule.allows(shaped)) {
    return undefined;
  }
  return lies => rule.output(shaped, lies);
}
