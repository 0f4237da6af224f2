import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Image } from '../../lib/image/image.js';
import { DiffusionPipeline, StableDiffusionLatentUpscalePipeline, StableDiffusionPipeline } from '../../lib/pipelines/index.js';
import { DDIMScheduler } from '../../lib/schedulers/ddim.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { editFolders } from '../support/edit_folders.js';
import { loadGolden } from '../support/golden.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { commonOptions, defined, goldenImages, seeded, TINY, type PipelineCase } from '../support/tiny_pipeline.js';
import { goldenTensor } from '../support/weights.js';

/** Options of a case in the words of golden/parts/k_unet.py. */
interface Case extends Omit<PipelineCase, 'scheduler'> {
  low?: number;
  embeds?: boolean;
  picture?: boolean;
}

const golden = loadGolden('pipelines/latent_upscale');
const { tensors, meta } = golden;
const close = { atol: 5e-4, rtol: 5e-4 };

describeOnDevices('StableDiffusionLatentUpscalePipeline equals diffusers', device => {
  const folder = temporaryFolder();
  const load = async (options: object = {}) => {
    const path = editFolders.latent_upscale(join(folder(), 'model'));
    const pipe = await DiffusionPipeline.fromPretrained(path, { device, compile: false, ...options }) as unknown as StableDiffusionLatentUpscalePipeline;
    pipe.setProgressBarConfig({ disable: true });
    return pipe;
  };
  const picture = (side = 16) => new Image(Uint8Array.from({ length: side * side * 3 }, (_, i) => (i * 5) % 256), side, side);

  for (const [name, [prompt, options]] of Object.entries(meta.cases as Record<string, [string | string[], Case]>)) {
    it(`${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const pipe = await load();
      assert.equal(pipe.constructor, StableDiffusionLatentUpscalePipeline);
      const given = (part: string) => tensors[`${name}/${part}`] && goldenTensor(golden, `${name}/${part}`);
      const image = options.low === undefined ? goldenImages(tensors[`${name}/image`]) : given('image');
      const common = commonOptions(options); // of which what it does not take is undefined
      const more = {
        latents: given('latents'), promptEmbeds: given('prompt_embeds'), negativePromptEmbeds: given('negative_prompt_embeds'),
        pooledPromptEmbeds: given('pooled_prompt_embeds'), negativePooledPromptEmbeds: given('negative_pooled_prompt_embeds'),
      };
      const { images } = await pipe.generate(options.embeds ? undefined : prompt, {
        image, ...defined({ ...common, ...more, ...options.picture && { outputType: 'tensor' } }),
      });
      expectClose(images as unknown as tf.Tensor, tensors[`${name}/out`], options.picture ? { atol: 2 / 255 / 4 } : close);
      pipe.dispose();
      return [images as unknown as tf.Tensor, image instanceof tf.Tensor ? image : [], ...Object.values(more).filter(Boolean)] as tf.TensorContainer;
    }));
  }

  it('compiles, offloads and slices as other pipelines do, to the same effect', () => expectNoLeak(async () => {
    const draw = async (pipe: StableDiffusionLatentUpscalePipeline) => {
      const { images } = await pipe.generate('a star', { image: picture(), numInferenceSteps: 3, generator: seeded(1), outputType: 'tensor' });
      const values = { shape: images.shape, data: images.dataSync() };
      images.dispose();
      return values;
    };
    const plain = await load();
    const expected = await draw(plain);
    plain.dispose();
    const uses: Array<(pipe: StableDiffusionLatentUpscalePipeline) => void> = [
      pipe => pipe.compile({ xla: false }), pipe => pipe.enableModelCpuOffload(), pipe => pipe.enableSequentialCpuOffload(), pipe => pipe.enableAttentionSlicing('max'),
    ];
    for (const use of device === 'wasm' ? uses.slice(1) : uses) {
      const pipe = await load();
      use(pipe);
      for (let times = 0; times < 2; times++) {
        const { data, shape } = await draw(pipe);
        const made = tf.tensor(data as Float32Array, [...shape]);
        expectClose(made, expected, close);
        made.dispose();
      }
      pipe.dispose();
    }
    return [];
  }));

  it('takes half weights', () => expectNoLeak(async () => {
    const pipe = await load({ dtype: 'float16' });
    const [prompt, options] = (meta.cases as Record<string, [string, Case]>).unguided;
    const { images } = await pipe.generate(prompt, {
      image: goldenImages(tensors['unguided/image']), numInferenceSteps: options.steps, guidanceScale: 1, generator: seeded(2), outputType: 'latent',
    });
    expectClose(images, tensors['unguided/out'], { atol: 0.1, rtol: 0.05 });
    pipe.dispose();
    return images;
  }));

  it('says what does not fit, before any work', () => expectNoLeak(async () => {
    const pipe = await load();
    assert.ok(pipe.takesNegativePrompt);
    const refused = (message: RegExp, options: object = {}, prompt: string | string[] | undefined = 'a star') =>
      assert.rejects(pipe.generate(prompt, { image: picture(), ...options }), message);
    await refused(/^TypeError: generate: there is no option 'numImagesPerPrompt'/, { numImagesPerPrompt: 2 });
    await refused(/^TypeError: image: got undefined, takes an Image/, { image: undefined });
    const [embeds, pooled] = [tf.zeros([1, 77, 16]), tf.zeros([1, 15])];
    await assert.rejects(pipe.generate(undefined, { image: picture(), promptEmbeds: embeds }),
      /^TypeError: pooledPromptEmbeds: got undefined, takes each text as a whole, \[prompts, features\], where there are promptEmbeds$/);
    await assert.rejects(pipe.generate(undefined, { image: picture(), promptEmbeds: embeds, pooledPromptEmbeds: pooled }), /^RangeError: pooledPromptEmbeds: got shape \[1, 15\], takes \[1, 16\]$/);
    await refused(/^TypeError: pooledPromptEmbeds: got a tensor, takes .* beside promptEmbeds$/, { pooledPromptEmbeds: pooled });
    tf.dispose([embeds, pooled]);
    assert.throws(() => pipe.enableDeepCache(), /^Error: enableDeepCache: does not go together with k-diffusion's blocks/);
    const { scheduler } = pipe;
    pipe.scheduler = DDIMScheduler.fromConfig({});
    await refused(/^RangeError: scheduler: got DDIMScheduler, takes EulerDiscreteScheduler, or another that scales the latents by sigmas$/);
    const plain = await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false });
    await assert.rejects(new StableDiffusionPipeline({ ...plain.components, unet: pipe.unet }).generate('a'),
      /^RangeError: unet: in_channels: got 8, takes 4; one of 8 channels is for StableDiffusionLatentUpscalePipeline$/);
    await assert.rejects(new StableDiffusionLatentUpscalePipeline({ ...plain.components, scheduler }).generate('a', { image: picture() }),
      /^RangeError: unet: time_cond_proj_dim: got null, takes 144: of noise, and of a text$/);
    plain.dispose();
    pipe.dispose();
    return [];
  }));
});
