import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { RequestError } from '../jobs/errors.js';

/** What anybody may ask: whether the server is there. */
const OPEN = ['/healthz', '/readyz'];

/** Refuses requests that bring none of the keys. Comparing takes as long whatever is wrong with one. */
export function requireKey(server: FastifyInstance, keys: readonly string[]): void {
  const digest = (key: string) => createHash('sha256').update(key).digest();
  const known = keys.map(digest);
  server.addHook('onRequest', async request => {
    if (OPEN.includes(request.url)) return;
    const [, key = ''] = /^Bearer (.+)$/.exec(request.headers.authorization ?? '') ?? [];
    const given = digest(key);
    if (known.filter(each => timingSafeEqual(each, given)).length === 0) {
      throw new RequestError('takes a key: Authorization: Bearer ...', 401);
    }
  });
}
