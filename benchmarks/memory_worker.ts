/** Our side of memory.ts: `node memory_worker.js <case as JSON> <folder of the models> <device>` prints a MemoryResult. */
import { join } from 'node:path';
import {
  AutoencoderKL, CLIPTextModel, CLIPTokenizer, DPMSolverMultistepScheduler, Generator, StableDiffusionPipeline, UNet2DConditionModel, useDevice, type Device,
} from '../lib/index.js';
import type { MemoryCase, MemoryResult } from './memory.js';

const [json, models, device] = process.argv.slice(2);
const { on, images, size, dtype, cpuOffload } = JSON.parse(json) as MemoryCase;
await useDevice(device as Device);
const started = performance.now();
const options = { dtype, offload: cpuOffload !== undefined };
const pipe = new StableDiffusionPipeline({
  tokenizer: await CLIPTokenizer.fromPretrained('models/shapes/tokenizer'), // small; any text encoder takes its ids
  scheduler: new DPMSolverMultistepScheduler({ steps_offset: 1, beta_schedule: 'scaled_linear', beta_start: 0.00085, beta_end: 0.012 }),
  textEncoder: await CLIPTextModel.fromPretrained(join(models, 'text_encoder'), options),
  unet: await UNet2DConditionModel.fromPretrained(join(models, 'unet'), options),
  vae: await AutoencoderKL.fromPretrained(join(models, 'vae'), options),
});
pipe.setProgressBarConfig({ disable: true });
if (cpuOffload === 'model') pipe.enableModelCpuOffload();
if (cpuOffload === 'sequential') pipe.enableSequentialCpuOffload();
for (const each of on) pipe[`enable${each}`]();
const loaded = performance.now();
const generator = Array.from({ length: images }, (_, i) => new Generator().manualSeed(i));
await pipe.generate(generator.map(() => 'a red circle'), { generator, numInferenceSteps: 1, height: size, width: size });
const result: MemoryResult = {
  load: (loaded - started) / 1000, run: (performance.now() - loaded) / 1000, peakRss: process.resourceUsage().maxRSS * 1024,
};
console.log(JSON.stringify(result));
process.exit();
