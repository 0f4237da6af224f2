import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { PNG } from 'pngjs';
import { buildSite, type Site } from '../../docs/playground/build.js';
import { StaticServer } from '../../docs/playground/server.js';
import { DiffusionPipeline, Generator, schedulerClass, type StableDiffusionPipeline } from '../../lib/index.js';
import { describeInBrowser, startChromium } from '../support/chromium.js';
import { DEMO_MODEL } from '../support/demo_model.js';

const SITE = '.build/playground';

interface Settings {
  prompt: string;
  steps: number;
  guidance: number;
  seed: number;
  scheduler: string;
  side: number;
}

const SETTINGS: Settings = { prompt: 'a red circle on a white background', steps: 3, guidance: 5, seed: 7, scheduler: 'EulerDiscreteScheduler', side: 64 };

describe('Playground site', () => {
  let site: Site;
  before(async () => { site = await buildSite(SITE, DEMO_MODEL); });

  it('has no module of Node, nor any of ours that takes one', () => {
    const taken = site.modules.filter(path => !path.startsWith('(disabled):'));
    const ofNode = /^node:|lib\/(runtime\/native|cli)\/|\/(local_folder|open_by_name|hub_\w+folder|hub_cache|hub_client|read_file|write_file)\.js$|cli-progress|commander/;
    assert.deepEqual(taken.filter(path => ofNode.test(path)), []);
    for (const name of readdirSync(SITE).filter(file => file.endsWith('.js'))) {
      const script = readFileSync(`${SITE}/${name}`, 'utf8').replaceAll(/process\?\.getBuiltinModule\?\.\("node:\w+"\)/g, ''); // which a page has not
      assert.doesNotMatch(script, /["'`]node:|import ?["'](fs|path|os|util)["']/, name);
    }
  });

  it('is as small as the docs say, about', () => {
    const { page, worker, webgpu } = site.scriptBytes;
    assert.ok(page < 60_000 && worker < 1_500_000 && webgpu < 340_000, JSON.stringify(site.scriptBytes));
  });
});

