/** The shape of the weight of that key, if a checkpoint has it. */
export type Shapes = (key: string) => readonly number[] | undefined;

/** The shapes of weights that have to be there. @throws RangeError naming the network and the key that is missing. */
export function needed(name: string, shapes: Shapes): (key: string) => readonly number[] {
  return key => {
    const shape = shapes(key);
    if (!shape) throw new RangeError(`${name}: the checkpoint has no ${key}`);
    return shape;
  };
}

/** From 0 on, how many are there. */
export function count(has: (i: number) => unknown): number {
  let found = 0;
  while (has(found)) found++;
  return found;
}
