import type { RedisConnection } from './connection.js';

/** A message that stays until whoever runs the job, now or after another has died, has heard it: for as long as a request may wait. */
const STAYS = 2 * 24 * 3600 * 1000;
const topicOf = (id: string) => `cancelled.${id}`;

/** Tells whoever runs a job that nobody wants it any more. */
export async function sendCancellation({ relay }: RedisConnection, id: string): Promise<void> {
  await relay.publish(topicOf(id), null, { retain: STAYS });
}

/** Calls `cancel` when a job is cancelled, or was before. @returns how to stop listening. */
export async function listenForCancellation({ relay }: RedisConnection, id: string, cancel: () => void): Promise<() => Promise<void>> {
  let heard = false;
  const subscription = await relay.subscribe(topicOf(id), () => {
    heard = true;
    cancel();
  });
  return async () => {
    await subscription.unsubscribe();
    if (heard) await relay.deleteRetained(topicOf(id));
  };
}
