/** Our side of a case: `node worker.js <task as JSON>`; reads `run`, `settle`, `matmul` and `end <output file>` lines, answers in JSON. */
import * as tf from '@tensorflow/tfjs';
import { writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import {
  AutoencoderKL, CLIPTextModel, Generator, SD3Transformer2DModel, StableDiffusionPipeline, UNet2DConditionModel, DPMSolverMultistepScheduler, useDevice,
  type CompileOptions, type Device, type Image,
} from '../lib/index.js';
import { silu } from '../lib/layers/activations.js';
import { FeedForward } from '../lib/layers/feed_forward.js';
import { GroupNorm } from '../lib/layers/group_norm.js';
import { scaledDotProductAttention } from '../lib/layers/scaled_dot_product_attention.js';
import type { Finished, Run, Task } from './cases.js';
import { countFlops } from './flops.js';

type Result = tf.Tensor | Image[];
type Work = () => Result | Promise<Result>;

/** The numbers that torch.randn gives the other side, channels last. */
function inputs(): (...shape: number[]) => tf.Tensor {
  const generator = new Generator().manualSeed(0);
  return (...shape) => tf.tensor(generator.randn(shape.reduce((product, size) => product * size, 1)), shape);
}

/** What each variant gives to `compile`. */
const COMPILE: Record<string, CompileOptions | false> = { compiled: {}, graph: { xla: false }, xla: { xla: true }, eager: false };

const networks: Array<{ compiled(): Promise<void> }> = [];

async function prepare({ job, weights, device, dtype, variant }: Task): Promise<Work> {
  const randn = inputs();
  const ready = <N extends { compile(options: CompileOptions | false): void; compiled(): Promise<void> }>(network: N) => {
    network.compile(COMPILE[variant]);
    networks.push(network);
    return network;
  };
  switch (job.kind) {
    case 'unet': {
      const unet = ready(await UNet2DConditionModel.fromPretrained(weights, { dtype }));
      const sample = tf.transpose(randn(job.batch, 4, job.size, job.size), [0, 2, 3, 1]);
      const encoderHiddenStates = randn(job.batch, 77, 768);
      return () => unet.forward(sample, 981, { encoderHiddenStates });
    }
    case 'unet-xl': {
      const unet = ready(await UNet2DConditionModel.fromPretrained(weights, { dtype }));
      const sample = tf.transpose(randn(job.batch, 4, job.size, job.size), [0, 2, 3, 1]);
      const [encoderHiddenStates, textEmbeds] = [randn(job.batch, 77, 2048), randn(job.batch, 1280)];
      const timeIds = Array.from({ length: job.batch }, () => [1024, 1024, 0, 0, 1024, 1024]);
      return () => unet.forward(sample, 981, { encoderHiddenStates, addedCondKwargs: { textEmbeds, timeIds } });
    }
    case 'transformer-sd35': {
      const transformer = ready(await SD3Transformer2DModel.fromPretrained(weights, { dtype }));
      const sample = tf.transpose(randn(job.batch, 16, job.size, job.size), [0, 2, 3, 1]);
      const [encoderHiddenStates, pooledProjections] = [randn(job.batch, 77 + 256, 4096), randn(job.batch, 2048)];
      return () => transformer.forward(sample, 981.5, { encoderHiddenStates, pooledProjections });
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
      const pipe = await StableDiffusionPipeline.fromPretrained(weights, { device: device as Device, dtype });
      pipe.compile(COMPILE[variant]);
      networks.push(pipe.textEncoder, pipe.unet, pipe.vae);
      pipe.scheduler = DPMSolverMultistepScheduler.fromConfig(pipe.scheduler.config);
      pipe.setProgressBarConfig({ disable: true });
      if (job.sliced) {
        pipe.enableAttentionSlicing();
        pipe.enableVaeSlicing();
      }
      const prompts = Array<string>(job.batch).fill('a red circle on a blue background');
      const pixels = job.size && 8 * job.size;
      return async () => {
        const generator = prompts.map((_, i) => new Generator().manualSeed(i));
        const { images } = await pipe.generate(prompts, { numInferenceSteps: job.steps, generator, height: pixels, width: pixels });
        await Promise.all(images.map(image => image.toPng()));
        return images;
      };
    }
  }
}

/** What is compared with the other side: a tensor in torch's layout, or the bytes of the pictures. */
async function values(result: Result): Promise<Float32Array> {
  if (!(result instanceof tf.Tensor)) return Float32Array.from(Buffer.concat(result.map(({ data }) => data)));
  return (result.rank === 4 ? tf.transpose(result, [0, 3, 1, 2]) : result).data<'float32'>();
}

/** Seconds for `work` and, of a tensor, for reading one of its values, which waits for all of them. */
async function time(work: Work): Promise<Run> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  const out = await work();
  if (out instanceof tf.Tensor) await tf.tidy(() => tf.slice(tf.reshape(out, [-1]), 0, 1)).data();
  const { user, system } = process.cpuUsage(cpu);
  if (out instanceof tf.Tensor) out.dispose();
  return { wall: (performance.now() - start) / 1000, cpu: (user + system) / 1e6 };
}

const given = JSON.parse(process.argv[2]) as Task;
await useDevice(given.device as Device, { memoryFraction: given.gpuMemoryFraction });
const start = performance.now();
const work = await prepare(given);
const answer = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
answer({ load: (performance.now() - start) / 1000 });

const square = () => tf.randomNormal([2048, 2048]);
let matrices: [tf.Tensor2D, tf.Tensor2D] | undefined;
for await (const line of createInterface({ input: process.stdin })) {
  const [command, file] = line.split(' ');
  if (command === 'run') answer(await time(work));
  if (command === 'settle') {
    await Promise.all(networks.map(network => network.compiled().catch((error: Error) => console.error(error.message)))); // it runs all the same
    answer({});
  }
  if (command === 'matmul') {
    matrices ??= [square(), square()] as [tf.Tensor2D, tf.Tensor2D];
    answer(await time(() => tf.matMul(...matrices!)));
  }
  if (command === 'end') {
    const peakRss = process.resourceUsage().maxRSS * 1024; // before what is only counted or compared
    const { result, flops } = await countFlops(work);
    const { numTensors, numBytes } = tf.memory();
    await writeFile(file, new Uint8Array((await values(result)).buffer));
    answer({ peakRss, flops: given.variant === 'eager' ? flops : undefined, tensors: numTensors, tensorBytes: numBytes } satisfies Finished);
    break;
  }
}
