import assert from 'node:assert/strict';
import { Image } from '../../lib/image/image.js';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { MultiControlNetModel } from '../../lib/models/multi_controlnet.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import type { ControlImages } from '../../lib/pipelines/controlnet/picture_control.js';
import {
  StableDiffusionControlNetInpaintPipeline, StableDiffusionPipeline, StableDiffusionXLControlNetImg2ImgPipeline, StableDiffusionXLControlNetInpaintPipeline,
  StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline,
} from '../../lib/pipelines/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { commonOptions, defined, goldenImages, TINY, TINY_INPAINT_UNET, TINY_XL, TINY_XL_UNETS, type PipelineCase } from '../support/tiny_pipeline.js';

/** Options of a case in the words of golden/parts/controlnet.py. */
interface Case extends Omit<PipelineCase, 'scheduler'> {
  nets?: number;
  scale?: number | number[];
  start?: number;
  end?: number;
  guess_mode?: boolean;
  denoising_end?: number;
  crop?: number;
}

const { tensors, meta } = loadGolden('pipelines/controlnet_edits');
const close = { atol: 5e-4, rtol: 1e-4 };

describeOnDevices('Pictures that ControlNets steer while they are changed', device => {
  let nets: ControlNetModel[];
  let xlNet: ControlNetModel;
  let base: StableDiffusionPipeline;
  let xl: StableDiffusionXLPipeline;
  let nine: UNet2DConditionModel;
  let xlNine: UNet2DConditionModel;
  before(async () => {
    base = await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false });
    xl = await StableDiffusionXLPipeline.fromPretrained(TINY_XL, { device, compile: false });
    [...nets] = await Promise.all([0, 1].map(i => ControlNetModel.fromPretrained(`spec/golden/pipelines/controlnet_${i}`)));
    xlNet = await ControlNetModel.fromPretrained('spec/golden/pipelines/controlnet_xl');
    nine = await UNet2DConditionModel.fromPretrained(TINY_INPAINT_UNET);
    xlNine = await UNet2DConditionModel.fromPretrained(TINY_XL_UNETS.nine);
  });
  after(() => [base, xl, ...nets, xlNet, nine, xlNine].forEach(each => each.dispose()));

  const pipelineOf = (name: string, { nets: count, unet }: Case) => {
    const components = { ...base.components, controlnet: count === 2 ? new MultiControlNetModel(nets) : nets[0], ...unet ? { unet: nine } : {} };
    const xlComponents = { ...xl.components, controlnet: xlNet, ...unet ? { unet: xlNine } : {} };
    const pipe = !name.startsWith('xl') ? new StableDiffusionControlNetInpaintPipeline(components)
      : name.includes('inpaint') ? new StableDiffusionXLControlNetInpaintPipeline(xlComponents)
      : name.includes('img2img') ? new StableDiffusionXLControlNetImg2ImgPipeline(xlComponents)
      : new StableDiffusionXLControlNetPipeline(xlComponents);
    pipe.setProgressBarConfig({ disable: true });
    return pipe as unknown as StableDiffusionControlNetInpaintPipeline;
  };

  for (const [name, options] of Object.entries(meta.cases as Record<string, Case>)) {
    it(`equals diffusers, ${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const pictures = Array.from({ length: options.nets ?? 1 }, (_, i) => goldenImages(tensors[`${name}/steering/${i}`])[0]);
      const steering = (pictures.length > 1 ? pictures : pictures[0]) as ControlImages;
      const [image, maskImage] = ['picture', 'mask'].map(key => goldenImages(tensors[`${name}/${key}`])[0]);
      const begins = /inpaint|img2img/.test(name);
      const { images } = await pipelineOf(name, options).generate(meta.prompt as string, defined({
        ...commonOptions(options), outputType: options.crop === undefined ? 'latent' : 'image', height: options.height, width: options.width,
        controlnetConditioningScale: options.scale, guessMode: options.guess_mode, controlGuidanceStart: options.start, controlGuidanceEnd: options.end,
        denoisingEnd: options.denoising_end, strength: options.strength, paddingMaskCrop: options.crop,
        image: begins ? image : steering, ...begins ? { controlImage: steering } : {}, ...name.includes('inpaint') ? { maskImage } : {},
      }) as never);
      if (options.crop === undefined) {
        expectClose(images as never, tensors[`${name}/out`], close);
        return images as never;
      }
      const [{ height, width }] = images as Image[];
      const data = (images as Image[]).flatMap(made => [...made.data]);
      expectClose({ shape: [images.length as number, height, width, 3], data }, tensors[`${name}/out`], { atol: 2, rtol: 0 });
      return [];
    }));
  }

  it('says what does not fit, before any work', () => expectNoLeak(async () => {
    const picture = (width: number, height: number) => new Image(new Uint8Array(width * height * 3).fill(200), width, height);
    const pipe = pipelineOf('inpaint', {} as Case);
    const refused = (message: RegExp, options: object) => assert.rejects(pipe.generate('a star', {
      image: picture(16, 16), maskImage: picture(16, 16), controlImage: picture(16, 16), ...options,
    }), message);
    await refused(/^TypeError: controlImage: got undefined, takes an Image/, { controlImage: undefined });
    await refused(/^RangeError: controlImage: got 8 x 16 pixels, takes the image's 16 x 16 with paddingMaskCrop 2$/, { controlImage: picture(8, 16), paddingMaskCrop: 2 });
    await refused(/^TypeError: controlImage: takes one Image with paddingMaskCrop 2, got \[/, { controlImage: [picture(16, 16)], paddingMaskCrop: 2 });
    await refused(/^TypeError: image: got undefined/, { image: undefined });
    return [];
  }));
});
