import assert from 'node:assert/strict';
import { build } from 'esbuild';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { PNG } from 'pngjs';
import { StaticServer } from '../../docs/playground/server.js';
import { DiffusionPipeline, Generator } from '../../lib/index.js';
import { describeInBrowser, startChromium } from '../support/chromium.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { temporaryFolder } from '../support/temporary_folder.js';

const page = readFileSync('docs/your_own_page.md', 'utf8');

describeInBrowser('Use it on your own page', () => {
  const folder = temporaryFolder();
  let browser: Browser;
  let server: StaticServer;
  before(async () => { browser = await startChromium(); });
  after(() => browser.close());
  afterEach(() => server.close());

  it('shows twenty lines that make the picture that Node makes', async () => {
    const [worker, main] = [...page.matchAll(/^```js\n(.*?)^```/gms)].map(([, code]) => code);
    writeFileSync(join(folder(), 'worker.js'), worker);
    writeFileSync(join(folder(), 'page.js'), main);
    await build({
      entryPoints: ['worker.js', 'page.js'], bundle: true, minify: true, format: 'esm', outdir: join(folder(), 'public'), logLevel: 'error',
      absWorkingDir: folder(), nodePaths: ['node_modules'].map(path => join(process.cwd(), path)),
      alias: { 'tfjs-diffusers': fileURLToPath(new URL('../../lib/index.js', import.meta.url)) },
    });
    writeFileSync(join(folder(), 'public/index.html'), '<!doctype html><link rel="icon" href="data:,"><img alt=""><output></output><script type="module" src="page.js"></script>');
    cpSync('node_modules/@tensorflow/tfjs-backend-wasm/dist', join(folder(), 'public/wasm'), { recursive: true, filter: path => !/\.(js|ts|map)$/.test(path) });
    cpSync(DEMO_MODEL, join(folder(), 'public/models/shapes'), { recursive: true });
    server = await StaticServer.start(join(folder(), 'public'));

    const tab = await browser.newPage();
    await tab.goto(server.url);
    await tab.getByText('done').waitFor({ timeout: 60_000 });
    const url = await tab.locator('img').getAttribute('src');
    const pixels = PNG.sync.read(Buffer.from(url!.split(',')[1], 'base64')).data.filter((_, i) => i % 4 !== 3);

    const pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'wasm' });
    const { images: [{ data }] } = await pipe.generate('a red circle on a white background', { numInferenceSteps: 20, generator: new Generator().manualSeed(0) });
    pipe.dispose();
    assert.equal(pixels.length, data.length);
    assert.ok(pixels.every((value, i) => Math.abs(value - data[i]) <= 2));
  });

  it('counts its lines honestly', () => {
    const lines = [...page.matchAll(/^```js\n(.*?)^```/gms)].slice(0, 2).flatMap(([, code]) => code.trim().split('\n').filter(Boolean));
    assert.ok(lines.length <= 22, `${lines.length} lines`);
  });
});
