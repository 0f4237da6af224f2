import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { PNG } from 'pngjs';
import { buildSite } from '../../docs/playground/build.js';
import { StaticServer } from '../../docs/playground/server.js';
import { writeSafetensors } from '../../lib/weights/safetensors.js';
import { PATIENCE, startChromium } from './chromium.js';
import { DEMO_MODEL } from './demo_model.js';

/** Where specs build the site, each process of them its own. */
export const PLAYGROUND = `.build/playground${process.env.SPEC_PROCESS ?? ''}`;

/** The tensors of a LoRA for the bundled model. */
export const LORA = {
  'unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v.lora_A.weight': [2, 128],
  'unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v.lora_B.weight': [128, 2],
};

/** What specs say in the playground's form. */
export interface PlaygroundSettings {
  prompt: string;
  steps: number;
  guidance: number;
  seed: number;
  scheduler: string;
  /** Width and height in pixels. */
  side: number;
}

/** The playground with the bundled model, on a server and in a browser. */
export class Playground {
  private context?: BrowserContext;
  private visitor?: Visitor;

  private constructor(private readonly browser: Browser, private readonly server: StaticServer) {}

  static async start(): Promise<Playground> {
    await buildSite(PLAYGROUND, DEMO_MODEL);
    return new Playground(...await Promise.all([startChromium(), StaticServer.start(PLAYGROUND)]));
  }

  get url(): string { return this.server.url; }

  /** In a browser as new; the visitor before has left. */
  async visit(options: BrowserContextOptions = { viewport: { width: 1280, height: 900 } }): Promise<Visitor> {
    await this.leave();
    this.context = await this.browser.newContext(options);
    this.context.setDefaultTimeout(PATIENCE);
    return this.visitor = new Visitor(await this.context.newPage());
  }

  /** As `visit`, with a model loaded, and where to choose another folded out. */
  async enter(): Promise<Visitor> {
    const visitor = await this.visit();
    await visitor.open(this.url);
    await visitor.fold('Model and device');
    return visitor;
  }

  /** @throws AssertionError if the page had problems. */
  async leave(): Promise<void> {
    const { context, visitor } = this;
    this.context = this.visitor = undefined;
    await context?.close();
    assert.deepEqual(visitor?.problems ?? [], []);
  }

  async close(): Promise<void> {
    await this.browser.close();
    await this.server.close();
  }
}

/** Someone on the playground's page. */
export class Visitor {
  /** What the browser's console says of errors. */
  problems: string[] = [];

  constructor(readonly page: Page) {
    page.on('pageerror', error => this.problems.push(error.message));
    page.on('console', message => message.type() === 'error' && this.problems.push(message.text()));
  }

  get prompt(): Locator { return this.page.getByLabel('Prompt', { exact: true }); }
  get seed(): Locator { return this.page.getByRole('spinbutton', { name: 'Seed' }); }

  /** Until there is a model. */
  async open(url: string): Promise<void> {
    await this.page.goto(url);
    await this.ready();
  }

  async ready(): Promise<void> {
    await this.page.waitForSelector('#generate:enabled');
  }

  async fill({ prompt, steps, guidance, seed, scheduler, side }: PlaygroundSettings): Promise<void> {
    const { page } = this;
    await this.prompt.fill(prompt);
    await page.getByLabel('Steps', { exact: true }).fill(String(steps));
    await page.getByLabel('Guidance').fill(String(guidance));
    await this.seed.fill(String(seed));
    await page.getByLabel('Scheduler').selectOption(scheduler);
    await page.getByLabel('Size', { exact: true }).selectOption('custom');
    await page.getByLabel('Width').fill(String(side));
    await page.getByLabel('Height').fill(String(side));
  }

  /** Folds a part out, or in. */
  async fold(name: string): Promise<void> {
    await this.page.locator('summary', { hasText: name }).click();
  }

  async foldAllOut(): Promise<void> {
    await this.page.evaluate(() => document.querySelectorAll('details').forEach(fold => { fold.open = true; }));
  }

  async generate(): Promise<void> {
    await this.page.getByRole('button', { name: 'Generate' }).click();
  }

  /** Until nothing is being made, and a picture is shown. */
  async finished(): Promise<void> {
    await this.page.waitForFunction(() => document.querySelector('#generate')!.checkVisibility() && document.querySelector('#actions')!.checkVisibility());
  }

  /** Says a server that listens, and its key, where the page takes that. */
  async connect(server: FastifyInstance, key = ''): Promise<void> {
    await this.page.getByLabel('Address', { exact: true }).fill(server.listeningOrigin);
    await this.page.getByLabel('Key').fill(key);
    await this.page.getByRole('button', { name: 'Connect' }).click();
  }

  /** Makes a picture, of which there are so many then, and gives its file. */
  async make(count: number): Promise<Buffer> {
    await this.generate();
    await this.page.locator(`#gallery li:nth-child(${count})`).waitFor();
    await this.finished();
    return this.download();
  }

  /** The file that the page offers. */
  async download(): Promise<Buffer> {
    const [file] = await Promise.all([this.page.waitForEvent('download'), this.page.getByRole('link', { name: 'Download PNG' }).click()]);
    return readFileSync((await file.path())!);
  }
}

/** A PNG file shows these red, green and blue bytes, but for rounding. */
export function expectSame(png: Buffer, expected: Uint8Array): void {
  const pixels = PNG.sync.read(png).data.filter((_, i) => i % 4 !== 3);
  assert.equal(pixels.length, expected.length);
  const worst = pixels.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
  assert.ok(worst <= 2, `differs by ${worst}`);
}

/** A file of tensors of these shapes, with small values. */
export async function safetensors(shapes: Record<string, number[]>): Promise<Buffer> {
  const tensors = Object.entries(shapes).map(([name, shape]) => {
    const values = Float32Array.from({ length: shape.reduce((product, length) => product * length) }, (_, i) => Math.sin(i) / 4);
    return { name, shape, dtype: 'F32' as const, bytes: () => new Uint8Array(values.buffer) };
  });
  const parts: Uint8Array[] = [];
  for await (const part of writeSafetensors(tensors, {})) parts.push(part);
  return Buffer.concat(parts);
}
