import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { unzipSync } from 'fflate';
import type { Page } from 'playwright-core';
import { PNG } from 'pngjs';
import { buildSite, type Site } from '../../docs/playground/build.js';
import { StaticServer } from '../../docs/playground/server.js';
import {
  cannyEdges, ControlNetModel, DiffusionPipeline, Generator, Image, schedulerClass, StableDiffusionControlNetInpaintPipeline, StableDiffusionControlNetPipeline,
  StableDiffusionImg2ImgPipeline, StableDiffusionPipeline,
} from '../../lib/index.js';
import { describeInBrowser } from '../support/chromium.js';
import { DEMO_CONTROLNET, DEMO_IP_ADAPTER, DEMO_MODEL } from '../support/demo_model.js';
import { expectSame, LORA, Playground, PLAYGROUND, safetensors, type PlaygroundSettings, type Visitor } from '../support/playground.js';

const SETTINGS: PlaygroundSettings = { prompt: 'a red circle on a white background', steps: 3, guidance: 5, seed: 7, scheduler: 'EulerDiscreteScheduler', side: 64 };

describe('Playground site', () => {
  let site: Site;
  before(async () => { site = await buildSite(PLAYGROUND, DEMO_MODEL); });

  it('has no module of Node, nor any of ours that takes one', () => {
    const taken = site.modules.filter(path => !path.startsWith('(disabled):'));
    const ofNode = /^node:|lib\/(runtime\/native|cli)\/|\/(local_folder|open_by_name|hub_\w+folder|hub_cache|hub_client|read_file|write_file)\.js$|cli-progress|commander/;
    assert.deepEqual(taken.filter(path => ofNode.test(path)), []);
    for (const name of readdirSync(PLAYGROUND).filter(file => file.endsWith('.js'))) {
      const script = readFileSync(`${PLAYGROUND}/${name}`, 'utf8').replaceAll(/process\?\.getBuiltinModule\?\.\("node:\w+"\)/g, ''); // which a page has not
      assert.doesNotMatch(script, /["'`]node:|import ?["'](fs|path|os|util)["']/, name);
    }
  });

  it('is as small as the docs say, about', () => {
    const { page, worker, webgpu } = site.scriptBytes;
    assert.ok(page < 70_000 && worker < 1_950_000 && webgpu < 340_000, JSON.stringify(site.scriptBytes));
  });
});

