import * as tf from '@tensorflow/tfjs';
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { causalMask, scaledDotProductAttention } from '../../../lib/layers/scaled_dot_product_attention.js';
import { AutoencoderKL } from '../../../lib/models/autoencoder_kl.js';
import { CLIPTextModel } from '../../../lib/models/clip_text_model.js';
import { UNet2DConditionModel } from '../../../lib/models/unet_2d_condition_model.js';
import { StableDiffusionPipeline } from '../../../lib/pipelines/index.js';
import { EulerDiscreteScheduler } from '../../../lib/schedulers/index.js';
import { describeDevices, useDevice } from '../../../lib/runtime/devices.js';
import { BufferPool } from '../../../lib/runtime/webgpu/buffer_pool.js';
import { describeOnDevices, expectNoLeak } from '../../support/backends.js';
import { expectValues } from '../../support/close.js';
import { conditionsOf } from '../../support/conditions.js';
import { loadGolden } from '../../support/golden.js';
import { seeded, TINY } from '../../support/tiny_pipeline.js';
import { goldenTensor, setTorchWeights } from '../../support/weights.js';

const close = { atol: 1e-4, rtol: 1e-4 };

/** Of WebGPU alone; layers.spec.ts runs on it too. */
describeOnDevices('WebGPU', device => {
  after(() => useDevice('wasm')); // for specs after this one that read at once

  for (const name of ['sd1', 'sd2', 'other', 'xl', 'simple']) {
    it(`runs the UNet ${name} as diffusers`, async () => {
      const golden = loadGolden(`models/unet_${name}`);
      const unet = new UNet2DConditionModel(golden.meta.config);
      setTorchWeights(unet, golden, 'weights/');
      for (const [run, timestep] of golden.meta.timesteps.entries()) {
        const [sample, encoderHiddenStates] = ['sample', 'encoderHiddenStates'].map(input => goldenTensor(golden, `${run}/${input}`));
        const conditions = conditionsOf(golden, run);
        await expectNoLeak(async () => {
          const out = unet.forward(sample, timestep, { encoderHiddenStates, ...conditions });
          await expectValues(out, golden.tensors[`${run}/out`], close);
          return out;
        });
        tf.dispose([sample, encoderHiddenStates, conditions.addedCondKwargs?.textEmbeds ?? []] as tf.TensorContainer);
      }
      unet.dispose();
    });
  }

  it('runs the VAE as diffusers', async () => {
    const golden = loadGolden('models/vae_sd');
    const vae = new AutoencoderKL(golden.meta.config);
    setTorchWeights(vae, golden, 'weights/');
    for (let run = 0; run < golden.meta.runs; run++) {
      const [image, latents] = ['image', 'latents'].map(input => goldenTensor(golden, `${run}/${input}`));
      await expectNoLeak(async () => {
        const { latentDist } = vae.encode(image);
        const decoded = vae.decode(latents);
        await expectValues(latentDist.mean, golden.tensors[`${run}/mean`], close);
        await expectValues(decoded, golden.tensors[`${run}/decoded`], close);
        latentDist.dispose();
        return decoded;
      });
      tf.dispose([image, latents]);
    }
    vae.dispose();
  });

  it('runs a text encoder as transformers', async () => {
    const golden = loadGolden('models/text_sd2');
    const model = new CLIPTextModel(golden.meta.config);
    setTorchWeights(model, golden, 'weights/');
    for (const [run, inputIds] of (golden.meta.inputIds as number[][][]).entries()) {
      await expectNoLeak(async () => {
        const { lastHiddenState, hiddenStates } = model.forward(inputIds);
        await expectValues(lastHiddenState, golden.tensors[`${run}/last`], close);
        return [lastHiddenState, ...hiddenStates];
      });
    }
    model.dispose();
  });

  it('attends by heads of every size, to odd numbers of tokens, with masks', async () => {
    for (const [size, queries, keys] of [[40, 77, 77], [64, 65, 7], [80, 1, 130], [160, 33, 19], [512, 9, 11], [6, 8, 9]]) {
      const [q, k, v] = [queries, keys, keys].map((tokens, i) => tf.randomNormal([2, tokens, 2 * size], 0, 1, 'float32', i + 1));
      const values = await Promise.all([q, k, v].map(x => x.data()));
      for (const mask of queries === keys ? [undefined, causalMask(keys)] : [undefined]) {
        const out = scaledDotProductAttention(q, k, v, { heads: 2, mask });
        await expectValues(out, attentionOf(values, [2, queries, keys, 2, size], mask !== undefined), { atol: 1e-5, rtol: 1e-5 });
        tf.dispose([out, mask ?? []]);
      }
      tf.dispose([q, k, v]);
    }
  });

  it('makes the picture that diffusers makes', () => expectNoLeak(async () => {
    const golden = loadGolden('pipelines/text2img');
    const [prompt, { seeds, timesteps }] = golden.meta.cases.euler_timesteps as [string, { seeds: number; timesteps: number[] }];
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    pipe.scheduler = EulerDiscreteScheduler.fromConfig(pipe.scheduler.config);
    pipe.setProgressBarConfig({ disable: true });
    const { images } = await pipe.generate(prompt, { timesteps, generator: seeded(seeds), outputType: 'latent' });
    await expectValues(images, golden.tensors['euler_timesteps/out'], { atol: 5e-4, rtol: 5e-4 });
    pipe.dispose();
    return images;
  }));

  it('throws what went wrong on the device, and goes on', async () => {
    const { device: gpu } = tf.backend() as WebGPUBackend;
    const fits = tf.zeros([64, 64]); // which tfjs does not add on the CPU, as smaller ones
    await fits.data();
    const large = tf.zeros([gpu.limits.maxStorageBufferBindingSize / 4 + 4]);
    const sum = tf.add(large, 1);
    await assert.rejects(sum.data(), /^Error: webgpu: /);
    tf.dispose([large, sum]);
    const twice = tf.add(fits, 2);
    assert.deepEqual(new Set(await twice.data()), new Set([2]));
    assert.throws(() => tf.add(fits, 1).dataSync(), /webgpu: Node cannot wait for values of the GPU: `await tensor\.data\(\)`/);
    tf.dispose([fits, twice]);
  });

  it('stays what it is for `auto` once it was used by name', async () => {
    const { devices, auto } = await describeDevices();
    const { detail, onlyByName = false } = devices.find(({ device }) => device === 'webgpu')!;
    assert.equal(onlyByName, detail.includes('; software'));
    assert.equal(auto === 'webgpu', !onlyByName && !devices.find(({ device }) => device === 'cuda')!.available);
  });

  it('gives back buffers that nobody used for long', () => {
    const pool = new BufferPool((tf.backend() as WebGPUBackend).device);
    const usage = 128; // STORAGE
    const [a, b, c] = [1024, 2048, 1024].map(size => pool.acquireBuffer(size, usage));
    assert.equal(pool.numBytesUsed, 4096);
    [a, b, c].forEach(buffer => pool.releaseBuffer(buffer));
    assert.deepEqual([pool.numBytesUsed, pool.numBytesAllocated, pool.getNumFreeBuffers()], [0, 4096, 3]);
    pool.keep(3072);
    assert.deepEqual([pool.numBytesUsed, pool.numBytesAllocated, pool.getNumFreeBuffers()], [0, 3072, 2]);
    assert.equal(pool.acquireBuffer(1024, usage), c);
    pool.dispose();
    assert.equal(pool.numBytesAllocated, 0);
  });

  it('lets the process end by itself', () => {
    const lib = new URL('../../../lib/index.js', import.meta.url).href;
    const script = `import * as tf from '@tensorflow/tfjs'; import { useDevice } from '${lib}';
      await useDevice('webgpu'); console.log((await tf.ones([4]).add(1).data())[3]);`;
    const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', timeout: 240_000 });
    assert.deepEqual([status, stdout.trim()], [0, '2']);
  });
}, { only: 'webgpu' });

/** Attention in float64. */
function attentionOf(
  [q, k, v]: ArrayLike<number>[], [batch, queries, keys, heads, size]: number[], causal: boolean,
): { shape: number[]; data: Float64Array } {
  const width = heads * size;
  const data = new Float64Array(batch * queries * width);
  for (let b = 0; b < batch; b++) for (let h = 0; h < heads; h++) for (let i = 0; i < queries; i++) {
    const at = (x: number, tokens: number) => (b * tokens + x) * width + h * size;
    const scores = Array.from({ length: causal ? i + 1 : keys }, (_, j) => {
      let sum = 0;
      for (let f = 0; f < size; f++) sum += q[at(i, queries) + f] * k[at(j, keys) + f];
      return sum / Math.sqrt(size);
    });
    const weights = scores.map(score => Math.exp(score - Math.max(...scores)));
    const total = weights.reduce((sum, weight) => sum + weight);
    for (let f = 0; f < size; f++) data[at(i, queries) + f] = weights.reduce((sum, weight, j) => sum + weight * v[at(j, keys) + f], 0) / total;
  }
  return { shape: [batch, queries, width], data };
}
