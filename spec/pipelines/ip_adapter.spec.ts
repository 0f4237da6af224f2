import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Image } from '../../lib/image/image.js';
import { IPAdapters } from '../../lib/models/ip_adapters.js';
import { CLIPVisionModelWithProjection } from '../../lib/models/clip_vision_model.js';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import {
  LatentConsistencyModelPipeline, StableDiffusionControlNetPipeline, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionPipeline,
  StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline, type DiffusionPipeline,
} from '../../lib/pipelines/index.js';
import type { IpAdapterScale } from '../../lib/pipelines/base/image_prompt_pipeline.js';
import { LCMScheduler } from '../../lib/schedulers/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose, type Values } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { commonOptions, defined, goldenImages, seeded, TINY, TINY_XL, type PipelineCase } from '../support/tiny_pipeline.js';

const FOLDER = 'spec/golden/pipelines/ip_adapter';
const { tensors, meta } = loadGolden('pipelines/ip_adapter');
const close = { atol: 5e-4, rtol: 1e-4 };

/** Options of a case in the words of golden/parts/ip_adapter.py. */
interface Case extends PipelineCase {
  files: string[];
  pictures?: Array<number | number[]>;
  embeds?: number;
  masks?: boolean;
  scale?: number | IpAdapterScale[];
  size?: [number, number];
  prompts?: number;
}

/** As golden/parts/pipelines.py makes it. */
function picture(seed: number, height: number, width: number): Image {
  const longer = Math.max(height, width);
  const values = Array.from({ length: height * width * 3 }, (_, i) => {
    const [c, x, y] = [i % 3, Math.floor(i / 3) % width / longer, Math.floor(i / 3 / width) / longer];
    return Math.round(127.5 + 127.5 * Math.sin(seed + 7 * (c + 1) * x + 5 * (seed + c) * y));
  });
  return new Image(Uint8Array.from(values), width, height);
}

/** What leads in a case. */
function leading(name: string, { files, pictures = files.map(() => 1), embeds, masks }: Case) {
  const ipAdapterMasks = masks ? [goldenImages(tensors[`${name}/masks`])] : undefined;
  if (embeds) {
    const { data, shape } = tensors[`${name}/embeds`];
    return { ipAdapterImageEmbeds: [tf.tensor(Float32Array.from(data), [...shape])] };
  }
  const ipAdapterImage = pictures.map(seed => Array.isArray(seed) ? seed.map(each => picture(each, 17, 23)) : picture(seed, 31, 13));
  return { ipAdapterImage, ipAdapterMasks };
}

const valuesOf = (tensor: tf.Tensor): Values => ({ shape: tensor.shape, data: tensor.dataSync() });

