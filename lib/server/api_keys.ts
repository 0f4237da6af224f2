import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { RequestError } from '../jobs/errors.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** The key that it brought, one of the server's; empty where none is asked for. */
    apiKey: string;
  }
}

/** What anybody may ask: whether the server is there. */
const OPEN = ['/healthz', '/readyz'];

/**
 * Refuses requests that bring none of the keys, as a bearer's or as the password of any user. Comparing takes as long whatever is wrong
 * with one. Without keys, everybody may ask.
 */
export function requireKey(server: FastifyInstance, keys: readonly string[]): void {
  server.decorateRequest('apiKey', '');
  if (keys.length === 0) return;
  const digest = (key: string) => createHash('sha256').update(key).digest();
  const known = keys.map(digest);
  server.addHook('onRequest', async request => {
    if (OPEN.includes(request.url)) return;
    const key = keyOf(request);
    const given = digest(key);
    if (known.filter(each => timingSafeEqual(each, given)).length === 0) {
      throw new RequestError('takes a key: Authorization: Bearer ...', 401);
    }
    request.apiKey = key;
  });
}

function keyOf({ headers: { authorization = '' } }: FastifyRequest): string {
  const [, bearer] = /^Bearer (.+)$/i.exec(authorization) ?? [];
  if (bearer !== undefined) return bearer;
  const [, basic = ''] = /^Basic (.+)$/i.exec(authorization) ?? [];
  const pair = Buffer.from(basic, 'base64').toString(); // user:password
  return pair.slice(pair.indexOf(':') + 1);
}
