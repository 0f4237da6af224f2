import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { cpSync, rmSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { findNative } from '../support/native.js';
import type { Block } from '../../lib/core/block.js';
import type { GenerateOptions } from '../../lib/pipelines/inputs/generate_options.js';
import type { FromPretrainedOptions } from '../../lib/pipelines/components/load_components.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { StableDiffusionImg2ImgPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js';
import { TF } from '../../lib/runtime/native/binding.js';
import type { NativeBackend } from '../../lib/runtime/native/native_backend.js';
import { useDevice } from '../../lib/runtime/devices.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { seeded, TINY } from '../support/tiny_pipeline.js';

const PROMPT = 'a road and a tree on it';
const SMALL = 2 ** 20; // bytes of latents, text and pictures

const allocated = (network: Block) => [...network.parameterSpecs().keys()].filter(path => network.isAllocated(path)).length;

async function draw(pipe: StableDiffusionPipeline, options: GenerateOptions = {}): Promise<Uint8Array> {
  const { images } = await pipe.generate(PROMPT, { numInferenceSteps: 2, generator: seeded(1), ...options, outputType: 'image' });
  return images[0].data;
}

describeOnDevices('offloading', device => {
  const folder = temporaryFolder();
  const load = (options: FromPretrainedOptions = {}, model = TINY) => StableDiffusionPipeline.fromPretrained(model, { device, compile: false, ...options });
  const noLeak = (work: () => Promise<void>) => expectNoLeak(async () => {
    await work();
    return [];
  });

  it('by model leaves only the network that runs on the device, and the picture as it is', () => noLeak(async () => {
    const before = tf.memory().numBytes;
    const bytes = () => tf.memory().numBytes - before;
    const pipe = await load({}, DEMO_MODEL);
    const { unet, vae, textEncoder } = pipe;
    const expected = await draw(pipe);
    assert.ok(bytes() >= 4 * pipe.numParameters);

    pipe.enableModelCpuOffload();
    const decode = vae.decode.bind(vae);
    let decoding = 0;
    vae.decode = latents => {
      const pixels = decode(latents);
      decoding = bytes();
      assert.deepEqual([unet, textEncoder].map(allocated), [0, 0]);
      return pixels;
    };
    const steps: number[] = [];
    for (let run = 0; run < 2; run++) {
      assert.deepEqual(await draw(pipe, {
        callbackOnStepEnd: () => {
          steps.push(bytes());
          assert.deepEqual([vae, textEncoder].map(allocated), [0, 0]);
          assert.equal(allocated(unet), unet.parameterSpecs().size);
        },
      }), expected);
      assert.equal(bytes(), 0);
    }
    for (const step of steps) assert.ok(step >= 4 * unet.numParameters && step < 4 * unet.numParameters + SMALL, `${step} bytes`);
    assert.ok(decoding > 0 && decoding < 4 * vae.numParameters + SMALL, `${decoding} bytes`);

    Reflect.deleteProperty(vae, 'decode');
    pipe.removeAllHooks();
    assert.deepEqual(await draw(pipe), expected);
    assert.equal(allocated(unet), unet.parameterSpecs().size);
    pipe.dispose();
  }));

  it('by layer leaves hardly more than one layer there', () => noLeak(async () => {
    const before = tf.memory().numBytes;
    const pipe = await load({}, DEMO_MODEL);
    const expected = await draw(pipe);
    const counts: number[] = [];
    pipe.enableSequentialCpuOffload();
    const engine = tf.engine();
    const runKernel = engine.runKernel.bind(engine);
    engine.runKernel = ((...args: Parameters<typeof runKernel>) => {
      if (counts.length % 7 === 0) assert.ok(allocated(pipe.unet) <= 2);
      counts.push(tf.memory().numBytes - before);
      return runKernel(...args);
    }) as typeof runKernel;
    try {
      assert.deepEqual(await draw(pipe), expected);
    } finally {
      Reflect.deleteProperty(engine, 'runKernel');
    }
    assert.ok(Math.max(...counts) < 4 * pipe.unet.numParameters / 2, `${Math.max(...counts)} bytes`);
    assert.equal(tf.memory().numBytes, before);
    pipe.removeAllHooks();
    assert.deepEqual(await draw(pipe), expected);
    assert.ok(allocated(pipe.unet) > 0);
    pipe.dispose();
  }));

  it('from the start puts nothing on the device before it is used', () => noLeak(async () => {
    const plain = await load();
    const expected = await draw(plain);
    plain.dispose();
    const before = tf.memory().numBytes;
    for (const cpuOffload of ['model', 'sequential'] as const) {
      const pipe = await load({ cpuOffload });
      assert.equal(tf.memory().numBytes, before);
      assert.deepEqual(await draw(pipe), expected);
      assert.equal(tf.memory().numBytes, before);
      pipe.dispose();
    }
    await assert.rejects(load({ cpuOffload: 'disk' as 'model' }), /RangeError: cpuOffload: got 'disk', takes 'model', 'sequential'/);
  }));

  it('keeps LoRAs, learned words and other changes of weights', () => noLeak(async () => {
    const learn = async (pipe: StableDiffusionPipeline) => {
      const pictures = [await draw(pipe)];
      await pipe.loadTextualInversion('spec/golden/textual_inversion');
      await pipe.loadLoraWeights('spec/golden/lora');
      pictures.push(await draw(pipe));
      await pipe.setLoraScale(0.5);
      pictures.push(await draw(pipe));
      await pipe.unloadLoraWeights();
      pictures.push(await draw(pipe));
      await pipe.loadLoraWeights('spec/golden/lora');
      await pipe.fuseLora();
      await pipe.unloadLoraWeights();
      pipe.unet.setParameter('conv_out.bias', tf.ones([4]));
      return [...pictures, await draw(pipe)];
    };
    const plain = await load();
    const expected = await learn(plain);
    assert.deepEqual(expected[3], expected[0]);
    assert.notDeepEqual(expected[1], expected[0]);
    plain.dispose();
    for (const cpuOffload of ['model', 'sequential'] as const) {
      const before = tf.memory().numBytes;
      const pipe = await load({ cpuOffload });
      assert.deepEqual(await learn(pipe), expected);
      assert.equal(tf.memory().numBytes, before);
      pipe.dispose();
    }
  }));

  it('serves image to image, too, and networks that are put in later', () => noLeak(async () => {
    const pipe = await load();
    const image = (await pipe.generate(PROMPT, { numInferenceSteps: 1, generator: seeded(2) })).images;
    const img2img = new StableDiffusionImg2ImgPipeline(pipe.components);
    const change = async () => (await img2img.generate(PROMPT, { image, numInferenceSteps: 4, generator: seeded(3) })).images[0].data;
    const expected = await change();
    for (const enable of ['enableModelCpuOffload', 'enableSequentialCpuOffload'] as const) {
      img2img[enable]();
      const other = await load();
      img2img.unet.dispose();
      img2img.unet = other.unet;
      assert.deepEqual(await change(), expected);
      assert.equal(allocated(other.unet), 0);
      other.vae.dispose();
      other.textEncoder.dispose();
    }
    img2img.dispose();
  }));

  it('frees what it can when a run fails or is aborted', () => noLeak(async () => {
    const pipe = await load({ cpuOffload: 'model' });
    const before = tf.memory().numBytes;
    const controller = new AbortController();
    const options = { signal: controller.signal, callbackOnStepEnd: () => controller.abort(new Error('enough')) };
    await assert.rejects(draw(pipe, options), /enough/);
    assert.equal(tf.memory().numBytes, before);
    pipe.dispose();
    await assert.rejects(draw(pipe), /was disposed/);
  }));

  it('goes with compile() by model, and not by layer', () => noLeak(async () => {
    const pipe = await load();
    const expected = await draw(pipe);
    pipe.enableModelCpuOffload();
    pipe.compile();
    for (let run = 0; run < 2; run++) {
      const picture = await draw(pipe, { numInferenceSteps: 2 });
      assert.ok(picture.every((byte, i) => Math.abs(byte - expected[i]) <= 1));
      assert.equal(allocated(pipe.unet), 0);
    }
    const refused = /compile: a graph holds all weights of its network; use it with enableModelCpuOffload, not with enableSequentialCpuOffload/;
    assert.throws(() => pipe.enableSequentialCpuOffload(), refused);
    pipe.dispose();
    const sequential = await load({ cpuOffload: 'sequential' });
    assert.throws(() => sequential.compile(), refused);
    sequential.dispose();
  }));

  if (device !== 'wasm') {
    it('keeps halves halves, in files and in host memory', () => noLeak(async () => {
      for (const dtype of ['float16', 'bfloat16'] as const) {
        const { unet, ...others } = await load({ dtype });
        const look = () => Object.values(unet.stateDict()).map(value => [
          (tf.backend() as NativeBackend).dataOf(value.dataId).dtype, ...value.dataSync().slice(-3),
        ]);
        const before = look();
        await unet.offload();
        assert.deepEqual(look(), before);
        for (const [path, value] of Object.entries(unet.stateDict())) unet.setParameter(path, value.clone()); // no file knows them now
        await unet.offload();
        const odd = before.map(([type, ...values], i) => [Object.values(unet.stateDict())[i].size % 2 ? TF.FLOAT : type, ...values]);
        assert.deepEqual(look(), odd);
        [unet, others.vae, others.textEncoder].forEach(network => network.dispose());
      }
    }));
  }

  if (device === 'cpu') {
    it('says when the files that weights are in went or changed', () => noLeak(async () => {
      for (const [harm, message] of [
        [(file: string) => rmSync(file), /unet\/.*safetensors: weights are offloaded to it, and it is gone; load the model anew/],
        [(file: string) => utimesSync(file, 1, 1), /unet\/.*safetensors: weights are offloaded to it, and it changed; load the model anew/],
      ] as const) {
        const copy = join(folder(), 'model');
        cpSync(TINY, copy, { recursive: true });
        const pipe = await load({ cpuOffload: 'model' }, copy);
        harm(join(copy, 'unet/diffusion_pytorch_model.safetensors'));
        await assert.rejects(draw(pipe), message);
        pipe.dispose();
      }
    }));
  }
});

describe('to', () => {
  const native = findNative();
  before(async function (this: Mocha.Context) {
    if (!await native) this.skip();
  });

  it('moves the weights and leaves nothing where they were, there and back', async () => {
    const device = (await native)!;
    await useDevice('wasm');
    const wasm = tf.backend();
    await useDevice(device);
    const other = tf.backend();
    const before = [wasm.numDataIds(), other.numDataIds()];
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device: 'wasm' });
    await pipe.loadLoraWeights('spec/golden/lora');
    const expected = await draw(pipe);
    const weights = pipe.unet.parameterSpecs().size + pipe.vae.parameterSpecs().size + pipe.textEncoder.parameterSpecs().size;

    await pipe.to(device);
    assert.deepEqual([wasm.numDataIds(), other.numDataIds()], [before[0], before[1] + weights]);
    const moved = await draw(pipe);
    assert.ok(moved.every((byte, i) => Math.abs(byte - expected[i]) <= 2));
    assert.deepEqual([wasm.numDataIds(), other.numDataIds()], [before[0], before[1] + weights]);

    await pipe.to('wasm');
    assert.deepEqual([wasm.numDataIds(), other.numDataIds()], [before[0] + weights, before[1]]);
    assert.deepEqual(await draw(pipe), expected);
    await pipe.unloadLoraWeights();
    assert.equal(wasm.numDataIds(), before[0] + weights);
    pipe.dispose();
    assert.deepEqual([wasm.numDataIds(), other.numDataIds()], before);
  });

  it('goes on offloading by model, and refuses while that is by layer', async () => {
    const device = (await native)!;
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device, cpuOffload: 'model' });
    const before = tf.memory().numBytes;
    const expected = await draw(pipe);
    await pipe.to('wasm');
    const moved = await draw(pipe);
    assert.ok(moved.every((byte, i) => Math.abs(byte - expected[i]) <= 2));
    assert.equal(tf.memory().numBytes, before);
    await pipe.to(device);
    assert.deepEqual(await draw(pipe), expected);
    pipe.enableSequentialCpuOffload();
    await assert.rejects(pipe.to('wasm'), /to: does not go together with enableSequentialCpuOffload, .*; call removeAllHooks first/);
    pipe.removeAllHooks();
    await pipe.to('wasm');
    pipe.dispose();
    await useDevice(device);
  });
});
