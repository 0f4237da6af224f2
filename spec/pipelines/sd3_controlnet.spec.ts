import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Image } from '../../lib/image/image.js';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { SD3ControlNetModel } from '../../lib/models/sd3_controlnet.js';
import { SD3MultiControlNetModel, type SD3ControlNets } from '../../lib/models/sd3_multi_controlnet.js';
import type { ControlImages } from '../../lib/pipelines/controlnet/picture_control.js';
import {
  AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image, DiffusionPipeline, StableDiffusion3ControlNetInpaintingPipeline,
  StableDiffusion3ControlNetPipeline, StableDiffusion3Pipeline, StableDiffusionControlNetPipeline, StableDiffusionPipeline,
} from '../../lib/pipelines/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden, type Golden } from '../support/golden.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { commonOptions, defined, expectImages, goldenImages, seeded, TINY, TINY_SD3, type ControlCase } from '../support/tiny_pipeline.js';
import { goldenTensor } from '../support/weights.js';

/** Options of a case in the words of golden/parts/sd3_controlnet.py. */
interface Case extends Omit<ControlCase, 'nets' | 'pictures'> {
  nets: string[];
  prompt_2?: string;
  pooled?: number;
}

const NETS = ['zeros', 'text', 'image_0', 'image_1', 'masked'];
const folderOf = (name: string) => `spec/golden/pipelines/controlnet_sd3_${name}`;
const close = { atol: 5e-4, rtol: 5e-4 };

