import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type { Page } from 'playwright-core';
import {
  AutoPipelineForImage2Image, AutoPipelineForInpainting, encodeWeightedPrompt, Image, openCheckpointFile, StableDiffusionXLPipeline, tf,
  type GuidedPipeline,
} from '../../lib/index.js';
import { describeInBrowser } from '../support/chromium.js';
import { expectSame, Playground, safetensors, type PlaygroundSettings, type Visitor } from '../support/playground.js';
import { singleFile, singleFileGolden } from '../support/single_file.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { seeded, TINY, TINY_XL } from '../support/tiny_pipeline.js';

const SETTINGS: PlaygroundSettings = { prompt: 'a red star', steps: 3, guidance: 4, seed: 7, scheduler: 'EulerDiscreteScheduler', side: 16 };
const OPTIONS = { numInferenceSteps: 3, guidanceScale: 4 };

/** What the last picture of the gallery began from, as the page keeps it. */
async function startOfLast(page: Page): Promise<Record<'image' | 'mask', Image>> {
  const files = await page.evaluate(async () => {
    const result = <T>(request: IDBRequest<T>) => new Promise<T>(resolve => { request.onsuccess = () => resolve(request.result); });
    const database = await result(indexedDB.open('tfjs-diffusers-playground'));
    const pictures = await result(database.transaction('pictures').objectStore('pictures').getAll());
    const { image, mask } = pictures.at(-1).start as Record<'image' | 'mask', Blob>;
    return Promise.all([image, mask].map(async file => [...new Uint8Array(await file.arrayBuffer())]));
  });
  const [image, mask] = await Promise.all(files.map(async bytes => (await Image.fromPng(Uint8Array.from(bytes))).toRgb()));
  return { image, mask };
}

/** A folder of a model that was distilled with its guidance. */
function distilledFolder(path: string): string {
  cpSync(TINY, path, { recursive: true });
  rmSync(join(path, 'unet'), { recursive: true });
  cpSync('spec/golden/pipelines/unet_lcm', join(path, 'unet'), { recursive: true });
  const change = (file: string, changes: object) => {
    const json = JSON.parse(readFileSync(join(path, file), 'utf8'));
    writeFileSync(join(path, file), JSON.stringify({ ...json, ...changes }));
  };
  change('model_index.json', { _class_name: 'LatentConsistencyModelPipeline', scheduler: ['diffusers', 'LCMScheduler'] });
  change('scheduler/scheduler_config.json', { _class_name: 'LCMScheduler' });
  return path;
}