describeInBrowser('Playground', () => {
  let browser: Browser;
  let server: StaticServer;
  let context: BrowserContext;
  let page: Page;
  let problems: string[];

  before(async () => {
    await buildSite(SITE, DEMO_MODEL);
    [browser, server] = await Promise.all([startChromium(), StaticServer.start(SITE)]);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });
  beforeEach(async () => {
    context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    page = await context.newPage();
    problems = [];
    page.on('pageerror', error => problems.push(error.message));
    page.on('console', message => message.type() === 'error' && problems.push(message.text()));
  });
  afterEach(async () => {
    await context.close();
    assert.deepEqual(problems, []);
  });

  const ready = () => page.waitForSelector('#generate:enabled');
  const open = async (url = server.url) => {
    await page.goto(url);
    await ready();
  };

  async function fill({ prompt, steps, guidance, seed, scheduler, side }: Settings): Promise<void> {
    await page.getByLabel('Prompt', { exact: true }).fill(prompt);
    await page.getByLabel('Steps', { exact: true }).fill(String(steps));
    await page.getByLabel('Guidance').fill(String(guidance));
    await page.getByRole('spinbutton', { name: 'Seed' }).fill(String(seed));
    await page.getByLabel('Scheduler').selectOption(scheduler);
    await page.getByLabel('Size', { exact: true }).selectOption('custom');
    await page.getByLabel('Width').fill(String(side));
    await page.getByLabel('Height').fill(String(side));
  }

  /** The file that the page offers. */
  async function download(): Promise<Buffer> {
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download PNG' }).click()]);
    return readFileSync((await file.path())!);
  }

  async function expectSamePicture(png: Buffer, settings: Settings): Promise<void> {
    const pixels = PNG.sync.read(png).data.filter((_, i) => i % 4 !== 3);
    const expected = await inNode(settings);
    assert.equal(pixels.length, expected.length);
    const worst = pixels.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
    assert.ok(worst <= 2, `differs by ${worst}`);
  }

  it('makes the picture that Node makes, by keyboard alone, and says so to those who listen', async () => {
    await open();
    await fill(SETTINGS);
    await page.evaluate(() => { // a step may be over before anyone looks
      const shown: string[] = [];
      Object.assign(globalThis, { shown });
      new MutationObserver(() => shown.push(document.body.innerText)).observe(document.body, { childList: true, subtree: true, characterData: true });
    });
    await page.getByLabel('Prompt', { exact: true }).press('Control+Enter');
    const canvas = page.getByRole('img', { name: SETTINGS.prompt, exact: true });
    await canvas.waitFor();
    await page.getByRole('status').getByText('The picture is ready').waitFor();
    const shown = await page.evaluate(() => (globalThis as unknown as { shown: string[] }).shown);
    assert.ok(shown.some(text => /step \d of 3/.test(text)));
    const png = await download();
    await expectSamePicture(png, SETTINGS);
    assert.ok(png.includes('tEXtparameters\0a red circle on a white background\nSteps: 3, Sampler: EulerDiscreteScheduler, CFG scale: 5, Seed: 7, Size: 64x64, Model: shapes'));
    assert.equal(await page.locator('#facts').textContent(), 'seed 7 · 3 steps · guidance 5 · Euler · 64 × 64');
    const details = await page.locator('#detail-list').textContent();
    assert.match(details!, /shapes.*EulerDiscreteScheduler.*WebAssembly \(SIMD, [^)]*threads?\).*\d+ ms a step.*\d+ MB/);
  });

  const seed = () => page.getByRole('spinbutton', { name: 'Seed' });
  const thumbnail = (seed: string | number) => page.getByRole('button', { name: `${SETTINGS.prompt}, seed ${seed}` });

  it('keeps its pictures, the one that is shown and the settings for the next visit', async () => {
    await open();
    await fill(SETTINGS);
    await page.getByRole('button', { name: 'Generate' }).click();
    await thumbnail(7).waitFor();
    await page.getByLabel('Negative prompt').fill('a blue square');
    await page.getByLabel('Scheduler').selectOption({ label: 'DPM++ 2M Karras · DPMSolverMultistepScheduler' });
    await seed().fill('8');
    await page.reload();
    await page.getByRole('img', { name: SETTINGS.prompt, exact: true }).waitFor();
    await ready();
    assert.equal(await page.getByLabel('Negative prompt').inputValue(), 'a blue square');
    assert.equal(await page.locator('#scheduler option:checked').textContent(), 'DPM++ 2M Karras · DPMSolverMultistepScheduler');
    assert.deepEqual([await seed().inputValue(), await page.getByLabel('Steps', { exact: true }).inputValue(), await page.getByLabel('Width').inputValue()], ['8', '3', '64']);

    await page.getByRole('button', { name: 'Use these settings' }).click();
    assert.equal(await seed().inputValue(), '7');
    assert.equal(await page.getByLabel('Scheduler').inputValue(), SETTINGS.scheduler);
    await page.getByRole('button', { name: 'Remove' }).click();
    await thumbnail(7).waitFor({ state: 'detached' });
    assert.equal(await page.locator('#pictures').isVisible(), false);
    await page.keyboard.press('Enter'); // Undo has the focus
    await thumbnail(7).waitFor();
    await page.getByRole('button', { name: 'Remove' }).click();
    await page.reload();
    await ready();
    assert.equal(await page.locator('#pictures').isVisible(), false);
  });

  it('shows the seed of the picture that it made, and draws another for the next', async () => {
    await open();
    await fill({ ...SETTINGS, steps: 1 });
    await page.getByLabel('new each time').check();
    const seeds = [];
    for (let i = 0; i < 2; i++) {
      await page.getByRole('button', { name: 'Generate' }).click();
      await thumbnail(await seed().inputValue()).waitFor();
      seeds.push(await seed().inputValue());
      assert.match((await page.locator('#facts').textContent())!, new RegExp(`^seed ${seeds[i]} `));
    }
    assert.equal(new Set([...seeds, '7']).size, 3);
  });

  it('stops within a step when asked, and goes on', async () => {
    await open();
    await fill({ ...SETTINGS, steps: 60 });
    await page.getByRole('button', { name: 'Generate' }).click();
    await page.getByText(/step \d+ of 60 .* left/).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('status').getByText('Cancelled').waitFor();
    await fill({ ...SETTINGS, steps: 1 });
    await page.getByRole('button', { name: 'Generate' }).click();
    await page.getByRole('link', { name: 'Download PNG' }).waitFor();
  });

  for (const [device, label] of [['webgl', 'WebGL'], ['webgpu', 'WebGPU']]) {
    it(`makes the same picture on ${label}`, async function () {
      this.timeout(300_000);
      await open();
      if (!await page.locator(`#device option[value=${device}]`).count()) this.skip();
      const settings = { ...SETTINGS, steps: 2, guidance: 1, side: 32 };
      page.setDefaultTimeout(280_000);
      await page.getByText('Model and device').click();
      await page.getByLabel('Runs on').selectOption(device);
      await page.getByText(`Now: ${label}`).waitFor({ state: 'attached' });
      await fill(settings);
      await page.getByRole('button', { name: 'Generate' }).click();
      await page.getByRole('link', { name: 'Download PNG' }).waitFor();
      await expectSamePicture(await download(), settings);
    });
  }

  it('makes the same picture on half of the cores, where there are several', async () => {
    await page.route('**/worker-*.js', async route => {
      const response = await route.fetch();
      await route.fulfill({ response, body: `Object.defineProperty(navigator, 'hardwareConcurrency', { value: 4 });${await response.text()}` });
    });
    await open();
    await page.getByText('Now: WebAssembly, SIMD, 2 threads.').waitFor({ state: 'attached' });
    await fill(SETTINGS);
    await page.getByRole('button', { name: 'Generate' }).click();
    await page.getByRole('link', { name: 'Download PNG' }).waitFor();
    await expectSamePicture(await download(), SETTINGS);
  });

  it('works without a connection after the first visit', async () => {
    const gone = await StaticServer.start(SITE);
    await open(gone.url);
    await page.evaluate(() => navigator.serviceWorker.ready);
    await gone.close();
    await page.reload();
    await ready();
    await fill({ ...SETTINGS, steps: 1 });
    await page.getByRole('button', { name: 'Generate' }).click();
    await page.getByRole('link', { name: 'Download PNG' }).waitFor();
  });

  it('says that there is one thread where the server does not isolate the page, and isolates it itself the next time', async () => {
    const plain = await StaticServer.start(SITE, { isolated: false });
    try {
      await open(plain.url);
      await page.getByText('Now: WebAssembly, SIMD, one thread. More threads take a page').waitFor({ state: 'attached' });
      await page.evaluate(() => navigator.serviceWorker.ready);
      await page.reload();
      await ready();
      await page.getByText(/Now: WebAssembly, SIMD, [^.]*\.$/).waitFor({ state: 'attached' });
      assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    } finally {
      await context.close();
      await plain.close();
    }
  });

  it('loads a folder that the user picks, and a model by its address; what cannot be loaded leaves the model that is there', async () => {
    await open();
    await page.getByText('Model and device').click();
    await page.getByLabel('from a folder on this device').setInputFiles(resolve(DEMO_MODEL));
    await page.getByRole('button', { name: 'Back to the bundled model' }).waitFor();

    const [url] = await page.evaluate(async () => (await (await caches.open('tfjs-diffusers')).keys()).map(request => request.url));
    const name = page.getByLabel('Load by hub id or address');
    await name.fill(url.replace(/(models\/[^/]*).*/, '$1'));
    await name.press('Enter');
    await page.getByText(/^http.*shapes-\w+, .* million parameters$/).waitFor();
    problems = []; // the browser tells of each file that was looked for in vain

    await name.fill(`${server.url}none`);
    await page.getByRole('button', { name: 'Load', exact: true }).click();
    await page.getByRole('alert').getByText('none: has no model_index.json').waitFor();
    problems = [];
    assert.match((await name.getAttribute('aria-describedby'))!, /problem/);
    assert.match((await page.locator('#model').textContent())!, /^http.*shapes/);
    await fill({ ...SETTINGS, steps: 1 });
    await page.getByRole('button', { name: 'Generate' }).click();
    await page.getByRole('link', { name: 'Download PNG' }).waitFor();
  });

  for (const colorScheme of ['light', 'dark'] as const) {
    it(`has names, roles and contrasts as the guidelines ask, in ${colorScheme}`, async () => {
      await page.emulateMedia({ colorScheme });
      await open();
      await fill({ ...SETTINGS, steps: 1 });
      await page.getByRole('button', { name: 'Generate' }).click();
      await page.getByRole('link', { name: 'Download PNG' }).waitFor();
      const audit = readFileSync('node_modules/axe-core/axe.min.js', 'utf8');
      const violations = () => page.evaluate(`(async () => {
        ${audit};
        const { violations } = await axe.run();
        return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ': ' + html));
      })()`);
      assert.deepEqual(await violations(), []);
      await page.getByRole('button', { name: 'Remove' }).click();
      await page.evaluate(() => document.querySelectorAll('details').forEach(fold => { fold.open = true; }));
      assert.deepEqual(await violations(), []);
    });
  }

  it('fits a narrow phone, has Generate in reach and room for fingers', async () => {
    await context.close();
    context = await browser.newContext({ viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true });
    page = await context.newPage();
    await open();
    await fill({ ...SETTINGS, steps: 1, side: 96 });
    await page.getByText('The model was trained on 64 × 64.').waitFor();
    await page.getByRole('button', { name: 'Generate' }).tap();
    await page.getByRole('link', { name: 'Download PNG' }).waitFor();
    await page.evaluate(() => document.querySelectorAll('details').forEach(fold => { fold.open = true; }));
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
    const small = await page.evaluate(() => [...document.querySelectorAll<HTMLElement>('button, a, select, summary, input:not([type=checkbox]), label.check')]
      .filter(each => each.checkVisibility() && each.getBoundingClientRect().height < 44).map(each => each.outerHTML));
    assert.deepEqual(small, []);
    for (const top of [0, 100_000]) {
      await page.evaluate(top => scrollTo(0, top), top);
      const { bottom } = await page.$eval('#generate', button => button.getBoundingClientRect());
      assert.ok(bottom > 560 && bottom <= 640, `${bottom}`);
    }
  });
});

let pipe: StableDiffusionPipeline | undefined;

/** The bytes of the picture that Node makes on WebAssembly. */
async function inNode({ prompt, steps, guidance, seed, scheduler, side }: Settings): Promise<Uint8Array> {
  pipe ??= await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'wasm' });
  await pipe.to('wasm');
  pipe.scheduler = schedulerClass(scheduler).fromConfig(pipe.scheduler.config);
  const { images } = await pipe.generate(prompt, {
    numInferenceSteps: steps, guidanceScale: guidance, generator: new Generator().manualSeed(seed), height: side, width: side,
  });
  return images[0].data;
}
after(() => pipe?.dispose());
