import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { transform } from 'esbuild';
import { Image } from '../../lib/image/image.js';

/** The server of docs/servers.md, as it stands there. */
describe('The server in docs/servers.md', () => {
  const file = resolve('dist/spec/docs/server_of_the_page.mjs'); // from where its packages are found
  let server: ChildProcess;
  let address: string;

  before(async () => {
    const [, code] = /^```ts\n(.*?)^```/ms.exec(readFileSync('docs/servers.md', 'utf8'))!;
    const { code: program } = await transform(code.replace("'tfjs-diffusers'", JSON.stringify(resolve('dist/lib/index.js'))), { loader: 'ts' });
    writeFileSync(file, program);
    server = spawn(process.execPath, [file], { env: { ...process.env, PORT: '0' }, stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await once(server.stdout!, 'data') as [Buffer];
    address = line.toString().trim();
  });
  after(async () => {
    server.kill('SIGTERM');
    const [code] = await once(server, 'exit') as [number];
    rmSync(file);
    assert.equal(code, 0);
  });

  const ask = (body: object, signal?: AbortSignal) => fetch(`${address}/images`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body), signal,
  });
  const draw = async (seed: number, steps = 3) => Image.fromBytes(new Uint8Array(await (await ask({ prompt: 'a red star', seed, steps })).arrayBuffer()));

  it('answers while it draws, and gives each what it would get alone', async () => {
    const alone = [await draw(1), await draw(2)];
    const together = [draw(1, 3), draw(2, 3), draw(1, 40)];
    let drawn = 0;
    for (const picture of together) void picture.then(() => { drawn++; });
    assert.deepEqual(await (await fetch(`${address}/health`)).json(), { ok: true });
    assert.ok(drawn < together.length, 'health was told before all pictures were there');
    const [first, second] = await Promise.all(together);
    assert.deepEqual([first.data, second.data], alone.map(({ data }) => data));
    assert.equal(first.text.parameters, alone[0].text.parameters);
  });

  it('draws nothing for who has gone', async () => {
    const gone = new AbortController();
    const long = ask({ prompt: 'a red star', steps: 100 }, gone.signal);
    const waiting = draw(3);
    gone.abort();
    await assert.rejects(long, { name: 'AbortError' });
    assert.equal((await waiting).width, 64);
  });

  it('says what it does not take', async () => {
    for (const body of [{}, { prompt: 'a star', steps: 1e6 }, { prompt: 'a'.repeat(1001) }]) assert.equal((await ask(body)).status, 400);
  });
});
