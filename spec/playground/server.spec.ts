import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { Page } from 'playwright-core';
import { PNG } from 'pngjs';
import { createServer } from '../../lib/server/create_server.js';
import { describeInBrowser } from '../support/chromium.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { expectSame, LORA, Playground, safetensors, type PlaygroundSettings, type Visitor } from '../support/playground.js';
import { TINY } from '../support/tiny_pipeline.js';
import { until } from '../support/until.js';

const SETTINGS: PlaygroundSettings = { prompt: 'a (red:1.2) circle on a white background', steps: 4, guidance: 5, seed: 7, scheduler: 'EulerDiscreteScheduler', side: 64 };
const KEY = 'a secret';

describeInBrowser('Playground on a server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'playground-server-'));
  let playground: Playground;
  let server: FastifyInstance;
  let visitor: Visitor;
  let page: Page;

  before(async () => {
    playground = await Playground.start();
    writeFileSync(join(folder, 'style.safetensors'), await safetensors(LORA));
    server = await createServer({
      models: { shapes: resolve(DEMO_MODEL), tiny: resolve(TINY) }, loras: { style: join(folder, 'style.safetensors') }, load: { device: 'wasm' }, apiKeys: [KEY],
      cors: [new URL(playground.url).origin], limits: { maxQueue: 1 },
    });
    await server.listen({ port: 0 });
  });
  after(async () => {
    await playground?.close();
    await server?.close();
    rmSync(folder, { recursive: true });
  });
  beforeEach(async () => {
    visitor = await playground.enter();
    ({ page } = visitor);
  });
  afterEach(() => playground.leave());

  const used = (model = 'shapes') => page.locator('#model-summary', { hasText: `${model} on ${server.listeningOrigin.slice(7)}` }).waitFor();
  const connect = async () => {
    await page.getByText('On a server', { exact: true }).click();
    await visitor.connect(server, KEY);
    await used();
  };
  const pixels = (png: Buffer) => PNG.sync.read(png).data.filter((_, i) => i % 4 !== 3);
  const ask = (method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object) => server.inject({ method, url, payload, headers: { authorization: `Bearer ${KEY}` } });

  const post = async (prompt: string) => {
    const response = await ask('POST', '/jobs', { prompt, steps: 100, count: 8 });
    assert.equal(response.statusCode, 202);
    return response.json<{ id: string }>().id;
  };
  const stateOf = async (id: string) => (await ask('GET', `/jobs/${id}`)).json<{ state: string }>().state;
  const leaves = (id: string, state: string) => until(async () => await stateOf(id) !== state, `the job is no longer ${state}`);

  const expectCancelled = async (id: string) => {
    await leaves(id, 'running');
    assert.equal(await stateOf(id), 'cancelled');
  };

  it('makes the pictures that the page makes, of noise and of a part of a picture, shows them on their way, and keeps them like others', async () => {
    assert.match((await page.locator('#where').textContent())!, /Nothing that you type leaves it/);
    await visitor.fill(SETTINGS);
    const ofNoise = await visitor.make(1);
    await page.getByRole('button', { name: 'Begin from it' }).click();
    for (const key of [' ', 'ArrowDown', ' ']) await page.getByRole('application', { name: 'What to change' }).press(key);
    const ofPicture = await visitor.make(2);
    await page.getByRole('button', { name: 'Begin without a picture' }).click();
    await connect();
    assert.match((await page.locator('#where').textContent())!, /are sent there/);
    await page.evaluate(() => { // a step may be over before anyone looks
      const shown: string[] = [];
      Object.assign(globalThis, { shown });
      new MutationObserver(() => shown.push(document.body.innerText)).observe(document.body, { childList: true, subtree: true, characterData: true });
    });
    const there = await visitor.make(3);
    expectSame(there, pixels(ofNoise));
    const shown = await page.evaluate(() => (globalThis as unknown as { shown: string[] }).shown);
    assert.ok(shown.some(text => /step \d of 4/.test(text)));
    assert.ok(there.includes('tfjs-diffusers playground\0{"prompt":"a (red:1.2) circle'), 'the file has its settings');
    assert.match((await page.locator('#detail-list').textContent())!, /shapes.*EulerDiscreteScheduler.*127\.0\.0\.1/);
    await page.locator('#gallery li:nth-child(2) button').click(); // the one of a picture
    await visitor.fold('More');
    await page.getByRole('button', { name: 'Use these settings' }).click();
    await page.waitForSelector('#mask-clear:enabled'); // the paint is there again
    expectSame(await visitor.make(4), pixels(ofPicture));
  });

  it('offers what the server takes: its models, its LoRAs, and nothing that only a page can', async () => {
    await visitor.fill({ ...SETTINGS, steps: 2 });
    await connect();
    const plain = await visitor.make(1);
    assert.equal(await page.getByRole('button', { name: 'Variations' }).isVisible(), false);
    await visitor.foldAllOut();
    assert.equal(await page.getByLabel('DeepCache').isVisible(), false);
    assert.equal(await page.getByRole('button', { name: 'Add a LoRA file' }).isVisible(), false);
    for (const name of ['Steer by lines', 'Take the style from a picture']) assert.equal(await page.getByText(name).isVisible(), false);
    await page.getByRole('slider', { name: 'style' }).fill('1.5');
    assert.notDeepEqual(pixels(await visitor.make(2)), pixels(plain));
    await page.getByLabel('Model', { exact: true }).selectOption('tiny');
    await used('tiny');
    await page.getByText('The server has not loaded it yet').waitFor();
    await page.getByText('In this page', { exact: true }).click();
    await page.locator('#model-summary', { hasText: 'shapes on WebAssembly' }).waitFor();
    await page.getByLabel('DeepCache').waitFor();
  });

  it('waits in the queue, ends its job when it is cancelled, and says that the queue is full', async () => {
    await visitor.fill({ ...SETTINGS, steps: 100 });
    await connect();
    const id = await post('another one');
    const [taken] = await Promise.all([page.waitForResponse(response => response.url().endsWith('/jobs')), visitor.generate()]);
    await page.getByText('Waiting, as the next one').waitFor();
    const rejected = await ask('POST', '/jobs', { prompt: 'one too many' });
    assert.equal(rejected.statusCode, 429);
    await ask('DELETE', `/jobs/${id}`);
    await page.getByText(/step \d+ of 100/).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('status').getByText('Cancelled').waitFor();
    await expectCancelled((await taken.json() as { id: string }).id);

    const drawn = await post('another one');
    await leaves(drawn, 'waiting'); // the picture that was cancelled takes its step to the end
    const ids = [drawn, await post('one that waits')];
    await visitor.generate();
    await page.getByRole('alert').getByText(/1 requests wait already; try again in \d+ s/).waitFor();
    for (const each of ids) await ask('DELETE', `/jobs/${each}`);
    visitor.problems = []; // the browser tells of the answer 429
  });

  it('ends its job when the page is left', async () => {
    await visitor.fill({ ...SETTINGS, steps: 100 });
    await connect();
    const [taken] = await Promise.all([page.waitForResponse(response => response.url().endsWith('/jobs')), visitor.generate()]);
    await page.getByText(/step \d+ of 100/).waitFor();
    const { id } = await taken.json() as { id: string };
    await page.goto('about:blank');
    await expectCancelled(id);
  });

  it('says beside the field what is wrong with it, and the model that is there stays', async () => {
    await page.getByText('On a server', { exact: true }).click();
    await visitor.connect(server);
    await page.getByRole('alert').getByText('takes a key').waitFor();
    await visitor.connect(server, 'another');
    await page.getByRole('alert').getByText('takes another key').waitFor();
    assert.equal(await page.getByLabel('Key').getAttribute('aria-describedby'), 'server-key-problem');
    for (const [address, problem] of [['http://127.0.0.1:65535', 'cannot be reached'], [playground.url, 'answers with 404'], ['no address', 'Say where the server is']]) {
      await page.getByLabel('Address', { exact: true }).fill(address);
      await page.getByLabel('Address', { exact: true }).press('Enter');
      await page.locator('#server-address-problem', { hasText: problem }).waitFor();
    }
    visitor.problems = []; // the browser tells of each
    await visitor.fill({ ...SETTINGS, steps: 1 });
    await visitor.make(1);
    assert.match((await page.locator('#detail-list').textContent())!, /WebAssembly/);
  });

  it('remembers the server for the next visit, but not its key', async () => {
    await connect();
    assert.ok(!await page.evaluate(key => JSON.stringify({ ...localStorage, ...sessionStorage }).includes(key), KEY));
    await page.reload();
    await page.getByRole('alert').getByText('takes a key').waitFor();
    await visitor.ready(); // with the bundled model
    assert.deepEqual([await page.getByLabel('Address', { exact: true }).inputValue(), await page.getByLabel('Key').inputValue()], [server.listeningOrigin, '']);
    await page.getByLabel('Key').fill(KEY);
    await page.getByLabel('Key').press('Enter');
    await used();
    visitor.problems = []; // the browser tells of the answer 401
  });
});
