/** Pictures are made by networks as they are, and any number at a time; a change of them, as by a LoRA, suffers nothing beside it. */
export type NetworkUse = 'run' | 'change';

const uses = new WeakMap<object, { runs: number; changes: number }>();

/** Does `work` with the networks. @throws Error if they are in use in a way that does not go together with it. */
export async function shareNetworks<T>(networks: readonly object[], use: NetworkUse, work: () => Promise<T>): Promise<T> {
  const usesOf = (network: object) => uses.get(network) ?? { runs: 0, changes: 0 };
  if (networks.map(usesOf).some(({ runs, changes }) => changes > 0 || (use === 'change' && runs > 0))) {
    throw new Error('generate: another pipeline of the same networks is at work, and one of the two changes them; await it first');
  }
  const count = (difference: 1 | -1) => networks.forEach(network => {
    const { runs, changes } = usesOf(network);
    uses.set(network, use === 'run' ? { runs: runs + difference, changes } : { runs, changes: changes + difference });
  });
  count(1);
  try {
    return await work();
  } finally {
    count(-1);
  }
}
