import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { startCommand } from '../support/command.js';
import { freePort } from '../support/redis_server.js';
import { temporaryFolder } from '../support/temporary_folder.js';

interface Span {
  name: string;
  traceId: string;
  parentSpanId?: string;
}

describe('tfjs-diffusers serve', () => {
  const folder = temporaryFolder();

  /** @param environment what is added to it for the server. */
  const startIn = (environment: NodeJS.ProcessEnv, ...args: string[]) =>
    startCommand(['serve', '--port', '0', '--device', 'wasm', ...args], { cwd: folder(), env: { ...process.env, ...environment } });

  const start = (...args: string[]) => startIn({}, ...args);

  it('serves the demo model by one command, finishes what runs when it is told to end, and refuses what waits', async () => {
    const { child, address, ended } = await start('--log');
    const ask = (steps: number) => fetch(`${address}/v1/images/generations`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ prompt: 'a secret star', steps }),
    }).then(async response => [response.status, await response.json() as { error?: { message: string } }] as const);
    const [running, waiting] = [ask(20), ask(20)];
    const queued = async () => /diffusers_queue_length 1/.test(await (await fetch(`${address}/metrics`)).text());
    while (!await queued()) { /* until the second request is there */ }
    child.kill('SIGTERM');
    assert.equal((await running)[0], 200);
    const [status, { error }] = await waiting;
    assert.deepEqual([status, error!.message], [503, 'the server is about to end']);
    const [code, output] = await ended;
    assert.equal(code, 0, output);
    assert.match(output, /"statusCode":200/);
    assert.doesNotMatch(output, /secret/);
  });

  it('logs prompts where it is told to', async () => {
    const { child, address, ended } = await start('--log-prompts', '--max-queue', '1');
    await fetch(`${address}/jobs`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ prompt: 'a known star', steps: 1 }),
    });
    child.kill('SIGTERM');
    assert.match((await ended)[1], /"prompt":"a known star"/);
  });

  it('asks for keys where a file holds some', async () => {
    writeFileSync(join(folder(), 'keys'), 'one\ntwo\n');
    const { child, address, ended } = await start('--api-keys', 'keys', '--max-steps', '5');
    const status = (key: string) => fetch(`${address}/v1/models`, { headers: { authorization: `Bearer ${key}` } }).then(response => response.status);
    assert.deepEqual([await status('two'), await status('three')], [200, 401]);
    child.kill('SIGINT');
    assert.equal((await ended)[0], 0);
  });

  it('sends traces where the environment names who collects them: of a request, and in it of what its picture takes', async () => {
    const spans: Span[] = [];
    const collector = createServer((request, response) => void json(request).then(sent => {
      const { resourceSpans = [] } = sent as { resourceSpans?: Array<{ scopeSpans: Array<{ spans: Span[] }> }> };
      spans.push(...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(each => each.spans)));
      response.end('{}');
    })).listen(0);
    const { port } = collector.address() as AddressInfo;
    const { child, address, ended } = await startIn({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_METRICS_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none',
    });
    await fetch(`${address}/v1/images/generations`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ prompt: 'a secret star', steps: 1 }),
    });
    child.kill('SIGTERM');
    const [code, output] = await ended;
    assert.equal(code, 0, output);
    collector.close();
    const [pictures] = spans.filter(({ name }) => name === 'pictures');
    const inTrace = spans.filter(({ traceId }) => traceId === pictures.traceId);
    for (const name of ['waiting', 'loading', 'drawing', 'storing']) assert.ok(inTrace.some(span => span.name === name), name);
    assert.ok(inTrace.some(({ parentSpanId }) => !parentSpanId), 'the request is its beginning');
    assert.doesNotMatch(JSON.stringify(spans), /secret/);
  });

  it('names what is wrong', async () => {
    const [code, output] = await (await start('--model', 'a/x', '--model', 'b/x')).ended;
    assert.deepEqual([code, output], [2, "error: --model: got two of the name 'x', takes another for one of them, as in other=x\n"]);
    const [missing, told] = await (await start('--api-keys', 'none')).ended;
    assert.equal(missing, 1);
    assert.match(told, /^error: --api-keys: none cannot be read: ENOENT/);
    const [wrong, port] = await (await startCommand(['serve', '--port', '99999'], { cwd: folder() })).ended;
    assert.equal(wrong, 2);
    assert.match(port, /It takes a whole number, 0 to 65535\./);
    const [large, size] = await (await start('--max-waiting', 'much')).ended;
    assert.deepEqual([large, size], [2, "error: --max-waiting: got 'much', takes a size as in 500MB or 2GB\n"]);
    const [absent, message] = await (await start('--model', 'none')).ended;
    assert.equal(absent, 1);
    assert.match(message, /^error: none: there is no such folder/);
  });

  it('keeps pictures in a folder, if told to', async () => {
    const { child, address, ended } = await start('--store', 'pictures', '--max-batch', '2', '--max-memory', '1GB', '--keep', '60');
    const { id } = await (await fetch(`${address}/jobs`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ prompt: 'a star', steps: 1 }),
    })).json() as { id: string };
    await (await fetch(`${address}/jobs/${id}/events`)).text();
    assert.deepEqual(readdirSync(join(folder(), 'pictures'), { recursive: true }).sort(), [id, `${id}/0.png`]);
    child.kill('SIGTERM');
    assert.equal((await ended)[0], 0);
  });

  it('and work name what is wrong with a queue, or what is missing', async () => {
    const redis = ['--redis', `redis://127.0.0.1:${await freePort()}`];
    const cases: Array<[string[], number, RegExp]> = [
      [['serve', ...redis], 2, /^error: --redis: takes a --store too, which servers and workers share: a folder/],
      [['serve', ...redis, '--store', 'x', '--model', 'a'], 2, /^error: --model: is for those that draw; with --redis, give it to tfjs-diffusers work$/],
      [['serve', ...redis, '--store', 'x', '--max-batch', '2'], 2, /^error: --max-batch: is for those that draw/],
      [['serve', '--redis', 'localhost', '--store', 'x'], 1, /^error: redis: takes an address as in redis:\/\/localhost:6379$/],
      [['serve', ...redis, '--store', 'ftp://x'], 1, /^error: --store: got 'ftp:\/\/x', takes a folder or s3:\/\/bucket\/prefix$/],
      [['serve', '--max-memory', 'much'], 2, /^error: --max-memory: got 'much', takes a size as in 500MB or 2GB$/],
      [['work', ...redis, '--store', 'x'], 1, /^error: redis: 127\.0\.0\.1:\d+ cannot be used: /],
      [['work'], 2, /--redis/],
    ];
    await Promise.all(cases.map(async ([args, code, message]) => {
      const [ended, output] = await (await startCommand(args, { cwd: folder() })).ended;
      assert.match(output.trim(), message);
      assert.deepEqual([ended, output.trim().split('\n').length], [code, 1], output);
    }));
  });
});
