/** Pictures are made by networks as they are, and any number at a time; a change of them, as by a LoRA, suffers nothing beside it. */
export type NetworkUse = 'run' | 'change';

/** What a piece of work needs: networks, and its pipeline for itself. */
export interface Claim {
  readonly pipeline: object;
  readonly networks: readonly object[];
  readonly use: NetworkUse;
}

/** What to do where other work is in the way. */
export interface Waiting {
  /** `wait`: take a turn after what came before; `throw` by default. */
  readonly whenBusy?: 'throw' | 'wait';
  /** Ends the waiting, with its reason. */
  readonly signal?: AbortSignal;
}

/** In the order in which they came: at work, or waiting for those before them. */
const claims: Array<Claim & { readonly done: Promise<void> }> = [];

/**
 * Does `work` when nothing that came before is in its way. A change waits for other changes, which take no time to speak of.
 * @throws Error if something else is, unless it shall wait; the signal's reason if that ends the waiting.
 */
export async function shareNetworks<T>(claim: Claim, work: () => Promise<T>, { whenBusy = 'throw', signal }: Waiting = {}): Promise<T> {
  const inTheWay = claims.filter(other => conflict(claim, other));
  const first = inTheWay.find(other => claim.use === 'run' || other.use === 'run');
  if (first && whenBusy === 'throw') throw new Error(conflict(claim, first));
  let finish = () => {};
  const entry = { ...claim, done: new Promise<void>(resolve => { finish = resolve; }) };
  claims.push(entry);
  try {
    if (inTheWay.length > 0) await unlessAborted(Promise.all(inTheWay.map(({ done }) => done)), signal);
    return await work();
  } finally {
    claims.splice(claims.indexOf(entry), 1);
    finish();
  }
}

/** Why two pieces of work cannot be done at the same time, if so. */
function conflict(one: Claim, other: Claim): string | undefined {
  if (one.pipeline === other.pipeline) {
    return one.use === 'run' ? "generate: is at work already; await it first, pass whenBusy: 'wait', or a list of prompts"
      : 'the pipeline is at work already; await that first';
  }
  if (one.use === 'run' && other.use === 'run') return undefined;
  if (!one.networks.some(network => other.networks.includes(network))) return undefined;
  return 'another pipeline of the same networks is at work, and one of the two changes them; await it first';
}

async function unlessAborted(promise: Promise<unknown>, signal?: AbortSignal): Promise<void> {
  if (!signal) return void await promise;
  signal.throwIfAborted();
  let abort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort);
  });
  await Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', abort));
}
