import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { runExamples } from '../../docs/examples.js';
import { Image } from '../../lib/image/image.js';
import { editFolders } from '../support/edit_folders.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { refinerFolder, TINY, TINY_SD3, TINY_UNION, TINY_XL } from '../support/tiny_pipeline.js';

/** What is run in the place of a name in docs/families.md: a tiny SDXL, its refiner or a LoRA for it, a tiny SD3, perhaps a file of that folder. */
const STAND_INS: ReadonlyArray<[name: string, kind: 'model' | 'sd3' | 'refiner' | 'lora' | 'ipAdapter', file?: string]> = [
  ['stabilityai/stable-diffusion-xl-base-1.0', 'model'], ['stabilityai/sdxl-turbo', 'model'], ['latent-consistency/lcm-sdxl', 'model'],
  ['https://huggingface.co/ByteDance/SDXL-Lightning/blob/main/sdxl_lightning_4step.safetensors', 'model'],
  ['https://huggingface.co/ByteDance/SDXL-Lightning/blob/main/sdxl_lightning_4step_unet.safetensors', 'model', 'unet/diffusion_pytorch_model.safetensors'], ['madebyollin/sdxl-vae-fp16-fix', 'model'],
  ['playgroundai/playground-v2.5-1024px-aesthetic', 'model'], ['segmind/SSD-1B', 'model'], ['downloads/checkpoint_xl.safetensors', 'model'],
  ['stabilityai/stable-diffusion-3.5-medium', 'sd3'], ['stabilityai/stable-diffusion-xl-refiner-1.0', 'refiner'], ['ByteDance/SDXL-Lightning', 'lora'], ['ByteDance/Hyper-SD', 'lora'],
  ['h94/IP-Adapter', 'ipAdapter'], ['latent-consistency/lcm-lora-sdxl', 'lora'], ['h1t/TCD-SDXL-LoRA', 'lora'], ['downloads/style_xl.safetensors', 'lora', 'style_xl.safetensors'],
];

/** Pages whose programs run elsewhere: a server does not end (servers.spec.ts), and large models are not at hand (below). */
const OWN_SPECS = ['docs/servers.md', 'docs/families.md'];

