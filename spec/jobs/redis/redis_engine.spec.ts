import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { Image } from '../../../lib/image/image.js';
import { EmbeddedEngine } from '../../../lib/jobs/embedded_engine.js';
import type { Engine } from '../../../lib/jobs/engine.js';
import { Job } from '../../../lib/jobs/job.js';
import { layAside, traceOf } from '../../../lib/jobs/redis/job_data.js';
import { RedisEngine, type RedisEngineOptions } from '../../../lib/jobs/redis/redis_engine.js';
import { RedisWorker, type RedisWorkerOptions } from '../../../lib/jobs/redis/redis_worker.js';
import { FolderStore } from '../../../lib/jobs/stores/folder_store.js';
import { describeWithRedis, freePort } from '../../support/redis_server.js';
import { TINY } from '../../support/tiny_pipeline.js';
import { until } from '../../support/until.js';

const REQUEST = { prompt: 'a star', model: 'tiny', seed: 1, count: 1, steps: 2 };

describeWithRedis('An engine that is a queue in Redis', redis => {
  const folder = mkdtempSync(join(tmpdir(), 'spec-'));
  after(() => rmSync(folder, { recursive: true }));
  let prefix = '';
  let trouble: string[] = [];
  const open: Array<{ close(): Promise<void> }> = [];
  beforeEach(() => { prefix = `spec-${Math.random()}`; });
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
    assert.deepEqual(trouble, []);
    trouble = [];
  });

  const shared = () => ({ url: redis.url, prefix, store: new FolderStore(folder), patience: 5000, onTrouble: (text: string) => { trouble.push(text); } });

  async function startEngine(options: Partial<RedisEngineOptions> = {}): Promise<RedisEngine> {
    const engine = new RedisEngine({ ...shared(), maxQueue: 100, backoff: 50, ...options });
    await engine.start();
    open.push(engine);
    return engine;
  }

  async function startWorker(options: Partial<RedisWorkerOptions> = {}): Promise<RedisWorker> {
    const worker = new RedisWorker({ ...shared(), models: { tiny: resolve(TINY) }, load: { device: 'wasm' }, ...options });
    await worker.start();
    open.push(worker);
    return worker;
  }

  const known = (engine: Engine, model = 'tiny') => until(() => engine.models.includes(model), `the engine knows ${model}`);
  const pictures = async (engine: Engine, job: Job) => Promise.all((await job.finished).map(async ({ name }) => Image.fromBytes((await engine.store.read(name))!)));

  it('gives the pictures that an engine without Redis gives, in batches, with looks at them on the way', async () => {
    const engine = await startEngine();
    assert.deepEqual([engine.ready, engine.models], [false, []]);
    await startWorker({ maxBatch: 3, loras: { none: 'none' } });
    await known(engine);
    assert.deepEqual([engine.ready, engine.loras], [true, ['none']]);
    assert.deepEqual([engine.describe('tiny')?.tasks, engine.describe('none')], [['text', 'image', 'mask'], undefined]);
    const [worker] = await engine.workers();
    assert.deepEqual([worker.models, worker.inMemory, worker.device, worker.maxBatch, worker.pid], [['tiny'], ['tiny'], 'wasm', 3, process.pid]);
    const embedded = new EmbeddedEngine({ models: { tiny: resolve(TINY) }, load: { device: 'wasm' }, maxQueue: 10 });
    open.push(embedded);
    const requests = [{ ...REQUEST, count: 2, previews: 1 }, { ...REQUEST, prompt: 'a circle', seed: 5 }];
    const jobs = await Promise.all(requests.map(request => engine.submit(request)));
    const states: string[] = [];
    jobs[0].on('change', () => states.push(`${jobs[0].state} ${jobs[0].step}`));
    for (const [i, job] of jobs.entries()) {
      const expected = await pictures(embedded, await embedded.submit(requests[i]));
      const made = await pictures(engine, job);
      assert.equal(made.length, expected.length);
      made.forEach(({ data }, j) => assert.ok(data.every((byte, at) => Math.abs(byte - expected[j].data[at]) <= 2)));
    }
    assert.deepEqual(states, ['running 0', 'running 1', 'running 2', 'running 3', 'done 3']); // PNDM takes one step twice
    assert.deepEqual([jobs[0].previews, jobs[0].pictures[1].seed], [[`${jobs[0].id}/preview-0.png`], 2]);
    assert.ok(await engine.store.read(jobs[0].previews[0]));
    assert.equal(await engine.placeOf(jobs[0]), undefined);
  });

  it('knows what another server took, and what it took before it began anew', async () => {
    await startWorker();
    const first = await startEngine();
    await known(first);
    const done = await first.submit(REQUEST);
    await done.finished;
    const long = await first.submit({ ...REQUEST, steps: 100 });
    await until(() => long.step > 1, 'it runs');
    const second = await startEngine();
    const found = (await second.find(done.id))!;
    assert.deepEqual([found.state, found.pictures, (await found.finished).length], ['done', done.pictures, 1]);
    const running = (await second.find(long.id))!;
    assert.equal(running.state, 'running');
    assert.equal(await second.find(long.id), running);
    running.cancel();
    await assert.rejects(long.finished, /cancelled/);
    await until(() => running.state === 'cancelled', 'both know');
    assert.equal(await second.find('1b54ab12-3f2c-4d6e-8a55-0123456789ab'), undefined);
    assert.equal(await second.find('../../etc/passwd'), undefined);
  });

  it('keeps pictures that a request begins from out of Redis, and no longer than it must', async () => {
    await startWorker();
    const engine = await startEngine();
    await known(engine);
    const white = new Image(new Uint8Array(16 * 16 * 3).fill(255), 16, 16);
    const image = `data:image/png;base64,${Buffer.from(await white.toPng()).toString('base64')}`;
    const job = await engine.submit({ ...REQUEST, steps: 4, image, strength: 0.5 });
    const client = new Redis(redis.url);
    const data = await client.hget(`${prefix}:tiny:${job.id}`, 'data');
    await client.quit();
    assert.deepEqual(JSON.parse(data!), { request: { ...REQUEST, steps: 4, strength: 0.5 }, waiting: ['image'] });
    const [picture] = await pictures(engine, job);
    assert.equal(picture.width, 16);
    const waiting = () => readdirSync(join(folder, 'waiting'));
    assert.deepEqual(waiting(), []);
    const cancelled = await engine.submit({ ...REQUEST, delay: 3600, image });
    assert.deepEqual(waiting(), [cancelled.id]);
    cancelled.cancel();
    await assert.rejects(cancelled.finished, /cancelled/);
    await until(() => waiting().length === 0, 'it is removed');
    const spoilt = await engine.submit({ ...REQUEST, image: Buffer.from('no picture').toString('base64') });
    await assert.rejects(spoilt.finished, /^RequestError: image: begins with 'no picture'/);
    assert.deepEqual(waiting(), []);
  });

  it('takes those of a higher priority first, and those with a delay later', async () => {
    await startWorker();
    const engine = await startEngine();
    await known(engine);
    const order: string[] = [];
    const submit = async (name: string, more: object) => {
      const job = await engine.submit({ ...REQUEST, ...more });
      void job.finished.then(() => order.push(name), () => {});
      return job;
    };
    const first = await submit('running', { steps: 100 });
    await until(() => first.state === 'running', 'it runs');
    const jobs = [await submit('plain', {}), await submit('late', { delay: 1 }), await submit('high', { priority: 2 }), await submit('urgent', { priority: 10 })];
    assert.deepEqual(await Promise.all(jobs.map(job => engine.placeOf(job))), [2, undefined, 1, 0]);
    assert.equal(await engine.waiting(), 4);
    first.cancel();
    await Promise.all(jobs.map(({ finished }) => finished));
    assert.deepEqual(order, ['urgent', 'high', 'plain', 'late']);
  });

  it('ends what nobody wants, whether it waits, runs, or is to be drawn by a worker that comes later', async () => {
    const engine = await startEngine();
    const worker = await startWorker();
    await known(engine);
    const running = await engine.submit({ ...REQUEST, steps: 100 });
    await until(() => running.step > 0, 'it runs');
    const waiting = await engine.submit(REQUEST);
    waiting.cancel();
    await assert.rejects(waiting.finished, /cancelled/);
    const { step } = running;
    running.cancel();
    await assert.rejects(running.finished, /cancelled/);
    assert.equal(running.state, 'cancelled');
    assert.ok(running.step <= step + 2, `${running.step} of 100 steps, cancelled after ${step}`);
    assert.equal((await (await engine.submit(REQUEST)).finished).length, 1);
    const handedBack = await engine.submit({ ...REQUEST, steps: 100 });
    await until(() => handedBack.step > 0, 'it runs');
    Object.assign((worker as unknown as { options: object }).options, { patience: 1 });
    await worker.close();
    await until(() => handedBack.state === 'waiting', 'it has gone back');
    handedBack.cancel();
    await assert.rejects(handedBack.finished, /cancelled/);
  });

  it('fails at once where the request is wrong, and tries elsewhere where it is not', async () => {
    const engine = await startEngine();
    await startWorker({ limits: { maxSteps: 5 } });
    await known(engine);
    await assert.rejects((await engine.submit({ ...REQUEST, steps: 50 })).finished, /^RequestError: steps: must be <= 5$/);
    const lora = { ...REQUEST, loras: [{ name: 'ink' }] };
    await assert.rejects((await engine.submit(lora)).finished, { name: 'Error', message: 'this worker has no LoRA "ink"' });
    const started = Date.now();
    await assert.rejects((await engine.submit(lora)).finished, /no LoRA/);
    assert.match(trouble.splice(0).join('\n'), /^(job [0-9a-f-]{36}: Error: this worker has no LoRA "ink"\n?)+$/);
    assert.ok(Date.now() - started >= 150, 'after 50 and 100 ms');
  });

  it('draws nothing that another program put there against the rules', async () => {
    await startWorker();
    const engine = await startEngine();
    await known(engine);
    const connection = new Redis(redis.url, { maxRetriesPerRequest: null });
    const queue = new Queue('tiny', { connection, prefix });
    const id = (i: number) => `${i}b54ab12-3f2c-4d6e-8a55-0123456789ab`;
    const strange: Array<[string, unknown, RegExp]> = [
      ['../../../etc', { request: REQUEST, waiting: [] }, /^RequestError: the job: has no id of ours/],
      [id(1), { request: { ...REQUEST, steps: 1e6 }, waiting: [] }, /^RequestError: steps: must be <= 100/],
      [id(2), { request: { ...REQUEST, model: '/etc' }, waiting: [] }, /^RequestError: model: there is none called "\/etc"/],
      [id(3), { request: REQUEST, waiting: ['image', '../../secret'] }, /^RequestError: image: is no longer there/],
      [id(4), [], /^RequestError: the request: takes a JSON object/],
      [id(5), { request: { ...REQUEST, path: 1 }, waiting: 'image' }, /^RequestError: there is no field "path"/],
      [id(6), { request: { ...REQUEST, loras: [null] }, waiting: [] }, /^RequestError: loras/],
    ];
    for (const [jobId, data, expected] of strange) {
      await queue.add('pictures', data, { jobId, attempts: 3 });
      const job = await until(async () => {
        const found = await queue.getJob(jobId);
        return found?.finishedOn ? found : undefined;
      }, `${jobId} is over`);
      assert.match(job.failedReason, expected);
    }
    assert.deepEqual(readdirSync(folder).filter(name => !/^[0-9a-f-]{36}$/.test(name)), ['waiting']);
    await queue.close();
    await connection.quit();
  });

  it('takes no more than may wait, and as many with a delay', async () => {
    const worker = await startWorker();
    const engine = await startEngine({ maxQueue: 2 });
    await known(engine);
    const jobs = [await engine.submit({ ...REQUEST, delay: 3600 })];
    const at = await Promise.allSettled([1, 2, 3, 4].map(() => engine.submit({ ...REQUEST, delay: 3600 })));
    assert.deepEqual(at.map(({ status }) => status), ['fulfilled', 'rejected', 'rejected', 'rejected']);
    await assert.rejects(engine.submit({ ...REQUEST, delay: 3600 }), { name: 'QueueFullError', statusCode: 429, retryAfter: 60 });
    await worker.close();
    for (let i = 0; i < 2; i++) jobs.push(await engine.submit(REQUEST));
    for (const ask of [() => engine.submit(REQUEST), () => engine.admit()]) await assert.rejects(ask, { name: 'QueueFullError', statusCode: 429, retryAfter: 5 });
    for (const taken of at) if (taken.status === 'fulfilled') jobs.push(taken.value);
    for (const job of jobs) job.cancel();
    await Promise.allSettled(jobs.map(({ finished }) => finished));
    assert.equal(await engine.waiting(), 0);
  });

  it('sends a request where its model is, and knows when a worker has gone', async () => {
    const engine = await startEngine();
    const other = await startWorker({ models: { 'my: model/é': resolve(TINY) } });
    await startWorker();
    await known(engine);
    await known(engine, 'my: model/é');
    const job = await engine.submit({ ...REQUEST, model: 'my: model/é' });
    assert.equal((await job.finished).length, 1);
    assert.match(await other.metrics.registry.metrics(), /^diffusers_pictures_total\{model="my: model\/é"\} 1$/m);
    await other.close();
    await until(() => !engine.models.includes('my: model/é'), 'it is forgotten');
    assert.deepEqual(engine.models, ['tiny']);
  });

  it('takes along where a request was traced, and nothing else for it', async () => {
    const trace = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' };
    const data = await layAside(new Job(REQUEST, undefined, undefined, trace), new FolderStore(folder));
    assert.deepEqual(data, { request: REQUEST, waiting: [], trace });
    assert.deepEqual([traceOf(data), traceOf({ ...data, trace: null as never }), traceOf({ ...data, trace: 'x' as never })], [trace, {}, {}]);
  });

  it('says in one line where there is no Redis', async () => {
    const url = `redis://user:secret@127.0.0.1:${await freePort()}`;
    await assert.rejects(new RedisEngine({ ...shared(), url, maxQueue: 1 }).start(), /^Error: redis: 127\.0\.0\.1:\d+ cannot be used: .*ECONNREFUSED[^\n]*$/);
    await assert.rejects(new RedisEngine({ ...shared(), url: 'http://secret@host', maxQueue: 1 }).start(), /^TypeError: redis: takes an address as in redis:\/\/localhost:6379$/);
    await assert.rejects(new RedisEngine({ ...shared(), url: `${redis.url}/99`, maxQueue: 1 }).start(), /^Error: redis: .* cannot be used: ERR DB index is out of range$/);
    assert.throws(() => new RedisWorker({ ...shared(), models: {} }), /^TypeError: models: got none/);
  });
});
