import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { countFlops } from '../../benchmarks/flops.js';
import { missing, verdict, type Found } from '../../docs/playground/benchmark/advice.js';
import { describeBrowser } from '../../docs/playground/benchmark/browser.js';
import { measure, type Size } from '../../docs/playground/benchmark/measure.js';
import { FULL, PICTURE, sizesOf, type Place } from '../../docs/playground/benchmark/parts.js';
import { FULL_GIGABYTES, isFigure, PARTS, type Figure, type GpuFacts, type Report } from '../../docs/playground/benchmark/report.js';
import { DiffusionPipeline, Generator, tf, UNet2DConditionModel, type Image } from '../../lib/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { describeInBrowser } from '../support/chromium.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { bringAxe, smallTargets, sticksOut, takePicture, violations } from '../support/guidelines.js';
import { expectSame, Playground, type Visitor } from '../support/playground.js';

/** Where pictures of the page are saved, for those who want to look. */
const SCREENSHOTS = process.env.SCREENSHOTS;

describe('Benchmark of a browser', () => {
  /** Sizes on a clock of their own, which tell what became of them. */
  function sizes(milliseconds: Record<string, number>, fails: string[] = []) {
    const state = { now: 0, runs: {} as Record<string, number>, held: 0 };
    const made = Object.entries(milliseconds).map(([name, time]): Size => ({
      name, gflop: time,
      prepare: async () => {
        state.held++;
        return {
          run: async times => {
            if (fails.includes(name)) throw new Error('out of memory');
            state.now += time * times;
            state.runs[name] = (state.runs[name] ?? 0) + times;
          },
          dispose: () => { state.held--; },
        };
      },
    }));
    return { made, state, clock: () => state.now };
  }

  it('measures the largest size that fits into the time, and says why it is no larger', async () => {
    const { made, state, clock } = sizes({ small: 10, middle: 1000, large: 4000, huge: 40_000 });
    const told: string[] = [];
    const measured = await measure(made, { budget: 12_000, runs: 5 }, text => told.push(text), clock);
    assert.deepEqual(measured, {
      size: 'large', smaller: 'huge would take 40 s each time', milliseconds: [4000, 4000, 4000], median: 4000, gflop: 4000,
    });
    assert.deepEqual(state.runs, { small: 3, middle: 1, large: 4 });
    assert.equal(state.held, 0);
    assert.equal(told.at(-1), 'large, run 3 of 5');
  });

  it('does short work often in a run, keeps to the smallest if asked, and runs once what takes too long at its smallest', async () => {
    const short = sizes({ small: 10, large: 20 });
    const quick = await measure(short.made, { budget: 12_000, runs: 2, smallest: true }, () => undefined, short.clock);
    assert.deepEqual(quick, { size: 'small', milliseconds: [10, 10], median: 10, gflop: 10 });
    assert.deepEqual(short.state.runs, { small: 3 + 2 * 10 });
    const long = sizes({ small: 30_000, large: 60_000 });
    const once = await measure(long.made, { budget: 12_000, runs: 5 }, () => undefined, long.clock);
    assert.deepEqual([once.milliseconds, long.state.runs], [[30_000], { small: 1 }]);
    assert.match(once.smaller!, /first run/);
  });

  it('goes back to the size before where the memory is too small for one, and fails where it is for all', async () => {
    const some = sizes({ small: 200, large: 400 }, ['large']);
    const measured = await measure(some.made, { budget: 12_000, runs: 3 }, () => undefined, some.clock);
    assert.deepEqual([measured.size, measured.smaller, measured.milliseconds], ['small', 'large: out of memory', [200, 200, 200]]);
    const none = sizes({ small: 200 }, ['small']);
    await assert.rejects(measure(none.made, { budget: 12_000, runs: 3 }, () => undefined, none.clock), { message: 'out of memory' });
    assert.deepEqual([some.state.held, none.state.held], [0, 0]);
  });

  it('tells browsers apart, and phones and tablets from the rest', () => {
    const agents: Array<[string, string, string, string, boolean]> = [
      ['Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0', 'Edge', '140.0.0.0', 'Windows', false],
      ['Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36', 'Chrome', '141.0.0.0', 'Android', true],
      ['Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15', 'Safari', '26.1', 'macOS', false],
      ['Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0', 'Firefox', '145.0', 'Linux', false],
      ['something else', 'unknown', '', 'unknown', false],
    ];
    for (const [userAgent, ...expected] of agents) {
      const { name, version, system, mobile } = describeBrowser({ userAgent });
      assert.deepEqual([name, version, system, mobile], expected);
    }
    const { system, mobile } = describeBrowser({ userAgent: agents[2][0], maxTouchPoints: 5 });
    assert.deepEqual([system, mobile], ['iOS', true]);
  });

  it('says what is missing and what to do about it', () => {
    const gpu: GpuFacts = { name: 'a chip', vendor: '', architecture: '', device: '', description: '', isSoftware: false, features: ['shader-f16'], limits: {} };
    const all: Found = {
      browser: { name: 'Chrome', version: '141', system: 'Windows', mobile: false, userAgent: '' }, page: { crossOriginIsolated: true, secure: true, cores: 8 },
      abilities: { devices: [], wasm: { simd: true, threads: 4 }, webgpu: gpu, tfjs: '' },
    };
    assert.deepEqual(missing(all), []);
    assert.match(verdict(all), /^Yes\. .* 3\.4 GB/);
    const without = (webgpu: Found['abilities']['webgpu'], more: Partial<Found> = {}) => missing({ ...all, ...more, abilities: { ...all.abilities, webgpu } });
    assert.match(without({ ...gpu, features: [] })[0], /halves \(shader-f16\)/);
    assert.match(without({ ...gpu, isSoftware: true })[0], /hardware acceleration/);
    assert.match(without({ missing: 'this browser finds no GPU' })[0], /finds no GPU.*driver.*chrome:\/\/gpu/);
    const none = { missing: 'this browser has no WebGPU' };
    assert.match(without(none)[0], /Chrome and Edge 113/);
    assert.match(without(none, { browser: { ...all.browser, name: 'Safari' } })[0], /version 26/);
    assert.match(without(none, { page: { ...all.page, secure: false } })[0], /by https/);
    const poor = missing({ ...all, page: { ...all.page, crossOriginIsolated: false }, abilities: { ...all.abilities, wasm: { simd: false, threads: 1 } } });
    assert.deepEqual([poor.length, /SIMD/.test(poor[0]), /COOP and COEP/.test(poor[1])], [2, true, true]);
    assert.match(verdict({ ...all, abilities: { ...all.abilities, webgpu: none } }), /^In part\. .*4 threads/);
  });
});

