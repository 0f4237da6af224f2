import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { startCommand, type RunningCommand } from '../../support/command.js';
import { describeWithRedis } from '../../support/redis_server.js';
import { TINY } from '../../support/tiny_pipeline.js';
import { until } from '../../support/until.js';

interface JobAnswer {
  readonly id: string;
  readonly state: string;
  readonly step: number;
  readonly pictures: ReadonlyArray<{ url: string; seed: number }>;
}

const LONG = { prompt: 'a star', steps: 100 };
const SHORT = { prompt: 'a star', steps: 2 };

/** Processes of their own, as on several machines, which end as processes end. */
describeWithRedis('Servers and workers', redis => {
  const folder = mkdtempSync(join(tmpdir(), 'spec-'));
  const commands: RunningCommand[] = [];
  let server: RunningCommand;
  let worker: RunningCommand;
  let connection: Redis;
  let queue: Queue;

  const start = async (...args: string[]) => {
    const command = await startCommand([...args, '--redis', redis.url, '--store', folder, '--port', '0']);
    commands.push(command);
    assert.match(command.address, /^http:/, command.address);
    return command;
  };
  const startServer = (...args: string[]) => start('serve', ...args);
  const startWorker = (...args: string[]) => start('work', '--model', `tiny=${resolve(TINY)}`, '--device', 'wasm', '--lost-after', '2', ...args);
  const post = (path: string, body: object, { address } = server, signal?: AbortSignal) => fetch(`${address}${path}`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body), signal,
  });
  const draw = (body: object, command = server, signal?: AbortSignal) => post('/v1/images/generations', body, command, signal);
  const take = async (body: object) => await (await post('/jobs', body)).json() as JobAnswer;
  const look = async ({ id }: JobAnswer, { address } = server) => await (await fetch(`${address}/jobs/${id}`)).json() as JobAnswer;
  const running = (job: JobAnswer) => until(async () => (await look(job)).step > 3, 'it runs');
  const pictureOf = async ({ pictures: [{ url }] }: JobAnswer, { address } = server) => Buffer.from(await (await fetch(address + url)).arrayBuffer());
  const ready = ({ address } = server) => until(async () => (await fetch(`${address}/readyz`)).status === 200, 'it is ready');
  const metric = async (name: string, { address } = server) =>
    Number(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'm').exec(await (await fetch(`${address}/metrics`)).text())?.[1] ?? 0);

  let spare: RunningCommand;
  before(async () => { [server, worker, spare] = await Promise.all([startServer(), startWorker(), startWorker()]); });
  before(() => {
    connection = new Redis(redis.url, { maxRetriesPerRequest: null });
    connection.on('error', () => {}); // while it is away
    queue = new Queue('tiny', { connection, prefix: 'tfjs-diffusers' });
    queue.on('error', () => {});
  });
  beforeEach(() => ready());
  after(async () => {
    await queue.close();
    connection.disconnect();
    for (const { child } of commands) child.kill('SIGKILL');
    await Promise.all(commands.map(({ ended }) => ended));
    rmSync(folder, { recursive: true });
  });

  it('lose no job when a worker is killed: another draws it, once and with its seed', async () => {
    const job = await take(LONG);
    const events = fetch(`${server.address}/jobs/${job.id}/events`).then(response => response.text());
    await running(job);
    const { workers } = await (await fetch(`${server.address}/workers`)).json() as { workers: Array<{ id: string; pid: number }> };
    const { processedBy } = (await queue.getJob(job.id))!;
    const { pid } = workers.find(({ id }) => id === processedBy)!;
    if (spare.child.pid === pid) [worker, spare] = [spare, worker];
    assert.equal(worker.child.pid, pid);
    worker.child.kill('SIGKILL');
    worker = spare;
    const told = (await events).trim().split('\n\n').map(line => JSON.parse(line.replace('data: ', '')) as JobAnswer);
    assert.deepEqual(told.map(({ state }) => state).filter((state, i, all) => state !== all[i - 1]).slice(-4), ['running', 'waiting', 'running', 'done']);
    assert.equal(told.filter(({ state }) => state === 'done').length, 1);
    const done = told.at(-1)!;
    assert.equal(done.pictures.length, 1);
    const again = await take({ ...LONG, seed: done.pictures[0].seed });
    const same = await until(async () => (await look(again)).state === 'done' && look(again), 'it is done');
    assert.deepEqual(await pictureOf(done), await pictureOf(same));
  });

  it('lose nothing when Redis is killed, and say meanwhile that they cannot', async () => {
    const clients = Array.from({ length: 6 }, (_, seed) => draw({ ...LONG, steps: 30, seed }));
    await Promise.race(clients);
    await redis.kill();
    await until(async () => (await fetch(`${server.address}/readyz`)).status === 503, 'it hears of it');
    const refused = await draw(SHORT);
    assert.deepEqual([refused.status, (await refused.json() as { error: { message: string } }).error.message], [503, 'the queue cannot be reached at the moment']);
    assert.equal((await fetch(`${server.address}/healthz`)).status, 200);
    await redis.start();
    const answers = await Promise.all(clients);
    assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200, 200, 200, 200]);
    const bodies = await Promise.all(answers.map(async answer => (await answer.json() as { data: Array<{ b64_json: string; seed: number }> }).data));
    assert.deepEqual(bodies.map(([{ seed }]) => seed), [0, 1, 2, 3, 4, 5]);
    assert.equal(new Set(bodies.map(([{ b64_json: text }]) => text)).size, 6);
  });

  it('draw nothing for a client that has gone', async () => {
    const gone = new AbortController();
    const before = await metric('diffusers_pictures_total', worker);
    const requests = [draw(LONG, server, gone.signal), draw(LONG, server, gone.signal)];
    const [job] = await until(async () => {
      const active = await queue.getActive();
      const { step = 0 } = (active[0]?.progress ?? {}) as { step?: number };
      return step > 3 && active;
    }, 'one runs');
    gone.abort();
    for (const request of requests) await assert.rejects(request, { name: 'AbortError' });
    await until(async () => await queue.getJobState(job.id!) === 'failed', 'it has ended');
    assert.equal((await queue.getJob(job.id!))!.failedReason, 'CancelledError: cancelled');
    assert.equal((await draw(SHORT)).status, 200);
    assert.equal(await metric('diffusers_pictures_total', worker), before + 1);
    assert.equal(await queue.count(), 0);
  });

  it('refuse with 429, and say when to come again, when too many wait', async () => {
    const small = await startServer('--max-queue', '2');
    await ready(small);
    const later = { ...SHORT, delay: 3600 };
    const answers = [await post('/jobs', later, small), await post('/jobs', later, small), await post('/jobs', later, small)];
    assert.deepEqual(answers.map(({ status }) => status), [202, 202, 429]);
    assert.ok(Number(answers[2].headers.get('retry-after')) >= 1);
    for (const answer of answers.slice(0, 2)) {
      assert.equal((await fetch(`${small.address}/jobs/${(await answer.json() as JobAnswer).id}`, { method: 'DELETE' })).status, 204);
    }
    await until(async () => await metric('diffusers_queue_length', small) === 0, 'they are gone');
    small.child.kill('SIGTERM');
    assert.equal((await small.ended)[0], 0);
  });

  it('end, and say why, where they cannot listen', async () => {
    const { port } = new URL(server.address);
    const common = ['--redis', redis.url, '--store', folder, '--port', port];
    const ends = await Promise.all([['serve', ...common], ['work', ...common, '--device', 'wasm', '--model', resolve(TINY)]].map(async args => (await startCommand(args)).ended));
    for (const [code, output] of ends) {
      assert.equal(code, 1, output);
      assert.match(output, /^error: listen EADDRINUSE: [^\n]*$/m);
    }
  });

  it('end well when they are told to: a server finishes for those who wait, and its jobs go on', async () => {
    const other = await startServer();
    await ready(other);
    const before = await metric('diffusers_pictures_total', worker);
    const [first, second] = [draw(LONG, other), draw(LONG, other)];
    const job = await (await post('/jobs', SHORT, other)).json() as JobAnswer;
    await until(async () => await metric('diffusers_queue_length') === 2, 'the first runs, the others wait');
    other.child.kill('SIGTERM');
    assert.deepEqual([(await first).status, (await second).status].sort(), [200, 503]);
    const [code, output] = await other.ended;
    assert.equal(code, 0, output);
    await until(async () => (await look(job)).state === 'done', 'another server has it');
    assert.equal((await pictureOf(await look(job))).subarray(1, 4).toString(), 'PNG');
    assert.equal(await metric('diffusers_pictures_total', worker), before + 2, 'none is drawn for the one that was sent away');
  });

  it('end well when they are told to: a worker finishes what runs, and leaves what waits to others', async () => {
    const jobs = [await take(LONG), await take(SHORT)];
    await running(jobs[0]);
    worker.child.kill('SIGTERM');
    const [code, output] = await worker.ended;
    assert.equal(code, 0, output);
    assert.deepEqual((await Promise.all(jobs.map(job => look(job)))).map(({ state }) => state), ['done', 'waiting']);
    assert.equal((await fetch(`${server.address}/readyz`)).status, 503);
    assert.equal((await draw(SHORT)).status, 503);
    worker = await startWorker('--max-batch', '4');
    await until(async () => (await look(jobs[1])).state === 'done', 'another worker has it');
  });

  it('answer a hundred requests of ten clients at once: none is lost, none is drawn twice, and memory stays', async () => {
    const second = await startWorker('--max-batch', '4');
    await until(async () => (await (await fetch(`${server.address}/workers`)).json() as { workers: object[] }).workers.length === 2, 'both are there');
    const made = async () => await metric('diffusers_pictures_total', worker) + await metric('diffusers_pictures_total', second);
    const before = await made();
    const seeds = new Set<number>();
    const memory: number[] = [];
    await Promise.all(Array.from({ length: 10 }, async (_, client) => {
      for (let i = 0; i < 10; i++) {
        const seed = client * 10 + i;
        const answer = await draw({ ...SHORT, seed });
        assert.equal(answer.status, 200);
        seeds.add((await answer.json() as { data: Array<{ seed: number }> }).data[0].seed);
        if (seeds.size % 50 === 0) memory.push(await metric('process_resident_memory_bytes'));
      }
    }));
    assert.equal(seeds.size, 100);
    assert.equal(await made(), before + 100);
    assert.ok(await metric('diffusers_pictures_total', second) > 10, 'both drew');
    assert.ok(memory.at(-1)! - memory[0] < 50e6, `${memory.at(-1)! - memory[0]} bytes more after the second fifty`);
  });
});
