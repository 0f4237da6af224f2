/** Our side of a case: `node worker.js <case name> <weights folder> <device> <variant>`; reads `run`, `matmul` and `end <output file>` lines, answers in JSON. */
import * as tf from '@tensorflow/tfjs';
import { writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import {
  AutoencoderKL, CLIPTextModel, Generator, StableDiffusionPipeline, UNet2DConditionModel, DPMSolverMultistepScheduler, useDevice, type Device,
} from '../lib/index.js';
import { silu } from '../lib/layers/activations.js';
import { FeedForward } from '../lib/layers/feed_forward.js';
import { GroupNorm } from '../lib/layers/group_norm.js';
import { scaledDotProductAttention } from '../lib/layers/scaled_dot_product_attention.js';
import { CASES, type Case, type Finished, type Run } from './cases.js';
import { countFlops } from './flops.js';

type Work = () => tf.Tensor | Promise<tf.Tensor>;

/** The numbers that torch.randn gives the other side, channels last. */
function inputs(): (...shape: number[]) => tf.Tensor {
  const generator = new Generator().manualSeed(0);
  return (...shape) => tf.tensor(generator.randn(shape.reduce((product, size) => product * size, 1)), shape);
}

async function prepare(job: Case, weights: string, variant: string): Promise<Work> {
  const randn = inputs();
  const dtype = (['bfloat16', 'float16'] as const).find(each => variant.startsWith(each));
  const ready = <N extends { compile(): void }>(network: N) => {
    if (variant.endsWith('compiled')) network.compile();
    return network;
  };
  switch (job.kind) {
    case 'unet': {
      const unet = ready(await UNet2DConditionModel.fromPretrained(weights, { dtype }));
      const sample = tf.transpose(randn(job.batch, 4, job.size, job.size), [0, 2, 3, 1]);
      const encoderHiddenStates = randn(job.batch, 77, 768);
      return () => unet.forward(sample, 981, { encoderHiddenStates });
    }
    case 'vae-decode': {
      const vae = ready(await AutoencoderKL.fromPretrained(weights, { dtype }));
      const latents = tf.transpose(randn(job.batch, 4, job.size, job.size), [0, 2, 3, 1]);
      return () => vae.decode(latents);
    }
    case 'text-encoder': {
      const encoder = ready(await CLIPTextModel.fromPretrained(weights, { dtype }));
      const ids = Array.from({ length: job.batch }, () => Array.from({ length: job.tokens }, (_, i) => 320 + 7 * i));
      return () => tf.tidy(() => encoder.forward(ids).lastHiddenState);
    }
    case 'attention': {
      const [q, k, v] = [0, 1, 2].map(() => randn(job.batch, job.tokens, job.features));
      return () => scaledDotProductAttention(q, k, v, { heads: job.heads });
    }
    case 'group-norm-silu': {
      const norm = new GroupNorm(32, job.channels);
      const x = tf.transpose(randn(job.batch, job.channels, job.size, job.size), [0, 2, 3, 1]);
      return () => tf.tidy(() => silu(norm.forward(x)));
    }
    case 'geglu': {
      const feedForward = new FeedForward(job.features);
      for (const [path, { shape }] of feedForward.parameterSpecs()) {
        feedForward.setParameter(path, tf.mul(shape.length === 2 ? tf.transpose(randn(shape[1], shape[0])) : randn(...shape), 0.02));
      }
      const x = randn(job.batch, job.tokens, job.features);
      return () => feedForward.forward(x);
    }
    case 'generate': {
      const pipe = ready(await StableDiffusionPipeline.fromPretrained(weights, { dtype }));
      pipe.scheduler = DPMSolverMultistepScheduler.fromConfig(pipe.scheduler.config);
      pipe.setProgressBarConfig({ disable: true });
      const prompts = Array<string>(job.batch).fill('a red circle on a blue background');
      return async () => {
        const generator = prompts.map((_, i) => new Generator().manualSeed(i));
        return (await pipe.generate(prompts, { numInferenceSteps: job.steps, generator, outputType: 'tensor' })).images as tf.Tensor;
      };
    }
  }
}

/** Seconds for `work` and for reading one of its values, which waits for all of them. */
async function time(work: Work): Promise<Run> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const out = await work();
  await tf.tidy(() => tf.slice(tf.reshape(out, [-1]), 0, 1)).data();
  const { user, system } = process.cpuUsage(cpu);
  out.dispose();
  return { wall: (performance.now() - start) / 1000, cpu: (user + system) / 1e6 };
}

const [name, weights, device, variant] = process.argv.slice(2);
await useDevice(device as Device);
const start = performance.now();
const work = await prepare(CASES[name], weights, variant);
const answer = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ load: (performance.now() - start) / 1000 });

const square = () => tf.randomNormal([2048, 2048]);
let matrices: [tf.Tensor2D, tf.Tensor2D] | undefined;
for await (const line of createInterface({ input: process.stdin })) {
  const [command, file] = line.split(' ');
  if (command === 'run') answer(await time(work));
  if (command === 'matmul') {
    matrices ??= [square(), square()] as [tf.Tensor2D, tf.Tensor2D];
    answer(await time(() => tf.matMul(...matrices!)));
  }
  if (command === 'end') {
    const peakRss = process.resourceUsage().maxRSS * 1024; // before what is only counted or compared
    const { result, flops } = await countFlops(work);
    const { numTensors, numBytes } = tf.memory();
    const planar = result.rank === 4 ? tf.transpose(result, [0, 3, 1, 2]) : result;
    await writeFile(file, new Uint8Array((await planar.data()).buffer));
    answer({ peakRss, flops: variant.endsWith('compiled') ? undefined : flops, tensors: numTensors, tensorBytes: numBytes } satisfies Finished);
    break;
  }
}
