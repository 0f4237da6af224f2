/** The command line asks for what cannot be: exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** @throws UsageError for one of `others` that is given without the option that it belongs to. */
export function refuseWithout(name: string, given: unknown, others: Readonly<Record<string, unknown>>): void {
  const alone = Object.keys(others).find(other => others[other] !== undefined && given === undefined);
  if (alone) throw new UsageError(`${alone}: takes ${name} too`);
}
