/**
 * `npm run bench -- serve`: 500 requests of 50 clients at once to the bundled model, over HTTP: drawn in the server's process one by one and
 * eight at a time, and, where there is a redis-server, by two workers. Exits with 1 if a request is lost, or if one is drawn twice.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCommand, type RunningCommand } from '../spec/support/command.js';
import { redisPath, RedisServer } from '../spec/support/redis_server.js';
import { until } from '../spec/support/until.js';
import { table } from './report.js';

const REQUESTS = Number(process.env.REQUESTS ?? 500);
const CLIENTS = Number(process.env.CLIENTS ?? 50);
const STEPS = 4;
const device = process.argv[2] ?? 'cpu';

interface Figures {
  readonly seconds: number;
  /** From request to answer, in seconds, sorted. */
  readonly latencies: readonly number[];
  /** Megabytes that the server takes after each tenth of the requests. */
  readonly memory: readonly number[];
  readonly peak: number;
}

async function measure(name: string, server: RunningCommand, drawing: readonly RunningCommand[]): Promise<string[]> {
  await until(async () => (await fetch(`${server.address}/readyz`)).status === 200, 'the server is ready');
  await draw(server, REQUESTS); // what a first request loads
  const made = async () => (await Promise.all(drawing.map(pictures))).reduce((sum, each) => sum + each, 0);
  const before = await made();
  const { seconds, latencies, memory, peak } = await load(server);
  const drawn = await made() - before;
  if (drawn !== REQUESTS) {
    console.error(`${name}: ${REQUESTS} requests, ${drawn} pictures`);
    process.exitCode = 1;
  }
  const at = (share: number) => `${latencies[Math.floor(share * (latencies.length - 1))].toFixed(2)} s`;
  return [name, (REQUESTS / seconds).toFixed(2), at(0.5), at(0.95), `${memory[0]} -> ${memory.at(-1)} MB`, `${peak} MB`];
}

async function load(server: RunningCommand): Promise<Figures> {
  const latencies: number[] = [];
  const memory: number[] = [];
  const seeds = Array.from({ length: REQUESTS }, (_, seed) => seed);
  const started = performance.now();
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
      const begun = performance.now();
      await draw(server, seed);
      latencies.push((performance.now() - begun) / 1000);
      if (latencies.length % Math.ceil(REQUESTS / 10) === 0) memory.push(megabytes(server, 'VmRSS'));
    }
  }));
  return {
    seconds: (performance.now() - started) / 1000, latencies: latencies.sort((a, b) => a - b), memory, peak: megabytes(server, 'VmHWM'),
  };
}

/** @throws Error if the answer is not the picture of that seed. */
async function draw({ address }: RunningCommand, seed: number): Promise<void> {
  const answer = await fetch(`${address}/v1/images/generations`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ prompt: 'a red circle', steps: STEPS, seed }),
  });
  const { data } = await answer.json() as { data?: Array<{ seed: number; b64_json: string }> };
  if (answer.status !== 200 || data?.length !== 1 || data[0].seed !== seed) throw new Error(`request ${seed}: ${answer.status}`);
}

async function pictures({ address }: RunningCommand): Promise<number> {
  const text = await (await fetch(`${address}/metrics`)).text();
  return Number(/^diffusers_pictures_total\{.*\} (\d+)$/m.exec(text)?.[1] ?? 0);
}

/** Of the process, as Linux counts it; 0 elsewhere. */
function megabytes({ child }: RunningCommand, what: 'VmRSS' | 'VmHWM'): number {
  if (process.platform !== 'linux') return 0;
  return Math.round(Number(new RegExp(`${what}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1] ?? 0) / 1000);
}

async function end(...commands: RunningCommand[]): Promise<void> {
  for (const { child } of commands) child.kill('SIGTERM');
  await Promise.all(commands.map(({ ended }) => ended));
}

const head = ['served by', 'pictures/s', 'p50', 'p95', 'server at 10 % -> 100 %', 'its peak'];
const rows: string[][] = [];
const queue = ['--port', '0', '--max-queue', `${REQUESTS}`];
for (const batch of ['1', '8']) {
  const server = await startCommand(['serve', ...queue, '--device', device, '--max-batch', batch]);
  rows.push(await measure(`its own process, --max-batch ${batch}`, server, [server]));
  await end(server);
}
if (redisPath) {
  const redis = new RedisServer();
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  await redis.start();
  const shared = ['--redis', redis.url, '--store', folder];
  const work = ['work', ...shared, '--port', '0', '--device', device, '--max-batch', '8'];
  const [server, ...workers] = await Promise.all([startCommand(['serve', ...queue, ...shared]), startCommand(work), startCommand(work)]);
  rows.push(await measure('Redis and two workers, --max-batch 8', server, workers));
  await end(server, ...workers);
  await redis.remove();
  rmSync(folder, { recursive: true });
} else console.error('there is no redis-server: workers are not measured');
console.log(table(head, rows));
