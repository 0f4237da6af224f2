import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import type { Generator } from '../../lib/core/random.js';
import { Image } from '../../lib/image/image.js';
import { AutoencoderTiny } from '../../lib/models/autoencoder_tiny.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { toMask } from '../../lib/pipelines/inputs/image_input.js';
import { cropAndFill, overlay } from '../../lib/image/fit.js';
import { describeModel } from '../../lib/pipelines/describe_model.js';
import { cropRegion } from '../../lib/pipelines/inputs/mask_crop.js';
import { StableDiffusionImg2ImgPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js';
import { StableDiffusionInpaintPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_inpaint.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { goldenImages, seeded, TINY, TINY_INPAINT_UNET } from '../support/tiny_pipeline.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

interface DrawCase {
  unet: 'four' | 'nine';
  strength?: number;
  latents?: boolean;
  masked?: 3 | 4;
  image?: 'latents';
  images?: number;
  masks?: number;
  vae?: 'tiny';
}

type CropCase = [size: [number, number], box: number[], padding: number, work: [height: number, width: number]];

const golden = loadGolden('pipelines/inpaint_draws');
const pipelines = loadGolden('pipelines/inpaint');
const meta = golden.meta as { draws: Record<string, DrawCase>; mask_modes: string[]; crops: Record<string, CropCase>; painted: Record<string, DrawCase & { num_images_per_prompt?: number }> };
const imageOf = (name: string) => goldenImages(golden.tensors[name])[0];
const close = { atol: 5e-4, rtol: 5e-4 };

/** The generator has drawn as much as in diffusers. */
function expectNext(generator: Generator, name: string): void {
  expectClose({ shape: [3], data: generator.randn(3) }, golden.tensors[name]);
}

describe('cropRegion, cropAndFill and overlay equal diffusers', () => {
  for (const [name, [, , padding, [height, width]]] of Object.entries(meta.crops)) {
    it(name, () => {
      const [image, mask, made] = ['image', 'mask', 'made'].map(key => imageOf(`crop_${name}/${key}`));
      const box = cropRegion(mask, width, height, padding);
      const [left, top, right, bottom] = Array.from(golden.tensors[`crop_${name}/region`].data);
      assert.deepEqual(box, { left, top, width: right - left, height: bottom - top });
      assert.deepEqual(cropAndFill(image, box, width, height), imageOf(`crop_${name}/filled`));
      assert.deepEqual(cropAndFill(mask, box, width, height), imageOf(`crop_${name}/filled_mask`));
      assert.deepEqual(overlay(made, image, mask, box), imageOf(`crop_${name}/over`));
    });
  }
});

describeOnDevices('StableDiffusionInpaintPipeline', device => {
  let pipe: StableDiffusionInpaintPipeline;
  let unets: Record<string, UNet2DConditionModel>;
  let vaes: Record<string, StableDiffusionInpaintPipeline['vae']>;
  const [image] = goldenImages(pipelines.tensors['pndm/image']);
  const [mask] = goldenImages(pipelines.tensors['pndm/mask']);
  const inverted = new Image(mask.data.map(value => 255 - value), mask.width, mask.height);
  before(async () => {
    pipe = await StableDiffusionInpaintPipeline.fromPretrained(TINY, { device });
    pipe.setProgressBarConfig({ disable: true });
    const tiny = new AutoencoderTiny({
      encoder_block_out_channels: [8, 8], decoder_block_out_channels: [8, 8], num_encoder_blocks: [1, 1], num_decoder_blocks: [1, 1],
    });
    setTorchWeights(tiny, golden, 'vae/');
    unets = { four: pipe.unet, nine: await UNet2DConditionModel.fromPretrained(TINY_INPAINT_UNET) };
    vaes = { full: pipe.vae, tiny };
  });
  beforeEach(() => {
    pipe.unet = unets.four;
    pipe.vae = vaes.full;
  });
  after(() => {
    pipe.dispose();
    [...Object.values(unets), ...Object.values(vaes)].forEach(network => network.dispose());
  });

  describe('encodes and draws what diffusers does', () => {
    for (const [name, options] of Object.entries(meta.draws)) {
      it(`${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
        pipe.unet = unets[options.unet];
        pipe.vae = vaes[options.vae ?? 'full'];
        const given = ['latents', 'image_latents', 'masked_latents', 'masked_pixels'].map(key => goldenTensor(golden, key));
        const [latents, imageLatents, maskedLatents, maskedPixels] = given;
        const generator = seeded(20);
        const { images } = await pipe.generate('a red star', {
          image: options.image ? imageLatents : [picture(0), picture(1)].slice(0, options.images ?? 1), maskImage: [mask, inverted].slice(0, options.masks ?? 1),
          latents: options.latents ? latents : undefined, maskedImageLatents: options.masked && (options.masked === 4 ? maskedLatents : maskedPixels),
          strength: options.strength, numImagesPerPrompt: Math.max(options.images ?? 1, options.masks ?? 1), numInferenceSteps: 4, generator, outputType: 'latent',
        });
        expectClose(images, golden.tensors[`${name}/out`], close);
        expectNext(generator, `${name}/next`);
        return [images, ...given];
      }));
    }

    it('from a picture that the tiny autoencoder encodes, which draws nothing', () => expectNoLeak(async () => {
      const img2img = new StableDiffusionImg2ImgPipeline({ ...pipe.components, vae: vaes.tiny });
      img2img.setProgressBarConfig({ disable: true });
      const generator = seeded(22);
      const { images } = await img2img.generate('a red star', { image: picture(0), strength: 0.5, numInferenceSteps: 4, generator, outputType: 'latent' });
      expectClose(images, golden.tensors['img2img_tiny_vae/out'], close);
      expectNext(generator, 'img2img_tiny_vae/next');
      return images;
    }));
  });

  for (const mode of meta.mask_modes) {
    it(`resizes masks of mode ${mode} as diffusers does`, () => expectNoLeak(async () => {
      const resized = toMask(await Image.fromPng(Uint8Array.from(golden.tensors[`mask_${mode}/png`].data)), 16, 20);
      expectClose(resized, golden.tensors[`mask_${mode}/out`]);
      return resized;
    }));
  }

  for (const [name, { unet, num_images_per_prompt: numImagesPerPrompt, strength }] of Object.entries(meta.painted)) {
    it(`paints the part ${name} alone, by paddingMaskCrop`, () => expectNoLeak(async () => {
      const [, , paddingMaskCrop, [height, width]] = meta.crops[name];
      pipe.unet = unets[unet];
      const { images } = await pipe.generate('a road and a tree on it', {
        image: imageOf(`crop_${name}/image`), maskImage: imageOf(`crop_${name}/mask`), paddingMaskCrop, height, width, strength, numImagesPerPrompt,
        numInferenceSteps: 3, generator: seeded(21),
      });
      const expected = goldenImages(golden.tensors[`crop_${name}/out`]);
      assert.equal(images.length, expected.length);
      images.forEach((made, i) => {
        assert.deepEqual([made.width, made.height], [expected[i].width, expected[i].height]);
        expectClose({ shape: [made.data.length], data: made.data }, { shape: [made.data.length], data: expected[i].data }, { atol: 1, rtol: 0 });
        assert.match(made.text.parameters, /^a road and a tree on it\nSteps: 3/);
      });
      return [];
    }));
  }

  it('says what does not fit, before any work', () => expectNoLeak(async () => {
    const black = new Image(new Uint8Array(16 * 16 * 3), 16, 16);
    const [latents, pixels] = [tf.zeros([1, 8, 8, 4]), tf.zeros([1, 16, 16, 3])];
    const rejects = async (options: object, message: RegExp) => assert.rejects(pipe.generate('a', { image, maskImage: mask, ...options }), message);
    await rejects({ paddingMaskCrop: -1 }, /RangeError: paddingMaskCrop: got -1, takes a whole number, 0 or more/);
    await rejects({ paddingMaskCrop: 1, image: [image] }, /TypeError: image: takes one Image with paddingMaskCrop 1, got \[/);
    await rejects({ paddingMaskCrop: 1, maskImage: [mask] }, /TypeError: maskImage: takes one Image with paddingMaskCrop 1/);
    await rejects({ paddingMaskCrop: 1, maskImage: new Image(new Uint8Array(3), 1, 1) }, /RangeError: maskImage: got 1 x 1 pixels, takes the image's 16 x 16 with paddingMaskCrop 1/);
    await rejects({ paddingMaskCrop: 1, outputType: 'latent' }, /RangeError: outputType: got 'latent', takes 'image' with paddingMaskCrop 1/);
    await rejects({ paddingMaskCrop: 1, maskImage: black }, /RangeError: maskImage: is black all over, takes one with a part to change/);
    assert.deepEqual(describeModel(pipe).tasks, ['text', 'image', 'mask']);
    pipe.unet = unets.nine;
    assert.deepEqual(describeModel(pipe).tasks, ['mask']);
    await rejects({ image: latents }, /TypeError: maskedImageLatents: got undefined, takes them where image is latents and the model sees what is around it/);
    pipe.unet = unets.four;
    await rejects({ maskedImageLatents: latents, height: 18 }, /RangeError: maskedImageLatents: got shape \[1, 8, 8, 4\], takes \[\*, 9, 8, 4\]/);
    await rejects({ maskedImageLatents: pixels, width: 18 }, /RangeError: maskedImageLatents: got shape \[1, 16, 16, 3\], takes \[\*, 16, 18, 3\]/);
    await rejects({ image: [image, image], maskImage: [mask, mask, mask, mask], numImagesPerPrompt: 4 }, /RangeError: maskImage: got 4 for 2 of image, takes as many, or one of either/);
    return [latents, pixels];
  }));
});

/** The smooth pictures of golden/parts/pipelines.py. */
function picture(seed: number): Image {
  return new Image(Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => {
    const [c, x, y] = [i % 3, Math.floor(i / 3) % 16 / 16, Math.floor(i / 48) / 16];
    const value = 127.5 + 127.5 * Math.sin(seed + 7 * (c + 1) * x + 5 * (seed + c) * y);
    return Math.round(value);
  }), 16, 16);
}
