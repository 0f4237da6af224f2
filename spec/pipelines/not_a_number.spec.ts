import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Image } from '../../lib/image/image.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { StableDiffusionImg2ImgPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion_img2img.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { seeded, TINY } from '../support/tiny_pipeline.js';
import { captureWarnings } from '../support/warnings.js';

describeOnDevices('A picture of NaN', device => {
  let pipe: StableDiffusionPipeline;
  beforeEach(async () => {
    pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    pipe.setProgressBarConfig({ disable: true });
  });
  afterEach(() => pipe.dispose());

  const spoil = (network: 'unet' | 'vae' | 'textEncoder', path: string) =>
    pipe[network].setParameter(path, tf.fill(pipe[network].parameterSpecs().get(path)!.shape as number[], NaN));
  const spoilVae = () => spoil('vae', 'decoder.conv_out.bias');
  const spoilUnet = () => spoil('unet', 'conv_out.bias');
  const draw = (options = {}) => pipe.generate('a star', { numInferenceSteps: 3, generator: seeded(0), ...options });

  it('is warned of once, with what helps', async () => {
    spoilVae();
    const warnings = await captureWarnings(async () => {
      for (let i = 0; i < 2; i++) assert.ok((await draw()).images[0].data.every(value => value === 0));
    });
    assert.deepEqual(warnings, ['generate: 768 values of the picture are NaN and drawn black; its latents are numbers, so it is the VAE: it is in float32, and ' +
      'float32 or bfloat16 instead of float16 helps where numbers grow too large for it, as force_upcast in its config says of some; ' +
      "AutoencoderKL.fromPretrained(..., { dtype: 'float32' }) loads one to pass as vae"]);
  });

  it('of which the UNet is to blame says so, in every pipeline', async () => {
    spoilUnet();
    const img2img = new StableDiffusionImg2ImgPipeline(pipe.components);
    img2img.setProgressBarConfig({ disable: true });
    const image = new Image(new Uint8Array(16 * 16 * 3), 16, 16);
    const warnings = await captureWarnings(async () => {
      await draw();
      await img2img.generate('a star', { image, numInferenceSteps: 2 });
    });
    assert.equal(warnings.length, 2);
    for (const warning of warnings) {
      assert.match(warning, /^generate: 768 values of the picture are NaN and drawn black; so are its latents: the unet is in float32, and float32 or bfloat16 instead of float16 helps .*; detectAnomaly: true finds the step$/);
    }
  });

  it('is not warned of where there is none', async () => {
    assert.deepEqual(await captureWarnings(async () => void await draw()), []);
    const { images } = await draw({ detectAnomaly: true });
    assert.deepEqual(images[0].data, (await draw()).images[0].data);
  });

  it('throws on request, with the place where it began', async () => {
    await draw();
    await expectNoLeak(async () => {
      const throws = (message: RegExp, options = {}) => assert.rejects(draw({ detectAnomaly: true, ...options }), message);
      const steps: number[] = [];
      await throws(/^NotANumberError: generate: 256 of 256 values of the latents after step 3 of 4 \(timestep 334\) are NaN; the unet is in float32/, {
        callbackOnStepEnd: (_: unknown, step: number) => {
          steps.push(step);
          if (step === 1) spoilUnet();
        },
      });
      assert.deepEqual(steps, [0, 1]);
      pipe.unet.setParameter('conv_out.bias', tf.zeros([4]));
      spoilVae();
      for (const outputType of ['image', 'tensor']) {
        await throws(/^NotANumberError: generate: 768 values of the picture are NaN and drawn black; its latents are numbers, so it is the VAE/, { outputType });
      }
      return (await draw({ detectAnomaly: true, outputType: 'latent' })).images as unknown as tf.Tensor; // they are numbers
    });
    spoil('textEncoder', 'final_layer_norm.bias');
    await assert.rejects(draw({ detectAnomaly: true }), /^NotANumberError: generate: 2464 of 2464 values of the encoded text are NaN; the textEncoder is in float32/);
  });

  it('stays NaN as a tensor, on every device', () => expectNoLeak(async () => {
    spoilVae();
    const { images } = await draw({ outputType: 'tensor' });
    assert.ok((images as unknown as tf.Tensor).dataSync().every(Number.isNaN));
    return images as unknown as tf.Tensor;
  }));

  it('has the other pixels where a few are NaN', () => expectNoLeak(async () => {
    const counts: number[] = [];
    const pixels = tf.tensor4d([NaN, 0.2, 1, 0, NaN, 0.4], [1, 1, 2, 3]);
    const [image] = await Image.fromTensor(pixels, count => counts.push(count));
    assert.deepEqual([...image.data], [0, 51, 255, 0, 0, 102]);
    assert.deepEqual(counts, [2]);
    const good = tf.ones([1, 1, 2, 3]);
    await Image.fromTensor(good, () => assert.fail('none is NaN'));
    return [pixels, good];
  }));
});
