import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const usualPlaces = ['/usr/bin/redis-server', '/usr/local/bin/redis-server', '/opt/homebrew/bin/redis-server'];

/** A redis-server of this machine: the one that REDIS_SERVER names, or one in a usual place. */
export const redisPath = [process.env.REDIS_SERVER, ...usualPlaces].find(path => path && existsSync(path));

/** A Redis of its own for all specs of `body`, said in the title where there is none. */
export const describeWithRedis = (title: string, body: (redis: RedisServer) => void) => {
  if (!redisPath) return describe.skip(`${title} (there is no redis-server: install one, or set REDIS_SERVER to its path)`, () => body(new RedisServer()));
  describe(title, () => {
    const redis = new RedisServer();
    before(() => redis.start());
    after(() => redis.remove());
    body(redis);
  });
};

/** Keeps what it is told in a file, so that it knows it when it starts again. */
export class RedisServer {
  private readonly folder = mkdtempSync(join(tmpdir(), 'spec-redis-'));
  private port = 0;
  private child?: ChildProcess;

  get url(): string { return `redis://127.0.0.1:${this.port}`; }

  async start(): Promise<void> {
    this.port ||= await freePort();
    const child = spawn(redisPath!, ['--port', `${this.port}`, '--bind', '127.0.0.1', '--dir', this.folder, '--appendonly', 'yes', '--save', '']);
    this.child = child;
    let output = '';
    await new Promise<void>((resolve, reject) => {
      child.stdout.on('data', text => {
        output += text;
        if (output.includes('Ready to accept connections')) resolve();
      });
      child.on('exit', () => reject(new Error(output)));
    });
  }

  /** As when its machine loses power. */
  async kill(): Promise<void> {
    assert.ok(this.child);
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true });
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
