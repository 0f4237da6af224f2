import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { createServer } from '../../lib/server/create_server.js';
import { describeInBrowser } from '../support/chromium.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { bringAxe, smallTargets, sticksOut, takePicture, violations } from '../support/guidelines.js';
import { LORA, Playground, safetensors, type PlaygroundSettings, type Visitor } from '../support/playground.js';

const SETTINGS: PlaygroundSettings = { prompt: 'a red circle on a white background', steps: 4, guidance: 5, seed: 7, scheduler: 'EulerDiscreteScheduler', side: 64 };
/** Where pictures of the page are saved, for those who want to look. */
const SCREENSHOTS = process.env.SCREENSHOTS;

/** Where pictures can be made besides the page. */
let server: FastifyInstance;

/** What a visitor does, one after the other, and what the page then shows. */
const STATES: Array<[name: string, (visitor: Visitor) => Promise<void>]> = [
  ['at the start', async () => {}],
  ['with a picture', async visitor => {
    await visitor.fill(SETTINGS);
    await visitor.make(1);
  }],
  ['with a picture to begin from', async ({ page }) => {
    await page.getByRole('button', { name: 'Begin from it' }).click();
    const mask = page.getByRole('application', { name: 'What to change' });
    for (const key of [' ', 'ArrowDown', ' ']) await mask.press(key);
  }],
  ['with lines to steer by', async visitor => {
    await visitor.fold('Steer by lines');
    const lines = visitor.page.getByRole('application', { name: 'Lines to steer by' });
    for (const key of [' ', 'ArrowDown', 'ArrowRight', ' ']) await lines.press(key);
  }],
  ['with a picture to take the style from', async visitor => {
    await visitor.fold('Take the style from a picture');
    await visitor.page.locator('#style-file').setInputFiles('docs/images/batch.png');
    await visitor.page.locator('#style-image').waitFor();
  }],
  ['with a LoRA', async visitor => {
    await visitor.fold('LoRA and learned words');
    await visitor.page.locator('#lora-file').setInputFiles({ name: 'a-style-with-a-long-name.safetensors', mimeType: '', buffer: await safetensors(LORA) });
    await visitor.page.locator('#word-file').setInputFiles({ name: 'lamp.safetensors', mimeType: '', buffer: await safetensors({ '*': [1, 128] }) });
    await visitor.page.getByRole('button', { name: 'Use <lamp> in the prompt' }).waitFor();
  }],
  ['with the menu open', async visitor => visitor.fold('More')],
  ['comparing', async ({ page }) => page.getByRole('button', { name: 'Compare with another' }).click()],
  ['with a notice', async visitor => {
    await visitor.fold('More');
    await visitor.page.getByRole('button', { name: 'Remove' }).click();
  }],
  ['with all folded out', async visitor => {
    await visitor.page.locator('#notice-action').click();
    await visitor.page.locator('#download').waitFor();
    await visitor.foldAllOut();
  }],
  ['with a server that takes another key', async visitor => {
    await visitor.page.getByText('On a server', { exact: true }).click();
    await visitor.connect(server, 'none of its keys');
    await visitor.page.getByRole('alert').getByText('takes another key').waitFor();
    visitor.problems = []; // the browser tells of the answer 401
  }],
  ['with a server', async visitor => {
    await visitor.connect(server, 'key');
    await visitor.page.getByText(/^shapes on 127/).waitFor();
  }],
];

describeInBrowser('Playground, as the guidelines ask,', function () {
  let playground: Playground;
  before(async () => {
    playground = await Playground.start();
    server = await createServer({ models: { shapes: resolve(DEMO_MODEL) }, loras: { ink: 'ink.safetensors' }, load: { device: 'wasm' }, apiKeys: ['key'], cors: ['*'] });
    await server.listen({ port: 0 });
    if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });
  });
  after(async () => {
    await playground?.close();
    await server?.close();
  });
  afterEach(() => playground.leave());

  for (const { kind, widths, touch } of [
    { kind: 'under fingers', widths: [390, 768], touch: true }, { kind: 'on screens', widths: [1280, 1920], touch: false },
  ]) {
    it(`has names, roles, contrasts and room, ${kind} of ${widths.join(' and ')} pixels, light and dark`, async () => {
      const visitor = await playground.visit({ viewport: { width: widths[0], height: 900 }, hasTouch: touch, isMobile: touch });
      const { page } = visitor;
      await visitor.open(playground.url);
      await bringAxe(page);
      const found: string[] = [];
      for (const [state, act] of STATES) {
        await act(visitor);
        for (const width of widths) {
          await page.setViewportSize({ width, height: 900 });
          for (const colorScheme of ['light', 'dark'] as const) {
            await page.emulateMedia({ colorScheme });
            const where = `${state}, ${width} pixels, ${colorScheme}`;
            if (SCREENSHOTS) await takePicture(page, `${SCREENSHOTS}/${where.replaceAll(/\W+/g, '-')}.png`);
            found.push(...(await violations(page)).map(each => `${where}: ${each}`));
          }
          if (touch) found.push(...(await smallTargets(page)).map(each => `${state}, ${width} pixels: ${each}`));
          const out = await sticksOut(page);
          if (out > 0) found.push(`${state}, ${width} pixels: sticks out by ${out} pixels`);
        }
      }
      assert.deepEqual(found, []);
    });
  }
});
