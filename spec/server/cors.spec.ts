import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { createServer } from '../../lib/server/create_server.js';
import { TINY } from '../support/tiny_pipeline.js';

describe('Pages of other origins', () => {
  async function headers(cors: string[] | undefined, origin: string, method: 'GET' | 'OPTIONS' = 'GET'): Promise<[number, unknown]> {
    const server = await createServer({ models: { tiny: resolve(TINY) }, load: { device: 'wasm' }, apiKeys: ['key'], cors });
    const { statusCode, headers } = await server.inject({ method, url: '/v1/models', headers: {
      origin, ...method === 'GET' ? { authorization: 'Bearer key' } : { 'access-control-request-method': 'DELETE', 'access-control-request-headers': 'authorization' },
    } });
    await server.close();
    return [statusCode, headers['access-control-allow-origin']];
  }

  it('may ask where they are named, and else not', async () => {
    assert.deepEqual(await headers(undefined, 'https://a.example'), [200, undefined]);
    assert.deepEqual(await headers(['https://a.example'], 'https://a.example'), [200, 'https://a.example']);
    assert.deepEqual(await headers(['https://a.example', 'https://c.example'], 'https://b.example'), [200, undefined]);
    assert.deepEqual(await headers(['*'], 'https://b.example'), [200, '*']);
  });

  it('hear what they may without a key', async () => {
    assert.deepEqual(await headers(['https://a.example'], 'https://a.example', 'OPTIONS'), [204, 'https://a.example']);
  });
});
