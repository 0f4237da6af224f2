import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import type { Block } from '../../../lib/core/block.js';
import type { GenerateOptions } from '../../../lib/pipelines/inputs/generate_options.js';
import { StableDiffusionPipeline } from '../../../lib/pipelines/index.js';
import { useDevice } from '../../../lib/runtime/devices.js';
import { useCountedGpu, type CountedGpu, type GpuCounts } from '../../support/counted_gpu.js';
import { FULL_SIZES, storeInFourBits, storeInHalves, storeOnDevice } from '../../support/full_sizes.js';
import { seeded, TINY } from '../../support/tiny_pipeline.js';
import { captureWarnings } from '../../support/warnings.js';

const MIB = 2 ** 20;

/** What any device can bind and make; and as much as anything here wants. */
const LEAST = { maxStorageBufferBindingSize: 128 * MIB, maxBufferSize: 256 * MIB };
const PLENTY = { maxStorageBufferBindingSize: 2 ** 32 - 4, maxBufferSize: 2 ** 32 };

/** What networks of full size ask of a GPU, counted on one that computes nothing: what is slow on every GPU, held by bounds. */
describe('What WebGPU is asked for', () => {
  afterEach(async () => {
    tf.removeBackend('webgpu');
    await useDevice('wasm');
  });

  /** Counts of a second run, for the first one brings weights to the device. */
  async function countRun<T extends Block>(gpu: CountedGpu, network: T, run: (network: T) => tf.Tensor): Promise<GpuCounts> {
    storeOnDevice(network);
    const runs = async () => {
      tf.tidy(() => { run(network); });
      await gpu.done();
    };
    await runs();
    const counts = await gpu.count(runs);
    network.dispose();
    assert.deepEqual(gpu.refused, []);
    return counts;
  }

  const on = (...shape: number[]) => tf.fill(shape, 0.1);

  it("for a guided step of Stable Diffusion 1.5's UNet at 512x512", async () => {
    const gpu = await useCountedGpu(PLENTY);
    const [sample, encoderHiddenStates] = [on(2, 64, 64, 4), on(2, 77, 768)];
    const counts = await countRun(gpu, FULL_SIZES.unet(), unet => unet.forward(sample, 500, { encoderHiddenStates }));
    tf.dispose([sample, encoderHiddenStates]);
    assert.equal(counts.uploadedBytes, 4 * 320); // the timestep
    assert.equal(counts.pipelines, 0);
    within(counts, { dispatches: 517, touchedBytes: 10.4 * 2 ** 30, uniformBytes: 68_000, bytesMade: 10 * MIB });
  });

  it("for a guided step of SDXL's UNet at 1024x1024", async () => {
    const gpu = await useCountedGpu(PLENTY);
    const [sample, encoderHiddenStates, textEmbeds] = [on(2, 128, 128, 4), on(2, 77, 2048), on(2, 1280)];
    const timeIds = [0, 1].map(() => [1024, 1024, 0, 0, 1024, 1024]);
    const conditions = { encoderHiddenStates, addedCondKwargs: { textEmbeds, timeIds } };
    const counts = await countRun(gpu, FULL_SIZES.xlUnet(), unet => unet.forward(sample, 500, conditions));
    tf.dispose([sample, encoderHiddenStates, textEmbeds]);
    assert.equal(counts.uploadedBytes, 4 * (320 + 2 * 6 * 256)); // the timestep and the sizes
    assert.equal(counts.pipelines, 0);
    within(counts, { dispatches: 1404, touchedBytes: 62 * 2 ** 30, uniformBytes: 165_000, bytesMade: 900 * MIB });
  });

  it("for decoding 512x512 pixels, and for Stable Diffusion 1.5's text", async () => {
    const gpu = await useCountedGpu(PLENTY);
    const latents = on(1, 64, 64, 4);
    const decoded = await countRun(gpu, FULL_SIZES.vae(), vae => vae.decode(latents));
    latents.dispose();
    assert.equal(decoded.uploadedBytes, 0);
    within(decoded, { dispatches: 104, touchedBytes: 11.2 * 2 ** 30, bytesMade: 900 * MIB });
    const ids = [0, 1].map(() => Array<number>(77).fill(7));
    const encoded = await countRun(gpu, FULL_SIZES.textEncoder(), encoder => encoder.forward(ids).lastHiddenState);
    within(encoded, { dispatches: 154, touchedBytes: 0.63 * 2 ** 30, uploadedBytes: 0.53 * MIB }); // tokens' features among it, not the table
  });

  it('for all of Stable Diffusion 1.5 at 512x512: no binding over 128 MiB, and in float16 no more than 2 GiB', async () => {
    const gpu = await useCountedGpu(LEAST);
    const tiny = await StableDiffusionPipeline.fromPretrained(TINY, { device: 'webgpu' });
    const { tokenizer, scheduler } = tiny.components;
    tiny.dispose();
    const networks = { unet: FULL_SIZES.unet(), vae: FULL_SIZES.vae(), textEncoder: FULL_SIZES.textEncoder() };
    Object.values(networks).forEach(storeInHalves);
    const pipe = new StableDiffusionPipeline({ ...networks, tokenizer, scheduler });
    pipe.setProgressBarConfig({ disable: true });
    pipe.enableModelCpuOffload();
    const generate = (options: GenerateOptions) => captureWarnings(() => pipe.generate('a red circle', options)); // of NaN, as anything comes
    const counts = await gpu.count(() => generate({ numInferenceSteps: 2, height: 512, width: 512 }));
    assert.deepEqual(gpu.refused, []);
    assert.ok(counts.peakBytes <= 2 ** 31, `${counts.peakBytes / MIB} MiB`);
    const large = { numInferenceSteps: 1, height: 768, width: 768 };
    await assert.rejects(generate(large), /out of memory: webgpu: .*; to take less: pipe\.enableVaeTiling\(\)/);
    gpu.refused.length = 0;
    pipe.enableVaeTiling();
    await generate(large);
    assert.deepEqual(gpu.refused, []);
    pipe.dispose();
  });

  it("for Stable Diffusion 1.5's UNet in 4 bits: less than 500 MB of weights, and none uploaded in a step", async () => {
    const gpu = await useCountedGpu(PLENTY);
    const unet = FULL_SIZES.unet();
    storeInFourBits(unet);
    const [sample, encoderHiddenStates] = [on(2, 64, 64, 4), on(2, 77, 768)];
    const before = gpu.bytesNow;
    const run = async () => {
      tf.tidy(() => { unet.forward(sample, 500, { encoderHiddenStates }); });
      await gpu.done();
    };
    await run();
    gpu.backend().giveBack();
    assert.ok(gpu.bytesNow - before < 500e6, `${gpu.bytesNow - before} bytes`);
    const { uploadedBytes, dispatches } = await gpu.count(run);
    assert.equal(uploadedBytes, 4 * 320);
    assert.ok(dispatches <= 517 + 4, `${dispatches} dispatches`); // what is of no such number of channels is widened by itself
    assert.deepEqual(gpu.refused, []);
    unet.dispose();
    tf.dispose([sample, encoderHiddenStates]);
  });

  it('and is told when there is no more memory, after which it keeps none that is free', async () => {
    const gpu = await useCountedGpu({ ...PLENTY, memory: 64 * MIB });
    const [a, b] = [on(8 * MIB), on(1000)];
    const sum = tf.add(a, b.slice(0, 1)); // 32 MiB more
    await assert.rejects(sum.data(), /^Error: webgpu: out of memory: /);
    assert.match(gpu.refused[0], /memory/i);
    tf.dispose([a, sum]);
    assert.equal((await tf.add(b, 1).data()).length, 1000);
    await gpu.done();
    assert.ok(gpu.bytesNow < 20_000, `${gpu.bytesNow} bytes`);
    b.dispose();
  });

  it('for a first picture: what networks run is compiled on other threads before', async () => {
    const gpu = await useCountedGpu(PLENTY);
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device: 'webgpu' });
    const told: boolean[] = [];
    pipe.setProgressBarConfig({ disable: true, onPreparing: preparing => told.push(preparing) });
    const generate = () => pipe.generate('a red circle', { numInferenceSteps: 1, outputType: 'tensor' }).then(({ images }) => images.dispose());
    const first = await gpu.count(generate);
    assert.ok(first.pipelinesAhead >= 50 && first.pipelines <= 10, `${first.pipelinesAhead} ahead, ${first.pipelines} while the thread waits`);
    assert.deepEqual(told, [true, false]);
    const second = await gpu.count(generate);
    assert.equal(second.pipelines + second.pipelinesAhead, 0);
    assert.deepEqual(told, [true, false]);
    assert.deepEqual(gpu.refused, []);
    pipe.dispose();
  });

  it('for 50 pictures: as much memory after all of them as after 5', async () => {
    const gpu = await useCountedGpu(PLENTY);
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device: 'webgpu' });
    pipe.setProgressBarConfig({ disable: true });
    const held = async (pictures: number) => {
      for (let i = 0; i < pictures; i++) {
        await pipe.generate(`picture ${i}`, { numInferenceSteps: 1, generator: seeded(i), outputType: 'tensor' }).then(({ images }) => tf.dispose(images));
      }
      const { bufferManager } = gpu.backend();
      return {
        tensors: tf.memory().numTensors, bytes: gpu.bytesNow,
        used: bufferManager.getNumUsedBuffers(), free: bufferManager.getNumFreeBuffers(), usedBytes: bufferManager.numBytesUsed,
      };
    };
    const after5 = await held(5);
    assert.ok(after5.used > 300 && after5.free > 0);
    assert.deepEqual(await held(45), after5);
    assert.deepEqual(gpu.refused, []);
    pipe.dispose();
  });
});

/** @throws AssertionError where more was asked for, with what ran. */
function within(counts: GpuCounts, bounds: Partial<GpuCounts>): void {
  for (const [name, most] of Object.entries(bounds)) {
    const ran = [...counts.kernels].map(([kernel, { dispatches, bytes }]) => `${dispatches} ${kernel}, ${(bytes / MIB).toFixed(1)} MiB`);
    const count = counts[name as keyof GpuCounts] as number;
    assert.ok(count <= (most as number), `${name}: ${count}, more than ${most as number}\n${ran.join('\n')}`);
  }
}