describeOnDevices('What a browser is measured by', device => {
  const images: Image[] = [];
  const place: Place = { device, takesFull: true, openModel: async () => DEMO_MODEL, show: async image => { images.push(image); } };

  it('computes finite values in each part, and leaves nothing behind', async () => {
    for (const part of PARTS) {
      await expectNoLeak(async () => {
        const { milliseconds, median } = await measure(sizesOf(part, place), { budget: 10_000, runs: 1, smallest: true }, () => undefined);
        assert.ok(milliseconds.length === 1 && median > 0, part);
        return [];
      });
    }
    assert.deepEqual([images[0].width, images[0].height], [64, 64]);
  });

  it('counts what it computes', async () => {
    for (const [part, ...which] of [['matrixProduct', 1, 2], ['attention', 1], ['convolution', 1], ['unet', 0, 1]] as const) {
      for (const i of which) {
        const size = sizesOf(part, place)[i];
        const trial = await size.prepare();
        const { flops } = await countFlops(() => trial.run(1));
        trial.dispose();
        assert.ok(Math.abs(flops / 1e9 / size.gflop! - 1) < 0.01, `${size.name}: counted ${flops / 1e9}`);
      }
    }
  });

  it('has a UNet of as many weights as it says', () => {
    const { numParameters } = new UNet2DConditionModel({ block_out_channels: FULL.channels, cross_attention_dim: 768 });
    assert.equal((numParameters * 4 / 1e9).toFixed(1), String(FULL_GIGABYTES));
  });
});