describe('Examples in the docs', () => {
  const folder = temporaryFolder();

  for (const page of [
    'README.md', 'docs/getting_started.md', 'docs/own_model.md', 'docs/beyond_the_prompt.md', 'docs/schedulers.md', 'docs/servers.md', 'docs/serving.md',
    'docs/coming_from_diffusers.md', 'docs/recipes.md', 'docs/troubleshooting.md', 'docs/memory_and_time.md', 'docs/overview.md',
    'docs/families.md',
  ]) {
    const text = readFileSync(page, 'utf8');

    if (!OWN_SPECS.includes(page)) it(`${page} runs from top to bottom`, async () => {
      for (const file of await runExamples(page, folder())) assert.ok(existsSync(join(folder(), file)), file);
    });

    it(`${page} points to files that exist`, () => {
      for (const [, link] of text.matchAll(/(?:\]\(|src=")(?!https?:)([^)#"]+)/g)) {
        assert.ok(existsSync(resolve(page, '..', link)), `${page}: ${link}`);
      }
    });
  }

  it('docs/families.md runs with small models in the places of large ones', async () => {
    const folders = { model: resolve(TINY_XL), sd3: resolve(TINY_SD3), refiner: refinerFolder(join(folder(), 'refiner')), lora: join(folder(), 'lora'), ipAdapter: join(folder(), 'ip_adapter') };
    cpSync('spec/golden/pipelines/ip_adapter/image_encoder', join(folders.ipAdapter, 'models/image_encoder'), { recursive: true });
    cpSync('spec/golden/pipelines/ip_adapter/xl_base.safetensors', join(folders.ipAdapter, 'sdxl_models/ip-adapter_sdxl_vit-h.safetensors'));
    const weightNames = [...readFileSync('docs/families.md', 'utf8').matchAll(/weightName: '(.*?)'/g)].map(([, name]) => name);
    for (const name of ['pytorch_lora_weights.safetensors', 'style_xl.safetensors', ...weightNames]) {
      cpSync('spec/golden/lora/xl_kohya.safetensors', join(folders.lora, name));
    }
    const places = STAND_INS.map(([name, kind, file = '']) => [`'${name}'`, `'${join(folders[kind], file).replaceAll('\\', '/')}'`]);
    const replace = {
      ...Object.fromEntries(places), "variant: 'fp16'": 'variant: undefined', '[0, 1, 0]': '[0, 1]', '[7, 8, 9]': '[1]', 'width: 832, height: 1216': 'width: 32, height: 16',
      ...Object.fromEntries([50, 40, 30, 25].map(steps => [`numInferenceSteps: ${steps}`, 'numInferenceSteps: 3'])),
    };
    for (const file of await runExamples('docs/families.md', folder(), { language: 'js', replace })) assert.ok(existsSync(join(folder(), file)), file);
  });

  it('docs/beyond_the_prompt.md steers by a ControlNet-Union, with small models in the places of large ones', async () => {
    const [, section] = /^### One ControlNet for several kinds of picture\n(.*?)^### /ms.exec(readFileSync('docs/beyond_the_prompt.md', 'utf8'))!;
    writeFileSync(join(folder(), 'section.md'), section);
    for (const name of ['photo.jpg', 'depth.png']) writeFileSync(join(folder(), name), await new Image(new Uint8Array(16 * 16 * 3).fill(99), 16, 16).toPng());
    const replace = {
      'xinsir/controlnet-union-sdxl-1.0': resolve(TINY_UNION).replaceAll('\\', '/'), 'resize(1024, 1024)': 'resize(16, 16)',
      'stabilityai/stable-diffusion-xl-base-1.0': resolve(TINY_XL).replaceAll('\\', '/'),
    };
    for (const file of await runExamples(join(folder(), 'section.md'), folder(), { language: 'js', replace })) assert.ok(existsSync(join(folder(), file)), file);
  });

  it('docs/beyond_the_prompt.md steers by a T2I-Adapter, with small models in the places of large ones', async () => {
    const [, section] = /^## Steered by a T2I-Adapter\n(.*?)^## /ms.exec(readFileSync('docs/beyond_the_prompt.md', 'utf8'))!;
    writeFileSync(join(folder(), 'section.md'), section);
    await new Image(new Uint8Array(16 * 16 * 3).fill(99), 16, 16).save(join(folder(), 'sketch.png'));
    const replace = {
      'TencentARC/t2i-adapter-sketch-sdxl-1.0': resolve('spec/golden/pipelines/t2i/xl').replaceAll('\\', '/'),
      'stabilityai/stable-diffusion-xl-base-1.0': resolve(TINY_XL).replaceAll('\\', '/'), "variant: 'fp16'": 'variant: undefined',
    };
    for (const file of await runExamples(join(folder(), 'section.md'), folder(), { language: 'js', replace })) assert.ok(existsSync(join(folder(), file)), file);
  });

  it('docs/beyond_the_prompt.md changes and enlarges pictures, with small models in the places of large ones', async () => {
    const [, section] = /^## Changed as a text says\n(.*?)^## Checked before/ms.exec(readFileSync('docs/beyond_the_prompt.md', 'utf8'))!;
    writeFileSync(join(folder(), 'section.md'), section);
    for (const name of ['mountains', 'cats', 'depths', 'small_cat']) await new Image(new Uint8Array(16 * 16 * 3).map((_, i) => i), 16, 16).save(join(folder(), `${name}.png`));
    const models = {
      'timbrooks/instruct-pix2pix': editFolders.edit(join(folder(), 'edit')), 'stabilityai/stable-diffusion-2-depth': editFolders.depth(join(folder(), 'depth')),
      'stabilityai/stable-diffusion-x4-upscaler': editFolders.upscale(join(folder(), 'upscale')),
      'stabilityai/sd-x2-latent-upscaler': editFolders.latent_upscale(join(folder(), 'latent_upscale')), 'stable-diffusion-v1-5/stable-diffusion-v1-5': resolve(TINY),
    };
    const replace = Object.fromEntries(Object.entries(models).map(([name, path]) => [name, path.replaceAll('\\', '/')]));
    for (const file of await runExamples(join(folder(), 'section.md'), folder(), { language: 'js', replace })) assert.ok(existsSync(join(folder(), file)), file);
  });

  it('docs/troubleshooting.md quotes what the library says', () => {
    const files = readdirSync('lib', { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts'));
    const code = files.map(file => readFileSync(join('lib', file), 'utf8')).join('').replaceAll('\\', '')
      .replace(/['`]\s*\+\s*['`]/g, ''); // texts that go on in the next line
    const quotes = [...readFileSync('docs/troubleshooting.md', 'utf8').matchAll(/^\| (`+)(.+?)\1 \|/gm)].map(([, , quote]) => quote.trim());
    assert.ok(quotes.length > 60);
    const pieces = quotes.flatMap(quote => quote.split('…')).map(piece => piece.replace(/^[\s:;,.]+|[\s:;,.]+$/g, ''));
    assert.deepEqual(pieces.filter(piece => !code.includes(piece)), []);
  });
});