describeInBrowser('Playground with other families', () => {
  const folder = temporaryFolder();
  let playground: Playground;
  let visitor: Visitor;
  let page: Page;
  let node: StableDiffusionXLPipeline;

  before(async () => {
    playground = await Playground.start();
    node = await StableDiffusionXLPipeline.fromPretrained(TINY_XL, { device: 'wasm' });
  });
  after(async () => {
    node?.dispose();
    await playground?.close();
  });
  beforeEach(async () => {
    visitor = await playground.enter();
    ({ page } = visitor);
  });
  afterEach(() => playground.leave());

  const load = async (model = TINY_XL) => {
    await page.getByLabel('from a folder on this device').setInputFiles(resolve(model));
    await page.locator('#model', { hasText: `${basename(model)}, ` }).waitFor();
  };

  const inNode = async (prompt: string | undefined, options: object = {}, pipe: GuidedPipeline = node) => {
    await node.to('wasm');
    const { images } = await (pipe as StableDiffusionXLPipeline).generate(prompt, { ...OPTIONS, generator: seeded(7), ...options });
    return images[0].data as Uint8Array;
  };

  it("takes the model's size and its family's guidance, unless others were chosen", async () => {
    await load();
    const size = page.getByLabel('Size', { exact: true });
    assert.deepEqual([await size.inputValue(), await page.getByLabel('Guidance').inputValue()], ['16x16', '5']);
    await page.getByLabel('Guidance').fill('3');
    await page.getByRole('button', { name: 'Back to the bundled model' }).click();
    await page.locator('#model', { hasText: 'shapes, ' }).waitFor();
    assert.deepEqual([await size.inputValue(), await page.getByLabel('Guidance').inputValue()], ['64x64', '3']);
  });

  it('makes the picture that Node makes, of words with weights and of things to avoid too', async () => {
    await load();
    await visitor.fill(SETTINGS);
    expectSame(await visitor.make(1), await inNode(SETTINGS.prompt));
    await page.getByLabel('Negative prompt').fill('a road');
    expectSame(await visitor.make(2), await inNode(SETTINGS.prompt, { negativePrompt: 'a road' }));
    await visitor.prompt.fill('a (red:1.5) star');
    const embeds = encodeWeightedPrompt(node, 'a (red:1.5) star', { negativePrompt: 'a road' });
    expectSame(await visitor.make(3), await inNode(undefined, embeds));
    tf.dispose({ ...embeds });
  });

  it('begins from a picture, and makes a part of it anew, as Node does', async () => {
    await load();
    await visitor.fill(SETTINGS);
    const image = await Image.fromPng(await visitor.make(1));
    await page.getByRole('button', { name: 'Begin from it' }).click();
    await page.getByLabel('Strength').fill('0.7');
    await visitor.prompt.fill('a road');
    expectSame(await visitor.make(2), await inNode('a road', { image, strength: 0.7 }, AutoPipelineForImage2Image.fromPipe(node)));
    const mask = page.getByRole('application', { name: 'What to change' });
    for (const key of [' ', 'ArrowDown', ' ']) await mask.press(key);
    const painted = await visitor.make(3);
    const start = await startOfLast(page);
    assert.deepEqual(start.image.data, image.toRgb().data);
    assert.ok(start.mask.data.includes(0) && start.mask.data.includes(255), 'a part is painted');
    const expected = await inNode('a road', { image, maskImage: start.mask, strength: 0.7 }, AutoPipelineForInpainting.fromPipe(node));
    expectSame(painted, expected);
  });

  it('takes LoRAs and words of both text encoders, varies, and is faster by approximations', async () => {
    await load();
    await visitor.fill(SETTINGS);
    const plain = await visitor.make(1);
    await visitor.fold('LoRA and learned words');
    await page.locator('#lora-file').setInputFiles(resolve('spec/golden/lora/xl_kohya.safetensors'));
    await page.getByRole('slider', { name: 'xl_kohya' }).waitFor();
    await page.locator('#word-file').setInputFiles({ name: 'lamp.safetensors', mimeType: '', buffer: await safetensors({ clip_l: [1, 16], clip_g: [1, 8] }) });
    await visitor.prompt.fill('a star ');
    await page.getByRole('button', { name: 'Use <lamp> in the prompt' }).click();
    const adapted = await visitor.make(2);
    assert.notDeepEqual(adapted, plain);
    await page.getByRole('button', { name: 'Variations' }).click();
    await page.getByRole('status').getByText('4 pictures are ready').waitFor();
    await page.getByRole('slider', { name: 'xl_kohya' }).fill('0');
    await visitor.prompt.fill(SETTINGS.prompt);
    expectSame(await visitor.make(7), await inNode(SETTINGS.prompt));
    await visitor.fold('Fine tuning');
    await page.getByLabel('DeepCache').selectOption('2');
    await page.getByLabel('Token merging').selectOption('0.5');
    node.enableDeepCache({ cacheInterval: 2 });
    node.enableTokenMerging({ ratio: 0.5, maxDownsample: 2 });
    const expected = await inNode(SETTINGS.prompt).finally(() => {
      node.disableDeepCache();
      node.disableTokenMerging();
    });
    expectSame(await visitor.make(8), expected);
  });

  it('loads a single file, and makes of it what Node makes', async () => {
    const bytes = await singleFile(singleFileGolden.xl.shapes) as Buffer<ArrayBuffer>;
    const path = join(folder(), 'xl.safetensors');
    writeFileSync(path, bytes);
    await page.getByLabel('from a single file').setInputFiles(path);
    await page.locator('#model', { hasText: 'xl.safetensors, ' }).waitFor();
    await visitor.fill({ ...SETTINGS, steps: 2 });
    const made = await visitor.make(1);
    const file = await openCheckpointFile(new File([bytes], 'xl.safetensors'), { clipTokenizer: 'models/clip-tokenizer' });
    const single = await StableDiffusionXLPipeline.fromPretrained(file, { device: 'wasm' });
    expectSame(made, await inNode(SETTINGS.prompt, { numInferenceSteps: 2, height: 16, width: 16 }, single));
    single.dispose();
    await page.getByLabel('from a single file').setInputFiles({ name: 'pickle.safetensors', mimeType: '', buffer: Buffer.from('PK\x03\x04........') });
    await page.getByRole('alert').getByText('pickle.safetensors: pickled weights cannot be read in a page').waitFor();
  });

  it('offers no more than a distilled model can do: it changes whole pictures, and cannot be told what to avoid', async () => {
    await page.getByLabel('Negative prompt').fill('a road');
    await load(distilledFolder(join(folder(), 'distilled')));
    assert.ok(await page.getByLabel('Negative prompt').isDisabled());
    assert.deepEqual(await page.getByLabel('Scheduler').locator('option').allTextContents(), ["LCM · LCMScheduler (the model's own)"]);
    await visitor.fill({ ...SETTINGS, prompt: 'a (red:1.5) star', scheduler: 'LCMScheduler' });
    await visitor.make(1);
    await page.getByRole('button', { name: 'Begin from it' }).click();
    await page.getByLabel('Strength').waitFor();
    assert.equal(await page.getByRole('application', { name: 'What to change' }).isVisible(), false);
    await page.getByLabel('Strength').fill('0.5');
    await visitor.make(2);
    assert.match((await page.locator('#facts').textContent())!, /^seed 7 · strength 0\.5 · 3 steps · guidance 4 · LCM · 16 × 16$/);
  });
});
