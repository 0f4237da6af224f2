/** Our side of memory.ts: `node memory_worker.js <case as JSON> <folder of the model> <device>` prints a MemoryResult. */
import { DPMSolverMultistepScheduler, Generator, DiffusionPipeline, useDevice, type Device } from '../lib/index.js';
import type { MemoryCase, MemoryResult } from './memory.js';

const [json, model, device] = process.argv.slice(2);
const { on, images, size, dtype, cpuOffload } = JSON.parse(json) as MemoryCase;
await useDevice(device as Device);
const started = performance.now();
const pipe = await DiffusionPipeline.fromPretrained(model, { dtype, cpuOffload });
pipe.scheduler = DPMSolverMultistepScheduler.fromConfig(pipe.scheduler.config);
pipe.setProgressBarConfig({ disable: true });
for (const each of on) pipe[`enable${each}`]();
const loaded = performance.now();
const generator = Array.from({ length: images }, (_, i) => new Generator().manualSeed(i));
await pipe.generate(generator.map(() => 'a red circle'), { generator, numInferenceSteps: 1, height: size, width: size });
const result: MemoryResult = {
  load: (loaded - started) / 1000, run: (performance.now() - loaded) / 1000, peakRss: process.resourceUsage().maxRSS * 1024,
};
console.log(JSON.stringify(result));
process.exit();
