import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { resolve } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { Image } from '../../lib/image/image.js';
import type { ServerLimits } from '../../lib/jobs/picture_request.js';
import { createServer, type ServerOptions } from '../../lib/server/create_server.js';
import { TINY } from '../support/tiny_pipeline.js';
import { until } from '../support/until.js';

const picture = Buffer.from(await new Image(new Uint8Array(768), 16, 16).toPng());

/** A request that is not written to its end. */
async function begin({ server }: FastifyInstance, head: string, body = ''): Promise<{ socket: Socket; heard: () => string }> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  let heard = '';
  socket.on('data', text => { heard += String(text); }).on('error', () => {});
  await once(socket, 'connect');
  await new Promise(done => socket.write(`POST ${head}\r\nHost: x\r\n\r\n${body}`, done));
  return { socket, heard: () => heard };
}

const unfinished = (length: number) => `/jobs HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: ${length}`;

describe('What a server bounds', () => {
  let open: FastifyInstance[] = [];
  afterEach(async () => {
    for (const server of open) await server.close();
    open = [];
  });

  async function start(limits: Partial<ServerLimits> = {}, options: Partial<ServerOptions> = {}): Promise<FastifyInstance> {
    const server = await createServer({ models: { tiny: resolve(TINY) }, load: { device: 'wasm' }, patience: 100, limits, ...options });
    await server.listen({ port: 0 });
    open.push(server);
    return server;
  }

  /** A form with pictures of these names and sizes. */
  async function edit(server: FastifyInstance, ...files: Array<[name: string, bytes: Buffer]>) {
    const form = new FormData();
    for (const [name, value] of Object.entries({ prompt: 'a star', steps: '1', seed: '1', strength: '1' })) form.append(name, value);
    for (const [name, bytes] of files) form.append(name, new Blob([new Uint8Array(bytes)]), 'a.png');
    const encoded = new Response(form);
    return server.inject({
      method: 'POST', url: '/v1/images/edits', payload: Buffer.from(await encoded.arrayBuffer()), headers: { 'content-type': encoded.headers.get('content-type')! },
    });
  }

  it('is a form as a whole, of which the first picture of a name counts', async () => {
    const server = await start({ maxBodyBytes: 50_000 });
    const several = await edit(server, ['image[]', picture], ['image[]', Buffer.alloc(20_000)], ['image[]', Buffer.alloc(3)], ['image[]', picture]);
    assert.equal(several.statusCode, 200, several.body);
    const large = await edit(server, ['image', Buffer.alloc(30_000)], ['other', Buffer.alloc(30_000)]);
    assert.equal(large.statusCode, 413);
    const type = 'Content-Type: multipart/form-data; boundary=x';
    const declared = await begin(server, `/v1/images/edits HTTP/1.1\r\n${type}\r\nContent-Length: 10000000000`);
    await until(() => declared.heard().startsWith('HTTP/1.1 413'), 'it is refused unread');
    const send = async (payload: string, contentType: string) => {
      const { statusCode, json } = await server.inject({ method: 'POST', url: '/v1/images/edits', payload, headers: { 'content-type': contentType } });
      return [statusCode, json<{ error: { message: string } }>().error.message];
    };
    assert.deepEqual(await send('--x\r\n', 'multipart/form-data; boundary=x'), [400, 'the form: cannot be read; takes multipart/form-data, whole']);
    assert.equal((await send('{}', 'application/json'))[0], 415);
  });

  it('is how long a body takes', async () => {
    const server = await start({ maxBodySeconds: 0.2 });
    const { socket, heard } = await begin(server, unfinished(1000), '{"prompt":"');
    await once(socket, 'close');
    assert.match(heard(), /^HTTP\/1\.1 408 /);
  });

  it('are bytes of bodies that come in and of requests that wait, together', async () => {
    const server = await start({ maxWaitingBytes: 100_000 });
    const ask = (length: number, more: object = {}) => server.inject({
      method: 'POST', url: '/jobs', payload: { prompt: 'a star', steps: 1, image: picture.toString('base64').padEnd(length, '='), strength: 1, ...more },
    });
    const { socket } = await begin(server, unfinished(90_000), `{"prompt":"${'a'.repeat(60_000)}`);
    const refused = await until(async () => {
      const answer = await ask(50_000, { steps: 0 }); // which is not taken either way
      return answer.statusCode === 429 && answer;
    }, 'it is refused');
    assert.match(refused.body, /requests of \d{5} bytes wait already; try again in 5 s/);
    assert.equal(refused.headers['retry-after'], '5');
    const late = await begin(server, '/jobs HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked', `c350\r\n${'a'.repeat(50_000)}\r\n`);
    await until(() => late.heard().startsWith('HTTP/1.1 429'), 'one that does not say how large it is is refused on the way');
    socket.destroy();
    const waiting = await until(async () => {
      const answer = await ask(60_000, { delay: 3600 });
      return answer.statusCode === 202 && answer;
    }, 'there is room');
    assert.equal((await ask(50_000)).statusCode, 429);
    await server.inject({ method: 'DELETE', url: `/jobs/${waiting.json<{ id: string }>().id}` });
    assert.equal((await ask(50_000)).statusCode, 202);
    assert.equal((await ask(100, { prompt: 'another' })).statusCode, 202);
  });

  it('is how long it waits for clients when it ends', async () => {
    const server = await start();
    const { socket } = await begin(server, unfinished(1000), '{"prompt":"');
    await Promise.all([once(socket, 'close'), server.close()]);
  });

  /** What is heard by a client that reads nothing before it has written all. */
  async function writeAll({ server }: FastifyInstance, head: string, pieces: number, piece: string): Promise<string> {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').pause().on('error', () => {});
    await once(socket, 'connect');
    socket.write(`POST ${head}\r\nHost: x\r\nContent-Type: application/json\r\n\r\n`);
    for (let i = 0; i < pieces; i++) await new Promise<void>((done, fail) => socket.write(piece, error => error ? fail(error) : done()));
    let heard = '';
    socket.on('data', text => { heard += String(text); }).resume();
    await until(() => heard.includes('\r\n\r\n'), 'an answer');
    socket.destroy();
    return heard;
  }

  const piece = 'a'.repeat(2 ** 16);
  const chunk = `10000\r\n${piece}\r\n`;

  it('are answered also where a client writes on, and reads later', async () => {
    const [server, roomy] = [await start({ maxWaitingBytes: 2 ** 20 }), await start()];
    const length = `Content-Length: ${300 * piece.length}`;
    for (const connection of ['close', 'keep-alive']) {
      const refused = await writeAll(server, `/jobs HTTP/1.1\r\nConnection: ${connection}\r\n${length}`, 300, piece);
      assert.match(refused, /^HTTP\/1\.1 429 .*\r\nretry-after: /s);
      const large = await writeAll(roomy, `/jobs HTTP/1.1\r\nConnection: ${connection}\r\nContent-Length: ${600 * piece.length}`, 600, piece);
      assert.match(large, /^HTTP\/1\.1 413 /);
    }
  });

  it('are those of bodies that do not say how long they are, too, after which it goes on', async () => {
    const server = await start({ maxBodyBytes: 2 ** 23 });
    for (const connection of ['close', 'keep-alive']) {
      const heard = await writeAll(server, `/jobs HTTP/1.1\r\nConnection: ${connection}\r\nTransfer-Encoding: chunked`, 200, chunk);
      assert.match(heard, /^HTTP\/1\.1 413 /);
    }
    assert.equal((await server.inject('/healthz')).statusCode, 200);
  });

  it('are what is read of a client that was answered', async () => {
    const server = await start({ maxBodyBytes: 2 ** 20 });
    await assert.rejects(writeAll(server, `/jobs HTTP/1.1\r\nContent-Length: ${2 ** 40}`, 5000, piece), { code: /^(EPIPE|ECONNRESET)$/ });
  });

  it('are requests that wait, and by themselves those with a delay', async () => {
    const server = await start({ maxQueue: 1 });
    const ask = (more: object) => server.inject({ method: 'POST', url: '/jobs', payload: { prompt: 'a star', steps: 1, ...more } });
    assert.equal((await ask({ delay: 3600 })).statusCode, 202);
    const { statusCode, headers, body } = await ask({ delay: 3600 });
    assert.deepEqual([statusCode, headers['retry-after']], [429, '60']);
    assert.match(body, /1 requests, 1 of them with a delay, wait already; try again in 60 s/);
    assert.equal((await ask({})).statusCode, 202);
  });
});
