import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { Image } from '../../lib/image/image.js';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { ControlNetUnionModel } from '../../lib/models/controlnet_union.js';
import { MultiControlNetUnionModel } from '../../lib/models/multi_controlnet_union.js';
import type { ControlImages } from '../../lib/pipelines/controlnet/picture_control.js';
import {
  AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image, DiffusionPipeline, StableDiffusionControlNetPipeline,
  StableDiffusionPipeline, StableDiffusionXLControlNetImg2ImgPipeline, StableDiffusionXLControlNetPipeline, StableDiffusionXLControlNetUnionImg2ImgPipeline,
  StableDiffusionXLControlNetUnionInpaintPipeline, StableDiffusionXLControlNetUnionPipeline, StableDiffusionXLPipeline,
} from '../../lib/pipelines/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { commonOptions, defined, folderWith, goldenImages, seeded, TINY, TINY_UNION, TINY_XL, type ControlCase } from '../support/tiny_pipeline.js';

/** Options of a case in the words of golden/parts/controlnet_union.py. */
interface Case extends ControlCase {
  modes: number[];
}

const { tensors, meta } = loadGolden('pipelines/controlnet_union');
const close = { atol: 5e-4, rtol: 1e-4 };

describeOnDevices('Pipelines that a ControlNet-Union steers', device => {
  const folder = temporaryFolder();
  let xl: StableDiffusionXLPipeline;
  let nets: ControlNetUnionModel[];
  before(async () => {
    xl = await StableDiffusionXLPipeline.fromPretrained(TINY_XL, { device, compile: false });
    nets = await Promise.all([0, 1].map(() => ControlNetUnionModel.fromPretrained(TINY_UNION)));
  });
  after(() => {
    xl.dispose();
    nets.forEach(net => net.dispose());
  });

  const pipeline = (controlnet: ControlNetUnionModel | MultiControlNetUnionModel = nets[0], name = '') => {
    const Class = name.startsWith('img2img') ? StableDiffusionXLControlNetUnionImg2ImgPipeline
      : name.startsWith('inpaint') ? StableDiffusionXLControlNetUnionInpaintPipeline : StableDiffusionXLControlNetUnionPipeline;
    const pipe = new Class({ ...xl.components, controlnet });
    pipe.setProgressBarConfig({ disable: true });
    return pipe as StableDiffusionXLControlNetUnionPipeline;
  };
  const pictureOf = (seed = 0) => new Image(Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => (i * (seed + 3)) % 256), 16, 16);
  const shared = { numInferenceSteps: 2, outputType: 'latent' } as const;

  for (const [name, options] of Object.entries(meta.cases as Record<string, Case>)) {
    it(`equals diffusers, ${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const { modes, scale, start, end, guess_mode: guessMode, strength } = options;
      const pipe = pipeline(options.nets ? new MultiControlNetUnionModel(nets) : nets[0], name);
      const pictures = modes.map((_, i) => goldenImages(tensors[`${name}/control/${i}`])).map(each => each.length > 1 ? each : each[0]);
      const given = (key: string) => tensors[`${name}/${key}`] && goldenImages(tensors[`${name}/${key}`])[0];
      const { images } = await pipe.generate((meta.prompts as string[]).slice(0, options.pictures ?? 1), {
        ...defined({
          ...commonOptions(options), controlnetConditioningScale: scale, guessMode, controlGuidanceStart: start, controlGuidanceEnd: end, strength,
          image: given('picture'), maskImage: given('mask'),
        }),
        controlImage: pictures as ControlImages, controlMode: modes, outputType: 'latent',
      });
      expectClose(images, tensors[`${name}/out`], close);
      return images;
    }));
  }

  it('takes one mode and one picture without lists', () => expectNoLeak(async () => {
    const draw = async (options: object) => (await pipeline().generate('a star', {
      ...shared, generator: seeded(1), controlImage: pictureOf(), controlMode: 3, ...options,
    })).images;
    const [plain, listed, mixed] = [await draw({}), await draw({ controlImage: [pictureOf()], controlMode: [3] }), await draw({ controlMode: [3] })];
    assert.deepEqual(listed.dataSync(), plain.dataSync());
    assert.deepEqual(mixed.dataSync(), plain.dataSync());
    return [plain, listed, mixed];
  }));

  it('loads as a pipeline, compiles and offloads, to the same effect', () => expectNoLeak(async () => {
    const draw = async (pipe: StableDiffusionXLControlNetUnionPipeline) => (await pipe.generate('a star', {
      ...shared, controlImage: [pictureOf(), pictureOf(1)], controlMode: [3, 7], generator: seeded(1),
    })).images;
    const expected = await draw(pipeline());
    const path = folderWith(join(folder(), 'whole'), {}, {
      _class_name: 'StableDiffusionXLControlNetUnionPipeline', controlnet: ['diffusers', 'ControlNetUnionModel'],
    }, TINY_XL);
    cpSync(TINY_UNION, join(path, 'controlnet'), { recursive: true });
    for (const use of [
      (pipe: StableDiffusionXLControlNetUnionPipeline) => pipe.compile({ xla: false }),
      (pipe: StableDiffusionXLControlNetUnionPipeline) => pipe.enableModelCpuOffload(),
      (pipe: StableDiffusionXLControlNetUnionPipeline) => pipe.enableSequentialCpuOffload(),
      (pipe: StableDiffusionXLControlNetUnionPipeline) => pipe.enableAttentionSlicing('max'),
    ]) {
      const pipe = await DiffusionPipeline.fromPretrained(path, { device, compile: false }) as unknown as StableDiffusionXLControlNetUnionPipeline;
      assert(pipe instanceof StableDiffusionXLControlNetUnionPipeline);
      pipe.setProgressBarConfig({ disable: true });
      if (device !== 'wasm' || !String(use).includes('compile')) use(pipe);
      const latents = await draw(pipe);
      expectClose(latents, { shape: expected.shape, data: expected.dataSync() }, close);
      latents.dispose();
      pipe.dispose();
    }
    return expected;
  }));

  it('opens a folder with several, as diffusers saves them', () => expectNoLeak(async () => {
    const path = folderWith(join(folder(), 'several'), {}, {
      _class_name: 'StableDiffusionXLControlNetUnionImg2ImgPipeline', controlnet: ['diffusers', 'MultiControlNetUnionModel'],
    }, TINY_XL);
    for (const name of ['controlnet', 'controlnet_1']) cpSync(TINY_UNION, join(path, name), { recursive: true });
    const pipe = await DiffusionPipeline.fromPretrained(path, { device, compile: false });
    assert(pipe instanceof StableDiffusionXLControlNetUnionImg2ImgPipeline && pipe.controlnet instanceof MultiControlNetUnionModel);
    assert.equal(pipe.controlnet.nets.length, 2);
    pipe.dispose();
    return [];
  }));

  it('is what AutoPipelines make where there is one, as in diffusers', async () => {
    const [controlnet] = nets;
    const made = AutoPipelineForText2Image.fromPipe(xl, { controlnet });
    assert.equal(made.constructor, StableDiffusionXLControlNetUnionPipeline);
    const img2img = AutoPipelineForImage2Image.fromPipe(made);
    assert.equal(img2img.constructor, StableDiffusionXLControlNetUnionImg2ImgPipeline);
    assert(AutoPipelineForInpainting.supports(img2img));
    assert.equal(AutoPipelineForInpainting.fromPipe(img2img).constructor, StableDiffusionXLControlNetUnionInpaintPipeline);
    assert.equal(AutoPipelineForText2Image.fromPipe(img2img, { controlnet: undefined }).constructor, StableDiffusionXLPipeline);
    const plain = await ControlNetModel.fromPretrained('spec/golden/pipelines/controlnet_xl');
    assert.equal(AutoPipelineForImage2Image.fromPipe(img2img, { controlnet: plain }).constructor, StableDiffusionXLControlNetImg2ImgPipeline);
    plain.dispose();
    const loaded = await AutoPipelineForText2Image.fromPretrained<StableDiffusionXLControlNetUnionPipeline>(TINY_XL, {
      device, compile: false, controlnet: await ControlNetUnionModel.fromPretrained(TINY_UNION),
    });
    assert.equal(loaded.constructor, StableDiffusionXLControlNetUnionPipeline);
    loaded.dispose();
  });

  it('says what does not fit, before any work', () => expectNoLeak(async () => {
    const several = new MultiControlNetUnionModel(nets);
    const image = pictureOf();
    const refused = (message: RegExp, options: object, controlnet?: ControlNetUnionModel | MultiControlNetUnionModel) =>
      assert.rejects(pipeline(controlnet).generate('a star', { controlImage: image, controlMode: 3, ...options }), message);
    await refused(/^RangeError: controlMode: got 8, takes a whole number, from 0 to 7$/, { controlMode: 8 });
    await refused(/^TypeError: controlMode: got undefined, takes a number, or a list with one for each picture$/, { controlMode: undefined });
    await refused(/^TypeError: controlMode: got \[1\], takes a list of 2, one for each ControlNet$/, { controlMode: [1], controlImage: [image, image] }, several);
    await refused(/^TypeError: controlImage: got a list of 1, takes a list of 2, one for each mode$/, { controlMode: [1, 2], controlImage: [image] });
    await refused(/^TypeError: controlImage: got a list of 2, takes a list of 1, one for each mode$/, { controlMode: [1], controlImage: [image, image] });
    await refused(/^RangeError: controlnetConditioningScale: got a list of 3, takes a number, or a list of 2, one for each mode$/,
      { controlMode: [1, 2], controlImage: [image, image], controlnetConditioningScale: [1, 2, 3] });
    await refused(/^TypeError: generate: there is no option 'image'/, { image });
    const base = await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false });
    const hint = 'StableDiffusionXLControlNetUnionPipeline and its relatives take this one';
    assert.throws(() => new StableDiffusionControlNetPipeline({ ...base.components, controlnet: nets[0] }),
      { name: 'TypeError', message: `controlnet: got ControlNetUnionModel, takes one by ControlNetModel.fromPretrained(...); ${hint}` });
    assert.throws(() => new StableDiffusionXLControlNetPipeline({ ...xl.components, controlnet: several }), { name: 'TypeError', message: /got MultiControlNetUnionModel, takes one by/ });
    assert.throws(() => AutoPipelineForText2Image.fromPipe(base, { controlnet: nets[0] }),
      /^RangeError: AutoPipelineForText2Image: got 'StableDiffusionPipeline' with a ControlNet-Union, takes one of the families of StableDiffusionXLPipeline$/);
    base.dispose();
    const plain = await ControlNetModel.fromPretrained('spec/golden/pipelines/controlnet_xl');
    assert.throws(() => pipeline(plain as never), /^TypeError: controlnet: got ControlNetModel, takes one by ControlNetUnionModel\.fromPretrained\(\.\.\.\)$/);
    assert.throws(() => pipeline(nets as never), /^TypeError: controlnet: got .*, takes new MultiControlNetUnionModel\(\[\.\.\.\]\) of several$/);
    await assert.rejects(new StableDiffusionXLControlNetPipeline({ ...xl.components, controlnet: plain }).generate('a star', { image, controlMode: 1 }),
      /^TypeError: controlMode: got 1, takes a ControlNetUnionModel as controlnet$/);
    plain.dispose();
    return [];
  }));
});
