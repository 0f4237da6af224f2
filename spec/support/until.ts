import { setTimeout as sleep } from 'node:timers/promises';

/** Comes back when something is so, and with what `look` then gives. @param what for the error, if it never is. */
export async function until<T>(look: () => T | Promise<T>, what: string, milliseconds = 240_000): Promise<Exclude<T, false | null | undefined | 0 | ''>> {
  for (const end = Date.now() + milliseconds; Date.now() < end; await sleep(10)) {
    const found = await look();
    if (found) return found as Exclude<T, false | null | undefined | 0 | ''>;
  }
  throw new Error(`it never was that ${what}`);
}