describeOnDevices('Pipelines that pictures lead', device => {
  let base: StableDiffusionPipeline;
  let xl: StableDiffusionXLPipeline;
  const quiet = <P extends DiffusionPipeline>(pipe: P): P => {
    pipe.setProgressBarConfig({ disable: true });
    return pipe;
  };
  before(async () => {
    base = quiet(await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false }));
    xl = quiet(await StableDiffusionXLPipeline.fromPretrained(TINY_XL, { device, compile: false }));
  });
  after(() => {
    base.dispose();
    xl.dispose();
  });

  /** Pipelines by what golden/parts/ip_adapter.py calls them, and what else they are told and leave behind. */
  const families: Record<string, () => Promise<{ pipe: StableDiffusionPipeline | StableDiffusionXLPipeline; options?: object; owns?: { dispose(): unknown } }>> = {
    text: async () => ({ pipe: base }),
    img2img: async () => ({ pipe: new StableDiffusionImg2ImgPipeline(base.components), options: { image: goldenImages(tensors.begun) } }),
    inpaint: async () => ({ pipe: new StableDiffusionInpaintPipeline(base.components), options: { image: goldenImages(tensors.begun), maskImage: goldenImages(tensors.mask) } }),
    controlnet: async () => {
      const controlnet = await ControlNetModel.fromPretrained('spec/golden/pipelines/controlnet_0');
      return { pipe: new StableDiffusionControlNetPipeline({ ...base.components, controlnet }), options: { image: goldenImages(tensors.begun) }, owns: controlnet };
    },
    lcm: async () => {
      const unet = new UNet2DConditionModel({ ...base.unet.config, time_cond_proj_dim: 10 });
      for (const [path, { shape }] of unet.parameterSpecs()) {
        unet.setParameter(path, path.includes('cond_proj') ? tf.fill([...shape], 0.1) : tf.clone(base.unet.getParameter(path)));
      }
      return { pipe: new LatentConsistencyModelPipeline({ ...base.components, unet, scheduler: LCMScheduler.fromConfig(base.scheduler.config) }), owns: unet };
    },
    xl: async () => ({ pipe: xl }),
    xl_img2img: async () => ({ pipe: new StableDiffusionXLImg2ImgPipeline(xl.components), options: { image: goldenImages(tensors.begun) } }),
  };

  for (const [family, cases] of Object.entries(meta.cases as Record<string, Record<string, Case>>)) {
    for (const [name, options] of Object.entries(cases)) {
      it(`draw what diffusers draws, ${family}, ${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
        const { pipe, options: own, owns } = await families[family]();
        quiet(pipe);
        await pipe.loadIpAdapter(FOLDER, { weightName: options.files });
        if (options.scale !== undefined) await pipe.setIpAdapterScale(options.scale);
        const led = leading(`${family}/${name}`, options);
        const { negativePrompt, guidanceRescale, ...common } = commonOptions(options);
        assert.deepEqual([negativePrompt, guidanceRescale], [undefined, undefined]);
        const [height, width] = options.size ?? [];
        const given = defined({ ...common, ...own, ...led, height, width, strength: options.strength });
        const { images } = await pipe.generate((meta.prompts as string[]).slice(0, options.prompts ?? 1), given as never) as unknown as { images: tf.Tensor };
        expectClose(images, tensors[`${family}/${name}/out`], close);
        await pipe.unloadIpAdapter();
        owns?.dispose();
        return [images, led.ipAdapterImageEmbeds ?? []];
      }));
    }
  }

  const drawn = async (pipe: StableDiffusionPipeline, options: object = {}) => {
    const { images } = await pipe.generate('a star', { numInferenceSteps: 3, generator: seeded(1), outputType: 'latent', ipAdapterImage: picture(3, 20, 20), ...options });
    return images;
  };

  it('compile, offload, slice and cache to the same effect, also when loaded after', () => expectNoLeak(async () => {
    await base.loadIpAdapter(FOLDER, { weightName: 'plus.safetensors' });
    const expected = await drawn(base);
    const values = valuesOf(expected);
    await base.unloadIpAdapter();
    for (const use of [
      (pipe: StableDiffusionPipeline) => pipe.compile({ xla: false }),
      (pipe: StableDiffusionPipeline) => pipe.enableModelCpuOffload(),
      (pipe: StableDiffusionPipeline) => pipe.enableSequentialCpuOffload(),
      (pipe: StableDiffusionPipeline) => pipe.enableAttentionSlicing('max'),
      (pipe: StableDiffusionPipeline) => pipe.enableDeepCache({ cacheInterval: 1 }),
    ]) {
      const loaded = quiet(await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false }));
      if (device !== 'wasm' || !String(use).includes('compile')) use(loaded);
      await loaded.loadIpAdapter(FOLDER, { weightName: 'plus.safetensors' });
      for (let picture = 0; picture < 2; picture++) {
        const latents = await drawn(loaded);
        expectClose(latents, values, close);
        latents.dispose();
      }
      await loaded.setIpAdapterScale(0.5); // a graph stays, and takes the new scale
      const [weaker, plain] = [await drawn(loaded), await (await loaded.unloadIpAdapter(), drawn(loaded, { ipAdapterImage: undefined }))];
      assert.notDeepEqual(weaker.dataSync(), values.data);
      assert.notDeepEqual(weaker.dataSync(), plain.dataSync());
      tf.dispose([weaker, plain]);
      loaded.dispose();
    }
    return expected;
  }));

  it('go on without guidance after a share of the steps, and with halves', () => expectNoLeak(async () => {
    await base.loadIpAdapter(FOLDER, { weightName: ['base.bin', 'full.bin'] });
    const images = [picture(1, 20, 30), [picture(2, 30, 20), picture(3, 12, 12)]];
    const [led, stopped] = [await drawn(base, { ipAdapterImage: images }), await drawn(base, { ipAdapterImage: images, guidanceStop: 0.4 })];
    assert.notDeepEqual(led.dataSync(), stopped.dataSync());
    await base.unloadIpAdapter();
    const half = quiet(await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false, dtype: 'float16' }));
    await half.loadIpAdapter(FOLDER, { weightName: ['base.bin', 'full.bin'] });
    assert.equal(half.imageEncoder!.weightDtype, 'float16');
    const halves = await drawn(half, { ipAdapterImage: images });
    expectClose(halves, valuesOf(led), { atol: 0.2, rtol: 0.1 });
    half.dispose();
    return [led, stopped, halves];
  }));

  it('read a picture once, and make its tokens once, not at each step', () => expectNoLeak(async () => {
    await base.loadIpAdapter(FOLDER, { weightName: 'base.bin' });
    let [reads, projections] = [0, 0];
    const [encode, project] = [base.imageEncoder!.forward, base.unet.ipAdapters!.forward];
    base.imageEncoder!.forward = function (...inputs) {
      reads++;
      return encode.apply(this as CLIPVisionModelWithProjection, inputs);
    };
    base.unet.ipAdapters!.forward = function (...inputs) {
      projections++;
      return project.apply(this as IPAdapters, inputs);
    };
    const latents = await drawn(base, { numInferenceSteps: 5 });
    assert.deepEqual([reads, projections], [1, 1]);
    await base.unloadIpAdapter();
    return latents;
  }));

  it('share the adapter with the pipelines of the same networks', () => expectNoLeak(async () => {
    await base.loadIpAdapter(FOLDER, { weightName: 'base.bin' });
    const other = quiet(new StableDiffusionImg2ImgPipeline(base.components));
    assert.equal(other.imageEncoder, base.imageEncoder);
    const { images } = await other.generate('a star', { image: picture(1, 16, 16), ipAdapterImage: picture(1, 16, 16), numInferenceSteps: 3, outputType: 'latent' });
    await other.unloadIpAdapter();
    assert.equal(base.unet.ipAdapters, undefined);
    assert.ok(base.imageEncoder!.isDisposed);
    await base.loadIpAdapter(FOLDER, { weightName: 'base.bin' });
    assert.ok(!base.imageEncoder!.isDisposed);
    const latents = await drawn(base);
    await base.unloadIpAdapter();
    return [images, latents];
  }));

  it('take an image encoder that is given, which stays, or do without one', () => expectNoLeak(async () => {
    const imageEncoder = await CLIPVisionModelWithProjection.fromPretrained(FOLDER, { subfolder: 'image_encoder' });
    const own = quiet(new StableDiffusionPipeline({ ...base.components, imageEncoder }));
    await own.loadIpAdapter(FOLDER, { weightName: 'base.bin' });
    const first = await drawn(own);
    await own.unloadIpAdapter();
    own.imageEncoder = imageEncoder;
    await own.loadIpAdapter(`${FOLDER}/base.bin`);
    const second = await drawn(own);
    assert.deepEqual(first.dataSync(), second.dataSync());
    await own.unloadIpAdapter();
    imageEncoder.dispose();
    await base.loadIpAdapter('spec/golden/pipelines', { subfolder: 'ip_adapter', weightName: 'base.bin', imageEncoderFolder: null });
    assert.equal(base.imageEncoder, undefined);
    await assert.rejects(drawn(base), /ipAdapterImage: takes an image encoder to read it, and there is none/);
    await base.loadIpAdapter('spec/golden/pipelines', { subfolder: 'ip_adapter', weightName: 'base.bin' });
    const third = await drawn(base);
    assert.deepEqual(first.dataSync(), third.dataSync());
    await base.unloadIpAdapter();
    return [first, second, third];
  }));

  it('say what does not fit, before any work', () => expectNoLeak(async () => {
    const refused = (message: RegExp, options: object = {}) => assert.rejects(drawn(base, options), message);
    await refused(/^TypeError: ipAdapterImage: takes nothing without an IP-Adapter; call loadIpAdapter first$/);
    await refused(/^TypeError: ipAdapterMasks: takes nothing without an IP-Adapter/, { ipAdapterImage: undefined, ipAdapterMasks: [] });
    await assert.rejects(base.setIpAdapterScale(1), /setIpAdapterScale: there is no IP-Adapter; call loadIpAdapter first/);
    await assert.rejects(base.loadIpAdapter(FOLDER), /takes a weightName, which says which file it is/);
    await assert.rejects(base.loadIpAdapter(FOLDER, { weightName: 'none.bin' }), /has no none\.bin/);
    await assert.rejects(base.loadIpAdapter(FOLDER, { weightName: ['base.bin', 'full.bin'], subfolder: ['', '', ''] }), /weightName: got \[base\.bin, full\.bin\], takes one, or a list of 3/);
    await assert.rejects(base.loadIpAdapter(FOLDER, { weightName: 'xl_base.safetensors' }), /is for another UNet: it has \d+ attentions, takes 4/);
    await assert.rejects(base.loadIpAdapter(FOLDER, { weightName: 'base.bin', imageEncoderFolder: 'nowhere' }), /nowhere\/config\.json/);
    assert.equal(base.unet.ipAdapters, undefined);

    await base.loadIpAdapter(FOLDER, { weightName: 'base.bin' });
    const [image, two] = [picture(1, 16, 16), tf.zeros([2, 1, 10])];
    await refused(/ipAdapterImage: got neither ipAdapterImage nor ipAdapterImageEmbeds, takes one of the two while an IP-Adapter is loaded/, { ipAdapterImage: undefined });
    await refused(/ipAdapterImage: got both/, { ipAdapterImageEmbeds: [two] });
    await refused(/ipAdapterImage: got a list of 2, takes 1 pictures, or lists of such, one for each IP-Adapter/, { ipAdapterImage: [image, image] });
    await refused(/ipAdapterImage: got 'x', takes an Image, or for each IP-Adapter one or a list of them/, { ipAdapterImage: 'x' });
    await refused(/ipAdapterImage: got \[\], takes an Image/, { ipAdapterImage: [[]] });
    await refused(/ipAdapterImage: got shape \[2, 1, 10\], takes \[\*, 12, 12, 3\]/, { ipAdapterImage: two });
    await refused(/ipAdapterImageEmbeds: got shape \[2, 1, 10\], takes \[1, \*, 10\]/, { ipAdapterImage: undefined, ipAdapterImageEmbeds: [two], guidanceScale: 1 });
    await refused(/ipAdapterImageEmbeds: got .*, takes a list of tensors/, { ipAdapterImage: undefined, ipAdapterImageEmbeds: two });
    await refused(/ipAdapterMasks: got 2 masks for IP-Adapter 0, takes 1, one for each of its pictures/, { ipAdapterMasks: [[image, image]] });
    await refused(/ipAdapterMasks: got a list of 2, takes 1/, { ipAdapterMasks: [image, image] });
    await refused(/ipAdapterMasks: got 'x', takes an Image/, { ipAdapterMasks: ['x'] });
    base.enableTokenMerging({ mergeCrossattn: true });
    await refused(/ipAdapterMasks: does not go together with enableTokenMerging/, { ipAdapterMasks: [image] });
    base.disableTokenMerging();
    await assert.rejects(base.setIpAdapterScale([1, 1]), /scale: got a list of 2, takes 1, one for each IP-Adapter/);
    await assert.rejects(base.setIpAdapterScale('1' as never), /scale: got '1', takes a number/);
    await assert.rejects(base.setIpAdapterScale({ up: { block_0: 1 } }), /scale\.up: got the key 'block_0', takes 'block_1'/);
    await assert.rejects(base.setIpAdapterScale([[]]), /scale: got an empty list/);
    await base.setIpAdapterScale([[0.5, 0.7]]);
    await refused(/ipAdapterMasks: got no masks for IP-Adapter 0, takes 2, one for each number of setIpAdapterScale/, { ipAdapterImage: [[image, image]] });
    await refused(/ipAdapterMasks: got 1 masks for IP-Adapter 0, takes 2/, { ipAdapterMasks: [image] });
    base.imageEncoder!.dispose();
    const other = base.imageEncoder = new CLIPVisionModelWithProjection({ projection_dim: 11, num_hidden_layers: 1 });
    await refused(/imageEncoder: gives 11 features, the IP-Adapter takes 10: it is for another image encoder/);
    await base.unloadIpAdapter();
    other.dispose();
    return two;
  }));
});
