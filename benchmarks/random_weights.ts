import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BUNDLED_MODEL, pythonScript, type Options } from './options.js';

type Where = Pick<Options, 'models' | 'size' | 'device' | 'python'>;

/** The folder of a network with random weights, that both sides load; made if it is not there yet. */
export async function randomWeights(network: string, options: Where): Promise<string> {
  const { device, python, size } = options;
  const folder = join(modelFolder(options), network);
  if (!existsSync(folder)) {
    const args = [pythonScript('diffusers_worker.py'), 'export', network, `${folder}.partial`, size, device];
    const { status, error } = spawnSync(python, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    if (status !== 0) throw new Error(`${python} ${args.join(' ')}: ${error?.message ?? `exit ${status}`}`);
    await rename(`${folder}.partial`, folder);
  }
  return folder;
}

/** The folder of a whole model of such networks, with the bundled one's scheduler and tokenizer: its ids fit every text encoder. */
export async function randomPipeline(options: Where): Promise<string> {
  const folder = modelFolder(options);
  for (const network of ['unet', 'vae', 'text_encoder']) await randomWeights(network, options);
  for (const part of ['scheduler', 'tokenizer', 'model_index.json']) await cp(join(BUNDLED_MODEL, part), join(folder, part), { recursive: true });
  return folder;
}

/** The same of SDXL: two text encoders, one tokenizer's words for both. */
export async function randomXlPipeline(options: Where): Promise<string> {
  const folder = join(modelFolder(options), 'xl');
  for (const network of ['unet', 'vae', 'text_encoder', 'text_encoder_2']) await randomWeights(`xl/${network}`, options);
  await cp(join(BUNDLED_MODEL, 'scheduler'), join(folder, 'scheduler'), { recursive: true });
  for (const part of ['tokenizer', 'tokenizer_2']) await cp(join(BUNDLED_MODEL, 'tokenizer'), join(folder, part), { recursive: true });
  await writeFile(join(folder, 'model_index.json'), JSON.stringify({
    _class_name: 'StableDiffusionXLPipeline', force_zeros_for_empty_prompt: true,
    scheduler: ['diffusers', 'PNDMScheduler'], unet: ['diffusers', 'UNet2DConditionModel'], vae: ['diffusers', 'AutoencoderKL'],
    text_encoder: ['transformers', 'CLIPTextModel'], text_encoder_2: ['transformers', 'CLIPTextModelWithProjection'],
    tokenizer: ['transformers', 'CLIPTokenizer'], tokenizer_2: ['transformers', 'CLIPTokenizer'],
  }));
  return folder;
}

function modelFolder({ models, size }: Where): string {
  return size === 'small' ? join(models, size) : models;
}