describeOnDevices("ControlNets in Stable Diffusion 3's pipelines", device => {
  const folder = temporaryFolder();
  const nets: Record<string, SD3ControlNetModel> = {};
  let base: StableDiffusion3Pipeline;
  before(async () => {
    base = await StableDiffusion3Pipeline.fromPretrained(TINY_SD3, { device, compile: false });
    for (const name of NETS) nets[name] = await SD3ControlNetModel.fromPretrained(folderOf(name));
  });
  after(() => {
    base.dispose();
    Object.values(nets).forEach(net => net.dispose());
  });

  type Class<P> = new (components: StableDiffusion3ControlNetPipeline['components']) => P;
  const pipeline = <P extends StableDiffusion3ControlNetPipeline>(Class: Class<P>, controlnet: SD3ControlNets): P => {
    const pipe = new Class({ ...base.components, controlnet });
    pipe.setProgressBarConfig({ disable: true });
    return pipe;
  };
  const netsOf = (names: readonly string[]) =>
    names.length === 1 ? nets[names[0]] : new SD3MultiControlNetModel(names.map(name => nets[name]));
  const steeredBy = (...names: string[]) => pipeline(StableDiffusion3ControlNetPipeline, netsOf(names));
  const casesOf = (golden: Golden) => Object.entries(golden.meta.cases as Record<string, [string | string[], Case]>);

  /** What a golden's case is in our words; without the pictures that a pipeline gives the picture's name. */
  const optionsOf = (options: Case) => defined({
    ...commonOptions(options), height: options.height ?? 8, width: options.width ?? 8, prompt2: options.prompt_2,
    controlnetConditioningScale: options.scale, controlGuidanceStart: options.start, controlGuidanceEnd: options.end,
  });
  const picturesOf = ({ tensors }: Golden, name: string, { nets }: Case): ControlImages => {
    const given = nets.map((_, n) => goldenImages(tensors[`${name}/picture/${n}`])).map(each => each.length > 1 ? each : each[0]);
    return nets.length > 1 ? given : given[0];
  };

  /** Latents within rounding, and of the first case pictures within 2 of 255. */
  async function expectGolden(
    golden: Golden, name: string, { pooled }: Case,
    make: (given: { controlnetPooledProjections?: tf.Tensor; outputType: 'latent' | 'image' }) => Promise<{ images: unknown }>,
  ): Promise<void> {
    const { tensors } = golden;
    await expectNoLeak(async () => {
      const controlnetPooledProjections = pooled === undefined ? undefined : goldenTensor(golden, `${name}/pooled`);
      const { images } = await make({ controlnetPooledProjections, outputType: 'latent' });
      expectClose(images as tf.Tensor, tensors[`${name}/out`], close);
      return [images as tf.Tensor, ...controlnetPooledProjections ? [controlnetPooledProjections] : []];
    });
    if (name !== 'default') return;
    await expectNoLeak(async () => {
      expectImages((await make({ outputType: 'image' })).images as Image[], tensors[`${name}/pictures`]);
      return [];
    });
  }

  const text2img = loadGolden('pipelines/sd3_controlnet');
  for (const [name, [prompt, options]] of casesOf(text2img)) {
    it(`draws what diffusers draws, ${name}: ${JSON.stringify(options)}`, () => {
      const pipe = steeredBy(...options.nets);
      const controlImage = picturesOf(text2img, name, options);
      return expectGolden(text2img, name, options, given => pipe.generate(prompt, { ...optionsOf(options), controlImage, ...given }));
    });
  }

  const inpainting = loadGolden('pipelines/sd3_controlnet_inpainting');
  for (const [name, [prompt, options]] of casesOf(inpainting)) {
    it(`paints what diffusers paints, ${name}: ${JSON.stringify(options)}`, () => {
      const pipe = pipeline(StableDiffusion3ControlNetInpaintingPipeline, netsOf(options.nets));
      const controlImage = picturesOf(inpainting, name, options);
      const controlMask = goldenImages(inpainting.tensors[`${name}/mask`]);
      return expectGolden(inpainting, name, options,
        given => pipe.generate(prompt, { ...optionsOf(options), controlImage, controlMask, ...given }));
    });
  }

  const [controlImage] = goldenImages(text2img.tensors['default/picture/0']);
  const shared = { height: 8, width: 8, numInferenceSteps: 2, outputType: 'latent' } as const;

  it('steers: a picture that is steered by nothing is the plain one, and a generator gives it again', () => expectNoLeak(async () => {
    const { images: plain } = await base.generate('a star', { ...shared, generator: seeded(1) });
    const draw = async (controlnetConditioningScale: number) =>
      (await steeredBy('text').generate('a star', { ...shared, controlImage, controlnetConditioningScale, generator: seeded(1) })).images;
    const [none, once, again] = [await draw(0), await draw(1), await draw(1)];
    assert.deepEqual(none.dataSync(), plain.dataSync());
    assert.deepEqual(once.dataSync(), again.dataSync());
    assert.notDeepEqual(once.dataSync(), plain.dataSync());
    return [plain, none, once, again];
  }));

  it('saves one and several, opens them, slices, offloads and compiles, to the same effect', () => expectNoLeak(async () => {
    for (const names of [['text'], ['image_0', 'image_1']]) {
      const own = steeredBy(...names);
      const given = names.length > 1 ? [controlImage, controlImage] : controlImage;
      const draw = async (pipe: StableDiffusion3ControlNetPipeline) =>
        (await pipe.generate('a star', { ...shared, controlImage: given, generator: seeded(1) })).images;
      const expected = await draw(own);
      const values = { shape: expected.shape, data: expected.dataSync() };
      const path = join(folder(), names.join('-'));
      await own.savePretrained(path);
      const loaded = await DiffusionPipeline.fromPretrained(path, { device, compile: false }) as unknown as StableDiffusion3ControlNetPipeline;
      assert.deepEqual([loaded.constructor, loaded.controlnet.constructor], [own.constructor, own.controlnet.constructor]);
      loaded.setProgressBarConfig({ disable: true });
      for (const use of [
        () => loaded.enableAttentionSlicing('max'), () => loaded.enableModelCpuOffload(), () => loaded.enableSequentialCpuOffload(),
        () => loaded.removeAllHooks(), () => device !== 'wasm' && loaded.compile({ xla: false }),
      ]) {
        use();
        const latents = await draw(loaded);
        expectClose(latents, values, close);
        latents.dispose();
      }
      loaded.dispose();
      expected.dispose();
    }
    return [];
  }));

  it('knows by its weights that it sees a mask, where its config leaves it out, and saves that', () => expectNoLeak(async () => {
    const path = join(folder(), 'masked');
    cpSync(folderOf('masked'), path, { recursive: true });
    const { extra_conditioning_channels, ...config } = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'));
    assert.equal(extra_conditioning_channels, 1);
    writeFileSync(join(path, 'config.json'), JSON.stringify(config));
    const net = await SD3ControlNetModel.fromPretrained(path);
    assert.deepEqual(net.config, nets.masked.config);
    assert.equal(net.fileConfig.extra_conditioning_channels, 1);
    net.dispose();
    return [];
  }));

  it('is what AutoPipelines make where there is a ControlNet, as in diffusers', () => {
    const controlnet = nets.text;
    const made = AutoPipelineForText2Image.fromPipe<StableDiffusion3ControlNetPipeline>(base, { controlnet });
    assert.deepEqual([made.constructor, made.controlnet], [StableDiffusion3ControlNetPipeline, controlnet]);
    assert.equal(AutoPipelineForInpainting.fromPipe(made).constructor, StableDiffusion3ControlNetInpaintingPipeline);
    assert.equal(AutoPipelineForText2Image.fromPipe(made, { controlnet: undefined }).constructor, StableDiffusion3Pipeline);
    assert.equal(AutoPipelineForImage2Image.supports(made), false);
    assert.throws(() => AutoPipelineForImage2Image.fromPipe(made),
      /^RangeError: AutoPipelineForImage2Image: got 'StableDiffusion3ControlNetPipeline' with a ControlNet, takes one of the families of Stable/);
  });

  it('says what does not fit, before any work', () => expectNoLeak(async () => {
    const refused = (message: RegExp, options: object, names = ['text']) =>
      assert.rejects(steeredBy(...names).generate('a star', { ...shared, controlImage, ...options }), message);
    const paints = (message: RegExp, options: object, name = 'masked') =>
      assert.rejects(pipeline(StableDiffusion3ControlNetInpaintingPipeline, nets[name])
        .generate('a star', { ...shared, controlImage, controlMask: controlImage, ...options }), message);
    await refused(/^TypeError: controlImage: got undefined, takes an Image, a list of them or a tensor \[images, height, width, 3\]$/, { controlImage: undefined });
    await refused(/^TypeError: controlImage: got .*, takes a list of 2, one for each ControlNet$/, {}, ['image_0', 'image_1']);
    await refused(/^RangeError: controlImage: got 3 pictures, takes 1 or 1, one for each prompt$/, { controlImage: [controlImage, controlImage, controlImage] });
    await refused(/^TypeError: generate: there is no option 'skipGuidanceLayers'/, { skipGuidanceLayers: [1] });
    await refused(/^RangeError: controlnet: extra_conditioning_channels: got 1, takes 0; this one is for StableDiffusion3ControlNetInpaintingPipeline$/, {}, ['masked']);
    await paints(/^RangeError: controlnet: extra_conditioning_channels: got 0, takes 1; this one is for StableDiffusion3ControlNetPipeline$/, {}, 'zeros');
    await paints(/^TypeError: controlMask: got undefined, takes an Image, a list of them or a tensor \[images, height, width, 1\]$/, { controlMask: undefined });
    await paints(/^RangeError: controlMask: got 2 pictures, takes 1 or 1, one for each prompt$/, { controlMask: [controlImage, controlImage] });
    const told = tf.zeros([1, 20]);
    const wide = tf.zeros([1, 21]);
    await refused(/^TypeError: controlnetPooledProjections: got a tensor, takes none with a ControlNet that is told zeros/, { controlnetPooledProjections: told }, ['zeros']);
    await refused(/^RangeError: controlnetPooledProjections: got shape \[1, 21\], takes \[1, 20\]$/, { controlnetPooledProjections: wide });
    tf.dispose([told, wide]);
    const config = { ...nets.text.config };
    const other = new SD3ControlNetModel({ ...config, pooled_projection_dim: 24 });
    assert.throws(() => new SD3MultiControlNetModel([nets.text, nets.zeros]),
      /^RangeError: controlnet: force_zeros_for_pooled_projection: got false and true, takes the same of all$/);
    await assert.rejects(pipeline(StableDiffusion3ControlNetPipeline, other).generate('a star', { controlImage }),
      /^RangeError: controlnet: pooled_projection_dim: got 24, takes 20, as the transformer has it$/);
    const larger = new SD3ControlNetModel({ ...config, num_attention_heads: 4, caption_projection_dim: 32 });
    await assert.rejects(pipeline(StableDiffusion3ControlNetPipeline, larger).generate('a star', { controlImage }),
      /^RangeError: controlnet: has 32 features of each patch, the transformer has 16$/);
    assert.throws(() => pipeline(StableDiffusion3ControlNetPipeline, Object.values(nets) as never),
      /^TypeError: controlnet: got .*, takes new SD3MultiControlNetModel\(\[\.\.\.\]\) of several$/);
    return [];
  }));

  it('is not taken for a ControlNet of a UNet, nor the other way', () => expectNoLeak(async () => {
    const unets = await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false });
    const net = await ControlNetModel.fromPretrained('spec/golden/pipelines/controlnet_0');
    assert.throws(() => new StableDiffusionControlNetPipeline({ ...unets.components, controlnet: nets.text as never }),
      /^TypeError: controlnet: got SD3ControlNetModel, takes one by ControlNetModel\.fromPretrained\(\.\.\.\); StableDiffusion3ControlNetPipeline takes this one$/);
    assert.throws(() => pipeline(StableDiffusion3ControlNetPipeline, net as never),
      /^TypeError: controlnet: got ControlNetModel, takes one by SD3ControlNetModel\.fromPretrained\(\.\.\.\)$/);
    net.dispose();
    unets.dispose();
    return [];
  }));
});