describeInBrowser('The page "Can your browser do this?"', () => {
  let playground: Playground;
  let visitor: Visitor;
  let page: Page;
  let pipe: Awaited<ReturnType<typeof DiffusionPipeline.fromPretrained>> | undefined;
  before(async () => {
    playground = await Playground.start();
    if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });
  });
  after(async () => {
    pipe?.dispose();
    await playground?.close();
  });
  afterEach(() => playground.leave());

  async function open(options?: Parameters<Playground['visit']>[0]): Promise<void> {
    visitor = await playground.visit(options);
    ({ page } = visitor);
    await page.goto(`${playground.url}benchmark.html?quick`);
    await page.waitForSelector('#start:enabled');
  }

  /** Chooses what is measured, and on what. */
  async function choose(devices: string[], parts: readonly string[]): Promise<void> {
    for (const [id, wanted] of [['devices', devices], ['parts', parts]] as const) {
      for (const input of await page.locator(`#${id} input`).all()) await input.setChecked(wanted.includes(await input.inputValue()));
    }
  }

  async function measured(): Promise<Report> {
    await page.getByRole('button', { name: 'Measure' }).click();
    await page.getByRole('status').getByText('All is measured').waitFor({ timeout: 280_000 });
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download JSON' }).click()]);
    const json = readFileSync((await file.path())!, 'utf8');
    assert.equal(json, await page.locator('#json').textContent());
    return JSON.parse(json) as Report;
  }

  function expectFigures({ results }: Report, device: string, parts: readonly string[]): void {
    const figures = results.filter(each => each.device === device) as Figure[];
    assert.deepEqual(figures.map(({ part }) => part), parts);
    for (const figure of figures) {
      assert.ok(isFigure(figure), JSON.stringify(figure));
      const { milliseconds, median, gflop, steps } = figure;
      assert.ok(milliseconds.length > 0 && [...milliseconds, median, gflop ?? steps!].every(value => Number.isFinite(value) && value > 0), JSON.stringify(figure));
    }
  }

  it('measures WebAssembly, makes the picture that Node makes, and gives all as JSON', async () => {
    await open();
    assert.match((await page.locator('#verdict').textContent())!, /^In part/);
    assert.match((await page.locator('.found').textContent())!, /BrowserChrome \d+ on Linux|BrowserChrome \d+ on/);
    const report = await measured();
    assert.deepEqual([report.format, report.version, report.quick], ['tfjs-diffusers benchmark', 1, true]);
    assert.deepEqual(report.versions, { 'tfjs-diffusers': JSON.parse(readFileSync('package.json', 'utf8')).version, tfjs: tf.version.tfjs });
    assert.ok(Math.abs(Date.now() - Date.parse(report.date)) < 600_000);
    assert.ok(report.browser.name === 'Chrome' && report.page.crossOriginIsolated && report.page.cores > 0 && report.wasm.simd && report.devices.length > 0);
    if ('name' in report.webgpu) assert.ok(report.webgpu.limits.maxBufferSize >= 2 ** 28 && report.webgpu.limits.maxStorageBufferBindingSize >= 2 ** 27);
    expectFigures(report, 'wasm', PARTS);
    assert.equal(report.results.length, PARTS.length, 'GPUs in software are not chosen');
    assert.equal(await page.locator('#rows tr').count(), PARTS.length);
    assert.equal(await page.locator('.bar').count(), PARTS.length - 1);

    const bytes = await page.evaluate(async () => [...new Uint8Array(await (await fetch((document.querySelector('#picture') as HTMLImageElement).src)).arrayBuffer())]);
    pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device: 'wasm' });
    const { images } = await pipe.generate(PICTURE.prompt, { numInferenceSteps: 1, generator: new Generator().manualSeed(PICTURE.seed) });
    expectSame(Buffer.from(bytes), images[0].data);
  });

  it('measures WebGPU where the browser has it', async function () {
    await open();
    if (await page.locator('#on-webgpu').count() === 0) return this.skip();
    const parts = ['matrixProduct', 'attention', 'convolution'];
    await choose(['webgpu'], parts);
    const report = await measured();
    expectFigures(report, 'webgpu', parts);
    assert.ok('name' in report.webgpu && report.webgpu.name);
  });

  it('can be stopped, by button and by Escape, and keeps what is measured; what fails leaves the rest', async () => {
    await open();
    await choose(['wasm'], []);
    await page.getByRole('button', { name: 'Measure' }).click();
    await page.getByRole('alert').getByText('Choose what to measure.').waitFor();
    await choose(['wasm'], PARTS);
    await page.getByRole('button', { name: 'Measure' }).press('Enter');
    await page.locator('#rows tr').first().waitFor(); // the others take seconds yet
    await page.keyboard.press('Escape');
    await page.getByRole('status').getByText('Stopped').waitFor();
    const rows = await page.locator('#rows tr').count();
    assert.ok(rows > 0 && rows < PARTS.length, `${rows} rows`);
    assert.ok(await page.getByRole('button', { name: 'Measure' }).evaluate(button => button === document.activeElement));

    await choose(['wasm'], ['picture', 'matrixProduct']);
    await page.evaluate(() => caches.delete('tfjs-diffusers'));
    await page.context().route('**/models/**', route => route.abort());
    const { results } = await measured();
    visitor.problems = []; // the browser tells of what it could not fetch
    assert.deepEqual(results.map(each => [each.part, isFigure(each)]), [['matrixProduct', true], ['picture', false]]);
    await page.getByRole('cell').getByText(/shapes/).waitFor();
  });

  for (const { kind, widths, touch } of [
    { kind: 'under fingers', widths: [390, 768], touch: true }, { kind: 'on screens', widths: [1280, 1920], touch: false },
  ]) {
    it(`has names, roles, contrasts and room, ${kind} of ${widths.join(' and ')} pixels, light and dark`, async () => {
      await open({ viewport: { width: widths[0], height: 900 }, hasTouch: touch, isMobile: touch });
      await bringAxe(page);
      const found: string[] = [];
      const look = async (state: string) => {
        for (const width of widths) {
          await page.setViewportSize({ width, height: 900 });
          for (const colorScheme of ['light', 'dark'] as const) {
            await page.emulateMedia({ colorScheme });
            const where = `benchmark, ${state}, ${width} pixels, ${colorScheme}`;
            if (SCREENSHOTS) await takePicture(page, `${SCREENSHOTS}/${where.replaceAll(/\W+/g, '-')}.png`);
            found.push(...(await violations(page)).map(each => `${where}: ${each}`));
          }
          if (touch) found.push(...(await smallTargets(page)).map(each => `${state}, ${width} pixels: ${each}`));
          const out = await sticksOut(page);
          if (out > 0) found.push(`${state}, ${width} pixels: sticks out by ${out} pixels`);
        }
      };
      await look('at the start');
      await choose(['wasm'], ['matrixProduct', 'attention', 'picture']);
      await measured();
      await page.locator('summary').click();
      await look('with figures');
      assert.deepEqual(found, []);
    });
  }
});
