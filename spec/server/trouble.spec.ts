import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join, resolve } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { Image } from '../../lib/image/image.js';
import { EmbeddedEngine } from '../../lib/jobs/embedded_engine.js';
import { StoreFullError } from '../../lib/jobs/errors.js';
import type { Job } from '../../lib/jobs/job.js';
import type { AcceptedRequest } from '../../lib/jobs/picture_request.js';
import { MemoryStore } from '../../lib/jobs/stores/memory_store.js';
import { createServer, type ServerOptions } from '../../lib/server/create_server.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { TINY } from '../support/tiny_pipeline.js';
import { until } from '../support/until.js';

const load = { device: 'wasm' } as const;

/** Takes its time before it takes a request. */
class SlowEngine extends EmbeddedEngine {
  asked = 0;
  readonly taken: Job[] = [];

  override async submit(wanted: AcceptedRequest): Promise<Job> {
    this.asked++;
    await sleep(100);
    const job = await super.submit(wanted);
    this.taken.push(job);
    return job;
  }
}

class FullStore extends MemoryStore {
  override async write(): Promise<void> {
    throw new StoreFullError();
  }
}

describe('When something is wrong, a server', () => {
  const folder = temporaryFolder();
  const trouble: string[] = [];
  const onTrouble = (message: string) => void trouble.push(message);
  let server: FastifyInstance;
  afterEach(async () => {
    await server.close();
    trouble.length = 0;
  });

  const start = async (options: Partial<ServerOptions>) => {
    server = await createServer({ models: { tiny: resolve(TINY) }, load, onTrouble, ...options });
    return server;
  };
  const post = async (url: string, payload: object) => {
    const { statusCode, body } = await server.inject({ method: 'POST', url, payload });
    return [statusCode, (JSON.parse(body) as { error?: { message: string } }).error?.message];
  };

  it('says so to the operator, without the prompt, and answers that it is its own fault', async () => {
    const broken = join(folder(), 'broken');
    cpSync(TINY, broken, { recursive: true });
    const config = join(broken, 'unet', 'config.json');
    writeFileSync(config, JSON.stringify({ ...JSON.parse(readFileSync(config, 'utf8')) as object, in_channels: 'x' }));
    await start({ models: { tiny: resolve(TINY), broken } });
    assert.deepEqual(await post('/models/broken', { inputs: 'a secret' }), [500, 'the picture failed; the server\'s log says why']);
    assert.equal(trouble.length, 1);
    assert.match(trouble[0], /^job [0-9a-f-]{36}: OfferError: [^\n]*in_channels/);
    assert.doesNotMatch(trouble[0], /secret/);
  });

  it('names the route that failed', async () => {
    await start({});
    server.get('/wrong/:id', () => { throw new Error('a\n bug'); });
    const { statusCode, body } = await server.inject('/wrong/secret');
    assert.equal(statusCode, 500);
    assert.match(body, /the server failed; its log says why/);
    assert.deepEqual(trouble, ['GET /wrong/:id: Error: a bug']);
  });

  it('says that its store is full', async () => {
    await start({ store: new FullStore() });
    assert.deepEqual(await post('/', { inputs: 'a star', parameters: { num_inference_steps: 1 } }), [507, 'there is no room left for pictures']);
    assert.match(trouble.join(), /^job [0-9a-f-]{36}: StoreFullError: there is no room left for pictures$/);
  });

  it('refuses what finds no room before it looks at it', async () => {
    await start({ limits: { maxQueue: 1 } });
    for (let i = 0; i < 2; i++) {
      await post('/jobs', { prompt: 'a star', steps: 100 });
      await sleep(20);
    }
    for (const url of ['/sdapi/v1/img2img', '/v1/images/edits']) assert.equal((await post(url, { init_images: ['no picture'] }))[0], 429, url);
    assert.deepEqual(trouble, []);
  });

  it('draws nothing for clients that go away, however early', async () => {
    const engine = new SlowEngine({ models: { tiny: resolve(TINY) }, load, maxQueue: 10 });
    const address = await (await start({ engine })).listen({ port: 0 });
    const picture = Buffer.from(await new Image(new Uint8Array(768), 16, 16).toPng()).toString('base64');
    const steps = 100;
    const asked: Array<[path: string, body: object]> = [
      ['/', { inputs: 'a star', parameters: { num_inference_steps: steps } }], ['/v1/images/generations', { prompt: 'a star', steps }],
      ['/v1/images/generations', { prompt: 'a star', steps, stream: true }], ['/sdapi/v1/txt2img', { prompt: 'a star', steps }],
      ['/sdapi/v1/img2img', { prompt: 'a star', steps, init_images: [picture] }],
    ];
    for (const [i, [path, body]] of asked.entries()) {
      const sent = request(address + path, { method: 'POST', headers: { 'content-type': 'application/json' } }).on('error', () => {});
      sent.end(JSON.stringify(body));
      await until(() => engine.asked > i, 'it has come');
      sent.destroy();
    }
    await until(() => engine.taken.length === asked.length, 'all are taken');
    for (const { finished } of engine.taken) await assert.rejects(finished, /cancelled/);
  });

  it('logs no error where a client leaves events', async () => {
    let log = '';
    const stream = new Writable({ write: (text, _, done) => { log += String(text); done(); } });
    const engine = new SlowEngine({ models: { tiny: resolve(TINY) }, load, maxQueue: 10 });
    const address = await (await start({ engine, logger: { stream } })).listen({ port: 0 });
    const headers = { 'content-type': 'application/json' };
    for (const wait of [50, 250]) { // before it is taken, and before there is anything to tell
      const asked = request(`${address}/v1/images/generations`, { method: 'POST', headers }).on('error', () => {});
      asked.end(JSON.stringify({ prompt: 'a star', steps: 100, stream: true }));
      await sleep(wait);
      asked.destroy();
    }
    await sleep(150);
    assert.doesNotMatch(log, /"level":(50|60)/);
  });
});
