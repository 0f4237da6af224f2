/**
 * `npm run bench -- approximations`: what each approximation saves, and how far its pictures are from the full ones. At Stable Diffusion 1.5's size
 * with the random weights that `npm run bench -- unet vae-decode` makes, calls of the UNet take turns; pictures are the bundled model's. In seconds of all processors.
 */
import * as tf from '@tensorflow/tfjs';
import {
  AutoencoderKL, AutoencoderTiny, DeepCache, DPMSolverMultistepScheduler, Generator, StableDiffusionPipeline, UNet2DConditionModel, useDevice,
  type Device, type TokenMergingOptions,
} from '../lib/index.js';
import { median } from './median.js';

const WEIGHTS = '.build/bench';
const ROUNDS = 3;
const STEPS = 20;
const PROMPTS = ['a red circle on a blue background', 'a large green square on a white background', 'a yellow star on a black background', 'a small blue triangle on a green background'];

type Work = () => tf.Tensor;

/** Processor seconds of `work`, to the end of all of it. */
async function cpuSeconds<T>(work: () => T | Promise<T>): Promise<[seconds: number, result: T]> {
  const before = process.cpuUsage();
  const result = await work();
  if (result instanceof tf.Tensor) await tf.tidy(() => tf.slice(tf.reshape(result as tf.Tensor, [-1]), 0, 1)).data();
  const { user, system } = process.cpuUsage(before);
  return [(user + system) / 1e6, result];
}

/** Medians of all works, which take turns; each is run once before. */
async function takeTurns(works: Record<string, Work>): Promise<void> {
  const seconds: Record<string, number[]> = Object.fromEntries(Object.keys(works).map(name => [name, []]));
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, work] of Object.entries(works)) {
      const [taken, out] = await cpuSeconds(work);
      out.dispose();
      if (round > 0) seconds[name].push(taken);
    }
  }
  const first = median(Object.values(seconds)[0]);
  console.log('| call | CPU s | share |\n| --- | --- | --- |');
  for (const [name, all] of Object.entries(seconds)) console.log(`| ${name} | ${median(all).toFixed(2)} | ${(median(all) / first).toFixed(2)} |`);
}

async function measureCalls(): Promise<void> {
  const unet = await UNet2DConditionModel.fromPretrained(`${WEIGHTS}/unet`);
  const [sample, text] = [tf.randomNormal([2, 64, 64, 4]), tf.randomNormal([2, 77, 768])];
  const [one, itsText] = [tf.slice(sample, 0, 1), tf.slice(text, 0, 1)];
  const deepCache = new DeepCache([2, 1], { cacheInterval: 2, cacheBranchId: 0 });
  const deeper = new DeepCache([2, 1], { cacheInterval: 2, cacheBranchId: 1 });
  const merged = (options: TokenMergingOptions): Work => () => {
    unet.setTokenMerging(options);
    try {
      return unet.forward(sample, 2, { encoderHiddenStates: text });
    } finally {
      unet.setTokenMerging(null);
    }
  };
  await takeTurns({
    'full': () => unet.forward(sample, 2, { encoderHiddenStates: text }),
    'DeepCache, full step': () => unet.forward(sample, 2, { encoderHiddenStates: text, deepCache }),
    'DeepCache, step between': () => unet.forward(sample, 1, { encoderHiddenStates: text, deepCache }),
    'DeepCache at branch 1, full step': () => unet.forward(sample, 2, { encoderHiddenStates: text, deepCache: deeper }),
    'DeepCache at branch 1, step between': () => unet.forward(sample, 1, { encoderHiddenStates: text, deepCache: deeper }),
    'token merging, ratio 0.5': merged({}),
    'token merging, ratio 0.5, maxDownsample 2': merged({ maxDownsample: 2 }),
    'token merging, ratio 0.5, mergeMlp, mergeCrossattn': merged({ mergeMlp: true, mergeCrossattn: true }),
    'without guidance': () => unet.forward(one, 2, { encoderHiddenStates: itsText }),
  });
  tf.dispose([sample, text, one, itsText]);
  [deepCache, deeper, unet].forEach(each => each.dispose());

  const [vae, tiny] = [await AutoencoderKL.fromPretrained(`${WEIGHTS}/vae`), new AutoencoderTiny()];
  const latents = tf.randomNormal([1, 64, 64, 4]);
  await takeTurns({ 'AutoencoderKL.decode': () => vae.decode(latents), 'AutoencoderTiny.decode': () => tiny.decode(latents) });
  [vae, tiny, latents].forEach(each => each.dispose());
}

async function comparePictures(): Promise<void> {
  const pipe = await StableDiffusionPipeline.fromPretrained('models/shapes');
  pipe.scheduler = DPMSolverMultistepScheduler.fromConfig(pipe.scheduler.config);
  pipe.setProgressBarConfig({ disable: true });
  const draw = (guidanceStop = 1) => cpuSeconds(async () => {
    const generator = PROMPTS.map((_, i) => new Generator().manualSeed(i));
    const pictures = [];
    for (const [i, prompt] of PROMPTS.entries()) {
      pictures.push((await pipe.generate(prompt, { numInferenceSteps: STEPS, generator: generator[i], guidanceStop })).images[0].data);
    }
    return pictures;
  });
  const cases: Record<string, () => ReturnType<typeof draw>> = { full: () => draw() };
  for (const cacheInterval of [2, 3, 5]) {
    for (const cacheBranchId of cacheInterval === 3 ? [0, 1, 2] : [0]) {
      cases[`DeepCache, cacheInterval ${cacheInterval}, cacheBranchId ${cacheBranchId}`] = () => {
        pipe.enableDeepCache({ cacheInterval, cacheBranchId });
        return draw().finally(() => pipe.disableDeepCache());
      };
    }
  }
  for (const ratio of [0.25, 0.5]) {
    cases[`token merging, ratio ${ratio}, maxDownsample 2`] = () => {
      pipe.enableTokenMerging({ ratio, maxDownsample: 2 });
      return draw().finally(() => pipe.disableTokenMerging());
    };
  }
  for (const stop of [0.8, 0.6, 0.4]) cases[`guidanceStop ${stop}`] = () => draw(stop);

  const seconds: Record<string, number[]> = Object.fromEntries(Object.keys(cases).map(name => [name, []]));
  const errors: Record<string, string> = {};
  let full: Uint8Array[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, make] of Object.entries(cases)) {
      const [taken, pictures] = await make();
      if (round > 0) seconds[name].push(taken);
      if (name === 'full') full = pictures;
      const differences = pictures.flatMap((picture, i) => Array.from(picture, (byte, k) => Math.abs(byte - full[i][k])));
      const mean = differences.reduce((sum, each) => sum + each, 0) / differences.length;
      errors[name] = `${mean.toFixed(2)} | ${differences.reduce((most, each) => Math.max(most, each), 0)}`;
    }
  }
  console.log('| demo pictures | speed-up | mean difference | largest |\n| --- | --- | --- | --- |');
  for (const name of Object.keys(cases)) console.log(`| ${name} | ${(median(seconds.full) / median(seconds[name])).toFixed(2)} | ${errors[name]} |`);
  pipe.dispose();
}

await useDevice(process.argv[2] as Device);
await comparePictures();
await measureCalls();