describeInBrowser('Playground', () => {
  let playground: Playground;
  let visitor: Visitor;
  let page: Page;

  before(async () => { playground = await Playground.start(); });
  after(() => playground?.close());
  beforeEach(async () => {
    visitor = await playground.visit();
    ({ page } = visitor);
  });
  afterEach(() => playground.leave());

  const open = (url = playground.url) => visitor.open(url);
  const expectSamePicture = async (png: Buffer, settings: PlaygroundSettings) => expectSame(png, (await imageInNode(settings)).data);

  it('makes the picture that Node makes, by keyboard alone, and says so to those who listen', async () => {
    await open();
    await visitor.fill(SETTINGS);
    await page.evaluate(() => { // a step may be over before anyone looks
      const shown: string[] = [];
      Object.assign(globalThis, { shown });
      new MutationObserver(() => shown.push(document.body.innerText)).observe(document.body, { childList: true, subtree: true, characterData: true });
    });
    await visitor.prompt.press('Control+Enter');
    const canvas = page.getByRole('img', { name: SETTINGS.prompt, exact: true });
    await canvas.waitFor();
    await page.getByRole('status').getByText('The picture is ready').waitFor();
    const shown = await page.evaluate(() => (globalThis as unknown as { shown: string[] }).shown);
    assert.ok(shown.some(text => /step \d of 3/.test(text)));
    const png = await visitor.download();
    await expectSamePicture(png, SETTINGS);
    assert.ok(png.includes('tEXtparameters\0a red circle on a white background\nSteps: 3, Sampler: Euler, CFG scale: 5, Seed: 7, Size: 64x64, Model: shapes, Schedule type: DDIM'));
    assert.equal(await page.locator('#facts').textContent(), 'seed 7 · 3 steps · guidance 5 · Euler · 64 × 64');
    const details = await page.locator('#detail-list').textContent();
    assert.match(details!, /shapes.*EulerDiscreteScheduler.*WebAssembly \(SIMD, [^)]*threads?\).*[\d.]+ m?s a step.*\d+ MB/);
  });

  const thumbnail = (seed: string | number) => page.getByRole('button', { name: `${SETTINGS.prompt}, seed ${seed}` });

  it('keeps its pictures, the one that is shown and the settings for the next visit', async () => {
    await open();
    await visitor.fill(SETTINGS);
    await visitor.generate();
    await thumbnail(7).waitFor();
    await page.getByLabel('Negative prompt').fill('a blue square');
    await page.getByLabel('Scheduler').selectOption({ label: 'DPM++ 2M Karras · DPMSolverMultistepScheduler' });
    await visitor.seed.fill('8');
    await page.reload();
    await page.getByRole('img', { name: SETTINGS.prompt, exact: true }).waitFor();
    await visitor.ready();
    assert.equal(await page.getByLabel('Negative prompt').inputValue(), 'a blue square');
    assert.equal(await page.locator('#scheduler option:checked').textContent(), 'DPM++ 2M Karras · DPMSolverMultistepScheduler');
    assert.deepEqual([await visitor.seed.inputValue(), await page.getByLabel('Steps', { exact: true }).inputValue(), await page.getByLabel('Width').inputValue()], ['8', '3', '64']);

    await visitor.fold('More');
    await page.getByRole('button', { name: 'Use these settings' }).click();
    assert.equal(await visitor.seed.inputValue(), '7');
    assert.equal(await page.getByLabel('Scheduler').inputValue(), SETTINGS.scheduler);
    await visitor.fold('More');
    await page.getByRole('button', { name: 'Remove' }).click();
    await thumbnail(7).waitFor({ state: 'detached' });
    assert.equal(await page.locator('#pictures').isVisible(), false);
    await page.keyboard.press('Enter'); // Undo has the focus
    await thumbnail(7).waitFor();
    await visitor.fold('More');
    await page.getByRole('button', { name: 'Remove' }).click();
    await page.reload();
    await visitor.ready();
    assert.equal(await page.locator('#pictures').isVisible(), false);
  });

  it('shows the seed of the picture that it made, and draws another for the next', async () => {
    await open();
    await visitor.fill({ ...SETTINGS, steps: 1 });
    await page.getByLabel('new each time').check();
    const seeds = [];
    for (let i = 0; i < 2; i++) {
      await visitor.generate();
      await thumbnail(await visitor.seed.inputValue()).waitFor();
      seeds.push(await visitor.seed.inputValue());
      assert.match((await page.locator('#facts').textContent())!, new RegExp(`^seed ${seeds[i]} `));
    }
    assert.equal(new Set([...seeds, '7']).size, 3);
  });

  it('begins from a picture that is chosen, as Node does', async () => {
    const picture = await pictureOf({ ...SETTINGS, seed: 1, steps: 4 });
    await open();
    await visitor.fill({ ...SETTINGS, prompt: 'a blue circle on a white background' });
    await visitor.fold('Begin from a picture');
    await page.locator('#start-file').setInputFiles({ name: 'picture.png', mimeType: 'image/png', buffer: picture });
    await page.getByLabel('Strength').fill('0.7');
    await visitor.generate();
    await visitor.finished();
    assert.match((await page.locator('#facts').textContent())!, /strength 0.7 · 3 steps/);
    const node = new StableDiffusionImg2ImgPipeline((await inNode()).components);
    node.scheduler = schedulerClass(SETTINGS.scheduler).fromConfig(node.scheduler.config);
    const { images: [expected] } = await node.generate('a blue circle on a white background', {
      image: await Image.fromPng(picture), strength: 0.7, numInferenceSteps: 3, guidanceScale: 5, generator: new Generator().manualSeed(7),
    });
    expectSame(await visitor.download(), expected.data);
    await page.locator('#start-file').setInputFiles({ name: 'broken.png', mimeType: 'image/png', buffer: picture.subarray(0, 40) });
    await page.getByRole('alert').getByText('broken.png cannot be read').waitFor();
    assert.ok(await page.locator('#start-image').isVisible(), 'the other stays');
  });

  it('makes a part of a picture anew, painted by keyboard, and the rest stays', async () => {
    await open();
    await visitor.fill({ ...SETTINGS, steps: 6 });
    await visitor.generate();
    await visitor.finished();
    const before = PNG.sync.read(await visitor.download()).data;
    await page.getByRole('button', { name: 'Begin from it' }).click();
    const mask = page.getByRole('application', { name: 'What to change' });
    await page.getByLabel('Brush size').fill('50');
    for (const key of [' ', ' ', 'Control+z']) await mask.press(key);
    assert.ok(await page.getByRole('button', { name: 'Clear' }).isDisabled(), 'the stroke is taken back');
    for (const key of [' ', 'ArrowDown', 'ArrowDown', ' ']) await mask.press(key);
    assert.ok(await page.getByRole('button', { name: 'Clear' }).isEnabled());
    await visitor.prompt.fill('a green square on a white background');
    await page.getByLabel('Strength').fill('1');
    await visitor.generate();
    await page.getByRole('img', { name: 'a green square on a white background', exact: true }).waitFor();
    await visitor.finished();
    const after = PNG.sync.read(await visitor.download()).data;
    const change = (x: number, y: number) => Math.max(...[0, 1, 2].map(c => Math.abs(before[(y * 64 + x) * 4 + c] - after[(y * 64 + x) * 4 + c])));
    assert.ok(change(32, 32) > 60, `the middle differs by ${change(32, 32)}`);
    for (const [x, y] of [[2, 2], [61, 2], [2, 61], [61, 61]]) assert.ok(change(x, y) < 40, `${x}, ${y} differs by ${change(x, y)}`);

    await page.reload();
    await visitor.ready();
    await visitor.fold('More');
    await page.getByRole('button', { name: 'Use these settings' }).click();
    await page.waitForSelector('#mask-clear:enabled'); // the paint is there again
    assert.equal(await page.getByLabel('Strength').inputValue(), '1');
  });

  it('is steered by the edges of a picture, and by lines that are drawn by keyboard, as Node is', async () => {
    const picture = await pictureOf({ ...SETTINGS, prompt: 'a large red circle on a white background', seed: 1, steps: 4 });
    await open();
    await visitor.fill({ ...SETTINGS, prompt: 'a green circle on a black background', steps: 4 });
    await visitor.fold('Steer by lines');
    const lines = page.getByRole('application', { name: 'Lines to steer by' });
    await page.locator('#steer-file').setInputFiles({ name: 'picture.png', mimeType: 'image/png', buffer: picture });
    await page.waitForSelector('#lines-clear:enabled');
    await page.getByLabel('How strongly').fill('0.9');
    const made = await visitor.make(1);
    assert.match((await page.locator('#facts').textContent())!, /steered 0.9 · 4 steps/);
    const controlnet = await ControlNetModel.fromPretrained(DEMO_CONTROLNET);
    const node = new StableDiffusionControlNetPipeline({ ...(await inNode()).components, controlnet });
    node.scheduler = schedulerClass(SETTINGS.scheduler).fromConfig(node.scheduler.config);
    const { images: [expected] } = await node.generate('a green circle on a black background', {
      image: cannyEdges(await Image.fromPng(picture)), controlnetConditioningScale: 0.9, numInferenceSteps: 4, guidanceScale: 5, generator: new Generator().manualSeed(7),
    });
    expectSame(made, expected.data);
    controlnet.dispose();

    await page.getByRole('button', { name: 'Clear lines' }).click();
    assert.ok(await page.getByLabel('How strongly').isDisabled(), 'without lines nothing is steered');
    await page.getByLabel('Pen size').fill('4');
    const box = ['ArrowDown', 'ArrowRight', 'ArrowUp', 'ArrowLeft'].flatMap(key => Array<string>(20).fill(key));
    for (const key of [' ', ...box, ' ']) await lines.press(key);
    await page.getByRole('status').getByText('The pen is up').waitFor();
    await visitor.prompt.fill('a small yellow square on a blue background');
    await page.getByLabel('Steps', { exact: true }).fill('10');
    const { data } = PNG.sync.read(await visitor.make(2));
    const isYellow = (x: number, y: number) => data[(y * 64 + x) * 4] > 150 && data[(y * 64 + x) * 4 + 2] < 150;
    assert.deepEqual([[42, 42], [20, 20]].map(([x, y]) => isYellow(x, y)), [true, false]);

    await page.reload();
    await visitor.ready();
    await visitor.fold('More');
    await page.getByRole('button', { name: 'Use these settings' }).click();
    await page.waitForSelector('#lines-clear:enabled'); // the lines are there again
    assert.equal(await page.getByLabel('How strongly').inputValue(), '0.9');
  });

  it('takes the style from a picture, chosen by keyboard or dropped, as Node does, and leaves it again', async () => {
    const picture = await pictureOf({ ...SETTINGS, prompt: 'a large yellow square on a purple background', seed: 1, steps: 4 });
    const settings = { ...SETTINGS, prompt: 'a circle', steps: 4 };
    await open();
    await visitor.fill(settings);
    await visitor.fold('Take the style from a picture');
    const choose = page.getByRole('button', { name: 'Choose a picture for the style' });
    const [chooser] = await Promise.all([page.waitForEvent('filechooser'), choose.press('Enter')]);
    await chooser.setFiles({ name: 'picture.png', mimeType: 'image/png', buffer: picture });
    await page.getByRole('img', { name: 'The picture to take the style from' }).waitFor();
    const scale = page.getByRole('slider', { name: 'How much of its style' });
    for (const key of ['ArrowLeft', 'ArrowLeft']) await scale.press(key);
    const made = await visitor.make(1);
    assert.match((await page.locator('#facts').textContent())!, /style 0.8 · 4 steps/);
    const { components } = await inNode();
    const node = new StableDiffusionPipeline(components);
    node.scheduler = schedulerClass(SETTINGS.scheduler).fromConfig(node.scheduler.config);
    await node.loadIpAdapter(DEMO_IP_ADAPTER);
    await node.setIpAdapterScale(0.8);
    const options = { ipAdapterImage: await Image.fromPng(picture), numInferenceSteps: 4, guidanceScale: 5 };
    const { images: [expected] } = await node.generate('a circle', { ...options, generator: new Generator().manualSeed(7) });
    expectSame(made, expected.data);

    await visitor.fold('Steer by lines'); // all at once: lines, a part of a picture, and a style
    await page.locator('#steer-file').setInputFiles({ name: 'picture.png', mimeType: 'image/png', buffer: picture });
    await page.waitForSelector('#lines-clear:enabled');
    await page.getByRole('button', { name: 'Begin from it' }).click();
    const mask = page.getByRole('application', { name: 'What to change' });
    await page.getByLabel('Brush size').fill('60');
    for (const key of [' ', 'ArrowDown', ' ']) await mask.press(key);
    await page.getByLabel('Strength').fill('0.8');
    const all = await visitor.make(2);
    assert.match((await page.locator('#facts').textContent())!, /strength 0.8 · steered 1 · style 0.8 · 4 steps/);
    const painted = await page.locator('#mask').evaluate((canvas: HTMLCanvasElement) => {
      const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
      return [...data].filter((_, i) => i % 4 === 3).map(alpha => alpha > 127 ? 255 : 0);
    });
    const controlnet = await ControlNetModel.fromPretrained(DEMO_CONTROLNET);
    const inpaint = new StableDiffusionControlNetInpaintPipeline({ ...node.components, controlnet });
    const { images: [together] } = await inpaint.generate('a circle', {
      ...options, image: await Image.fromPng(made), maskImage: new Image(Uint8Array.from(painted.flatMap(value => [value, value, value])), 64, 64), strength: 0.8,
      controlImage: cannyEdges(await Image.fromPng(picture)), controlnetConditioningScale: 1, generator: new Generator().manualSeed(7),
    });
    expectSame(all, together.data);
    await node.unloadIpAdapter();
    controlnet.dispose();

    await page.getByRole('button', { name: 'Take no style' }).press('Enter');
    assert.ok(await choose.evaluate(button => button === document.activeElement), 'who goes by keyboard is where it can be chosen again');
    await page.getByRole('button', { name: 'Clear lines' }).click();
    await page.getByRole('button', { name: 'Begin without a picture' }).click();
    expectSame(await visitor.make(3), (await imageInNode(settings)).data);
    await page.locator('#style-fold').evaluate((fold, bytes) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([Uint8Array.from(bytes)], 'dropped.png', { type: 'image/png' }));
      fold.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    }, [...picture]);
    expectSame(await visitor.make(4), expected.data);

    await page.reload();
    await visitor.ready();
    await visitor.fold('More');
    await page.getByRole('button', { name: 'Use these settings' }).click();
    await page.getByRole('img', { name: 'The picture to take the style from' }).waitFor(); // the picture is there again
    assert.equal(await scale.inputValue(), '0.8');
    await page.locator('#style-file').setInputFiles({ name: 'broken.png', mimeType: 'image/png', buffer: picture.subarray(0, 40) });
    await page.getByRole('alert').getByText('broken.png cannot be read').waitFor();
    assert.ok(await page.locator('#style-image').isVisible(), 'the other stays');
  });

  it('stops within a step when asked, and goes on', async () => {
    await open();
    await visitor.fill({ ...SETTINGS, steps: 60 });
    await visitor.generate();
    await page.getByText(/step \d+ of 60 .* left/).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('status').getByText('Cancelled').waitFor();
    await visitor.fill({ ...SETTINGS, steps: 1 });
    await visitor.generate();
    await page.getByRole('link', { name: 'Download PNG' }).waitFor();
  });

  for (const [device, label] of [['webgl', 'WebGL'], ['webgpu', 'WebGPU']]) {
    it(`makes the same picture on ${label}`, async function () {
      await open();
      if (!await page.locator(`#device option[value=${device}]`).count()) this.skip();
      const settings = { ...SETTINGS, steps: 2, guidance: 1, side: 32 };
      page.setDefaultTimeout(280_000);
      await visitor.fold('Model and device');
      await page.getByLabel('Runs on').selectOption(device);
      await page.getByText(`Now: ${label}`).waitFor({ state: 'attached' });
      await visitor.fill(settings);
      await visitor.generate();
      await page.getByRole('link', { name: 'Download PNG' }).waitFor();
      await expectSamePicture(await visitor.download(), settings);
    });
  }

  it('makes a picture by WebAssembly where the GPU fails, and says so', async function () {
    visitor = await playground.visit({ viewport: { width: 1280, height: 900 }, serviceWorkers: 'block' }); // which would bring the second worker
    ({ page } = visitor);
    await page.route('**/worker-*.js', async route => { // a GPU whose pictures fail as the backend says it, and which is as soon there as WebAssembly
      const response = await route.fetch();
      await route.fulfill({ response, body: `
        let fails = false;
        addEventListener('message', event => {
          const { data } = event;
          if (data.type === 'load' && data.device === 'webgpu') {
            fails = true;
            data.device = 'wasm';
          }
          if (data.type !== 'generate' || !fails) return;
          event.stopImmediatePropagation();
          postMessage({ type: 'failed', message: 'webgpu: a buffer is too large' });
        });
        ${await response.text()}` });
    });
    await open();
    if (!await page.locator('#device option[value=webgpu]').count()) this.skip();
    await visitor.fold('Model and device');
    await page.getByLabel('Runs on').selectOption('webgpu');
    await page.waitForFunction(() => JSON.parse(localStorage.getItem('tfjs-diffusers-playground')!).device === 'webgpu'); // it is there
    await visitor.fill(SETTINGS);
    await visitor.generate();
    await page.locator('#error').getByText('webgpu: a buffer is too large. The same is made by WebAssembly').waitFor();
    await page.getByRole('region', { name: 'Notice' }).getByText('By WebAssembly now').waitFor();
    await page.getByRole('link', { name: 'Download PNG' }).waitFor();
    assert.equal(await page.getByLabel('Runs on').inputValue(), 'wasm');
    await expectSamePicture(await visitor.download(), SETTINGS);
    await page.reload();
    await visitor.ready();
    assert.equal(await page.getByLabel('Runs on').inputValue(), 'webgpu', 'for the next visit it is as it was chosen');
  });

  it('makes the same picture on half of the cores, where there are several', async () => {
    await page.route('**/worker-*.js', async route => {
      const response = await route.fetch();
      await route.fulfill({ response, body: `Object.defineProperty(navigator, 'hardwareConcurrency', { value: 4 });${await response.text()}` });
    });
    await open();
    await page.getByText('Now: WebAssembly, SIMD, 2 threads.').waitFor({ state: 'attached' });
    await visitor.fill(SETTINGS);
    await visitor.generate();
    await page.getByRole('link', { name: 'Download PNG' }).waitFor();
    await expectSamePicture(await visitor.download(), SETTINGS);
  });

  it('works without a connection after the first visit', async () => {
    const gone = await StaticServer.start(PLAYGROUND);
    await open(gone.url);
    await page.evaluate(() => navigator.serviceWorker.ready);
    await gone.close();
    await page.reload();
    await visitor.ready();
    await visitor.fill({ ...SETTINGS, steps: 1 });
    await visitor.generate();
    await page.getByRole('link', { name: 'Download PNG' }).waitFor();
  });

  it('says that there is one thread where the server does not isolate the page, and isolates it itself the next time', async () => {
    const plain = await StaticServer.start(PLAYGROUND, { isolated: false });
    try {
      await open(plain.url);
      await page.getByText('Now: WebAssembly, SIMD, one thread. More threads take a page').waitFor({ state: 'attached' });
      await page.evaluate(() => navigator.serviceWorker.ready);
      await page.reload();
      await visitor.ready();
      await page.getByText(/Now: WebAssembly, SIMD, [^.]*\.$/).waitFor({ state: 'attached' });
      assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    } finally {
      await playground.leave();
      await plain.close();
    }
  });

  it('makes several at a time, varies one, compares two, walks by arrow keys, and gives all in one file', async () => {
    await open();
    await visitor.fill({ ...SETTINGS, steps: 1, side: 32 });
    await page.getByLabel('How many').selectOption('3');
    await visitor.generate();
    await page.getByRole('status').getByText('3 pictures are ready').waitFor();
    for (const each of [7, 8, 9]) await thumbnail(each).waitFor();
    await thumbnail(9).press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    await page.locator('#facts', { hasText: 'seed 7 ·' }).waitFor();
    await visitor.fold('More');
    await page.getByRole('button', { name: 'Compare with another' }).click();
    await thumbnail(8).click();
    await page.locator('#facts', { hasText: 'seed 8 ·' }).waitFor();
    assert.match((await page.locator('#pinned-facts').textContent())!, /^seed 7 ·/);
    await page.getByRole('button', { name: 'End comparing' }).click();
    await page.getByLabel('How many').selectOption('1');
    await page.getByRole('button', { name: 'Variations' }).click();
    await page.getByRole('status').getByText('4 pictures are ready').waitFor();
    assert.match((await page.locator('#facts').textContent())!, /^seed 8 · variation \d+/);
    const varied = await visitor.download();
    await visitor.fold('More');
    await page.getByRole('button', { name: 'Use these settings' }).click();
    await visitor.generate();
    await page.locator('#gallery li:nth-child(8)').waitFor();
    await visitor.finished();
    assert.deepEqual(PNG.sync.read(await visitor.download()).data, PNG.sync.read(varied).data, 'a variation can be made again');
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download all' }).click()]);
    const files = Object.values(unzipSync(readFileSync((await file.path())!)));
    assert.equal(files.length, 8);
    files.forEach(each => PNG.sync.read(Buffer.from(each)));
  });

  it('takes settings from a link, and from a picture that is dropped on it', async () => {
    await page.goto(`${playground.url}#prompt=a+pink+heart&seed=12&numInferenceSteps=2&scheduler=EulerDiscreteScheduler&schedulerOptions={"use_karras_sigmas":true}&width=32&height=9999`);
    await visitor.ready();
    assert.equal(await visitor.prompt.inputValue(), 'a pink heart');
    assert.equal(await page.locator('#scheduler option:checked').textContent(), 'Euler Karras · EulerDiscreteScheduler');
    assert.equal(await page.getByLabel('Width').inputValue(), '32');
    await page.getByLabel('Height').fill('32');
    await visitor.fold('Fine tuning');
    await page.getByLabel('DeepCache').selectOption('2');
    await page.getByLabel('Token merging').selectOption('0.5');
    await visitor.generate();
    await visitor.finished();
    const png = await visitor.download();
    await visitor.fill(SETTINGS);
    await page.getByLabel('DeepCache').selectOption('');
    const drop = (bytes: number[]) => page.evaluate(bytes => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([Uint8Array.from(bytes)], 'dropped.png', { type: 'image/png' }));
      document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    }, bytes);
    await drop([...png]);
    await page.getByRole('region', { name: 'Notice' }).getByText('The settings of dropped.png').waitFor();
    assert.deepEqual([await visitor.seed.inputValue(), await page.getByLabel('DeepCache').inputValue(), await page.getByLabel('Noise levels').inputValue()], ['12', '2', 'karras']);
    await drop([...await pictureOf({ ...SETTINGS, steps: 1 }, { parameters: 'a cat\nSteps: 3, Sampler: DPM++ 2M SDE Karras, CFG scale: 4, Seed: 5, Size: 64x64' })]);
    await page.waitForFunction(() => (document.querySelector('#prompt') as HTMLTextAreaElement).value === 'a cat');
    assert.equal(await page.locator('#scheduler option:checked').textContent(), 'DPM++ 2M SDE Karras · DPMSolverMultistepScheduler');
    const plain = [...await pictureOf({ ...SETTINGS, steps: 1 }, {})];
    await drop(plain);
    await page.getByLabel('Strength').waitFor();
    await page.getByRole('button', { name: 'Begin without a picture' }).click();
    await page.getByLabel('Strength').waitFor({ state: 'hidden' });
    await page.evaluate(bytes => {
      const clipboardData = new DataTransfer();
      clipboardData.items.add(new File([Uint8Array.from(bytes)], 'pasted.png', { type: 'image/png' }));
      document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true }));
    }, plain);
    await page.getByLabel('Strength').waitFor();
  });

  it('adds LoRA files and learned words, and takes weights in prompts', async () => {
    await open();
    await visitor.fill({ ...SETTINGS, steps: 2, side: 32 });
    await visitor.generate();
    await visitor.finished();
    const plain = await visitor.download();
    await visitor.fold('LoRA and learned words');
    await page.locator('#lora-file').setInputFiles({ name: 'style.safetensors', mimeType: '', buffer: await safetensors(LORA) });
    await page.getByRole('slider', { name: 'style' }).waitFor();
    await page.locator('#word-file').setInputFiles({ name: 'lamp.safetensors', mimeType: '', buffer: await safetensors({ '*': [1, 128] }) });
    await visitor.prompt.fill('a (red:1.4) ');
    await page.getByRole('button', { name: 'Use <lamp> in the prompt' }).click();
    assert.equal(await visitor.prompt.inputValue(), 'a (red:1.4) <lamp>');
    await visitor.generate();
    await page.getByRole('img', { name: 'a (red:1.4) <lamp>', exact: true }).waitFor();
    await visitor.fold('Details');
    await page.getByText('style 1', { exact: true }).waitFor();
    await page.getByRole('slider', { name: 'style' }).fill('0');
    await visitor.prompt.fill(SETTINGS.prompt);
    await visitor.generate();
    await page.locator('#gallery li:nth-child(3)').waitFor();
    await visitor.finished();
    assert.deepEqual(PNG.sync.read(await visitor.download()).data, PNG.sync.read(plain).data, 'a LoRA of strength 0 is none');
    await page.locator('#lora-file').setInputFiles({ name: 'none.safetensors', mimeType: '', buffer: Buffer.from('none') });
    await page.getByRole('alert').getByText('none.safetensors').waitFor();
  });

  it('loads a folder that the user picks, and a model by its address; what cannot be loaded leaves the model that is there', async () => {
    await open();
    await visitor.fold('Model and device');
    await page.getByLabel('from a folder on this device').setInputFiles(resolve(DEMO_MODEL));
    await page.getByRole('button', { name: 'Back to the bundled model' }).waitFor();

    const [url] = await page.evaluate(async () => (await (await caches.open('tfjs-diffusers')).keys()).map(request => request.url));
    const name = page.getByLabel('Load by hub id or address');
    await name.fill(url.replace(/(models\/[^/]*).*/, '$1'));
    await name.press('Enter');
    await page.getByText(/^http.*shapes-\w+, .* million parameters$/).waitFor();
    visitor.problems = []; // the browser tells of each file that was looked for in vain

    await name.fill(`${playground.url}none`);
    await page.getByRole('button', { name: 'Load', exact: true }).click();
    await page.getByRole('alert').getByText('none: has no model_index.json').waitFor();
    visitor.problems = [];
    assert.equal(await page.locator(`#${await name.getAttribute('aria-describedby')}`).getAttribute('role'), 'alert');
    assert.match((await page.locator('#model').textContent())!, /^http.*shapes/);
    await visitor.fill({ ...SETTINGS, steps: 1 });
    await visitor.generate();
    await visitor.finished();

    await page.evaluate(() => localStorage.setItem('tfjs-diffusers-playground', JSON.stringify({ source: { kind: 'name', name: `${location.href}gone` } })));
    await page.reload();
    await page.getByRole('alert').getByText('gone: has no model_index.json').waitFor();
    await visitor.ready(); // with the bundled model
    visitor.problems = [];
  });

  it('fits a narrow phone, has Generate in reach and room for fingers', async () => {
    visitor = await playground.visit({ viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true });
    ({ page } = visitor);
    await open();
    await visitor.fill({ ...SETTINGS, steps: 1, side: 96 });
    await page.getByText('The model was trained on 64 × 64.').waitFor();
    await page.getByRole('button', { name: 'Generate' }).tap();
    await page.getByRole('link', { name: 'Download PNG' }).waitFor();
    await page.getByRole('button', { name: 'Begin from it' }).tap();
    await page.getByRole('application', { name: 'What to change' }).tap();
    await page.waitForSelector('#mask-clear:enabled'); // a finger paints
    await visitor.foldAllOut();
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 320), 'nothing sticks out');
    const small = await page.evaluate(() => [...document.querySelectorAll<HTMLElement>('button, a, select, summary, input:not([type=checkbox], [type=radio]), label.check, .segments label')]
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

/** A pipeline of Node on WebAssembly. */
async function inNode(): Promise<StableDiffusionPipeline> {
  pipe ??= await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'wasm' });
  await pipe.to('wasm');
  return pipe;
}

async function imageInNode({ prompt, steps, guidance, seed, scheduler, side }: PlaygroundSettings): Promise<Image> {
  const pipe = await inNode();
  pipe.scheduler = schedulerClass(scheduler).fromConfig(pipe.scheduler.config);
  const { images } = await pipe.generate(prompt, {
    numInferenceSteps: steps, guidanceScale: guidance, generator: new Generator().manualSeed(seed), height: side, width: side,
  });
  return images[0];
}

/** A PNG file of a picture that Node makes. */
async function pictureOf(settings: PlaygroundSettings, text?: Record<string, string>): Promise<Buffer> {
  return Buffer.from(await (await imageInNode(settings)).toPng(text));
}
after(() => pipe?.dispose());
