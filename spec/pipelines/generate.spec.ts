import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Generator } from '../../lib/core/random.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import type { GenerateOptions } from '../../lib/pipelines/inputs/generate_options.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { disposedZeros } from '../support/disposed_zeros.js';
import { captureWarnings } from '../support/warnings.js';

const PROMPT = 'a green tree on a white background';
const seeded = (seed: number) => new Generator('cpu').manualSeed(seed);

/** Whatever happens, tensors are as many as before. */
async function rejectsWithoutLeak(work: () => Promise<unknown>, expected: RegExp | Error): Promise<void> {
  await expectNoLeak(async () => {
    await assert.rejects(work, expected);
    return [];
  });
}

describeOnDevices('StableDiffusionPipeline.generate', device => {
  let pipe: StableDiffusionPipeline;
  before(async () => { pipe = await DiffusionPipeline.fromPretrained(DEMO_MODEL, { device, compile: false }); });
  after(() => pipe.dispose());

  /** The picture's bytes, of few steps and a fixed seed. */
  const bytes = async (options: GenerateOptions<'image'> = {}, prompt: string | string[] = PROMPT) =>
    (await pipe.generate(prompt, { numInferenceSteps: 3, generator: seeded(0), ...options })).images.map(image => [...image.data]);

  describe('leaves no tensor behind', () => {
    it('with any scheduler and output', async () => {
      const own = pipe.scheduler;
      for (const Scheduler of own.compatibles) {
        pipe.scheduler = Scheduler.fromConfig(own.config);
        for (const outputType of ['image', 'tensor', 'latent'] as const) {
          await expectNoLeak(async () => {
            const { images } = await pipe.generate(PROMPT, { numInferenceSteps: 2, outputType, guidanceRescale: 0.5, clipSkip: 1 });
            return images instanceof tf.Tensor ? images : [];
          });
        }
      }
      pipe.scheduler = own;
    });

    it('with tensors that are passed in, which stay whole', async () => {
      const latents = tf.randomNormal([2, 16, 16, 4]);
      const promptEmbeds = tf.randomNormal([2, 77, 128]);
      await expectNoLeak(async () => {
        await pipe.generate(undefined, { numInferenceSteps: 2, latents, promptEmbeds, negativePromptEmbeds: promptEmbeds });
        return [];
      });
      assert.ok(!latents.isDisposed && !promptEmbeds.isDisposed);
      tf.dispose([latents, promptEmbeds]);
    });

    it('when a callback throws, at any step', async () => {
      for (const failing of [0, 1, 3]) {
        const callbackOnStepEnd = (_: unknown, step: number) => { if (step === failing) throw new Error('enough'); };
        await rejectsWithoutLeak(() => pipe.generate(PROMPT, { numInferenceSteps: 3, callbackOnStepEnd }), /^Error: enough$/);
      }
      assert.equal((await bytes()).length, 1, 'works afterwards');
    });

    it('when a network throws', async () => {
      const { unet, vae } = pipe;
      const broken = (network: object, method: string) => Object.create(network, { [method]: { value: () => { throw new Error('broken'); } } });
      pipe.unet = broken(unet, 'forward');
      await rejectsWithoutLeak(() => pipe.generate(PROMPT, { numInferenceSteps: 2 }), /broken/);
      pipe.unet = unet;
      pipe.vae = broken(vae, 'decode');
      await rejectsWithoutLeak(() => pipe.generate(PROMPT, { numInferenceSteps: 2 }), /broken/);
      pipe.vae = vae;
    });
  });

  describe('can be watched and ended', () => {
    it('calls back after each step, with the timestep and the latents', async () => {
      const seen: Array<[number, number, number[]]> = [];
      await pipe.generate(PROMPT, {
        numInferenceSteps: 3,
        callbackOnStepEnd: (self, step, timestep, { latents }) => {
          assert.equal(self, pipe);
          seen.push([step, timestep, latents.shape]);
        },
      });
      const shape = [1, 16, 16, 4];
      assert.deepEqual(seen, pipe.scheduler.timesteps.map((t, i) => [i, t, shape]));
      assert.equal(seen.length, 4, 'PNDM takes one step twice');
    });

    it('goes on with the latents that a callback returns', async () => {
      const plain = await bytes();
      await expectNoLeak(async () => {
        const same = await bytes({ callbackOnStepEnd: (_, __, ___, { latents }) => ({ latents: latents.clone() }) });
        const other = await bytes({ callbackOnStepEnd: async (_, __, ___, { latents }) => ({ latents: latents.mul(0.5) }) });
        assert.deepEqual(same, plain);
        assert.notDeepEqual(other, plain);
        return [];
      });
    });

    it('looks at what a callback returns', async () => {
      const [latents, gone] = [tf.zeros([1, 2]), tf.zeros([1, 16, 16, 4])];
      gone.dispose();
      const returned: Array<[unknown, RegExp]> = [
        [[1], /^TypeError: callbackOnStepEnd: latents: got \[1\], takes a tensor$/], [gone, /^TypeError: callbackOnStepEnd: latents: got a tensor that was disposed, takes one that is there$/],
        [latents, /^RangeError: callbackOnStepEnd: latents: got shape \[1, 2\], takes \[1, 16, 16, 4\]$/],
      ];
      for (const [latents, message] of returned) {
        await assert.rejects(pipe.generate(PROMPT, { numInferenceSteps: 2, callbackOnStepEnd: () => ({ latents: latents as tf.Tensor }) }), message);
      }
      assert.ok(latents.isDisposed, 'is taken over');
      await rejectsWithoutLeak(() => pipe.generate(PROMPT, { numInferenceSteps: 2, callbackOnStepEnd: (_, __, ___, lent) => { lent.latents.dispose(); } }),
        /^TypeError: callbackOnStepEnd: latents: were disposed, and are only lent; return others, as in \{ latents \}$/);
    });

    it('tells what went wrong in an op to no later call', async () => {
      const spoil = () => {
        try {
          tf.slice(tf.zeros([1, 2]), [0, 0, 0, 0], [-1, -1, -1, 4]); // native ops fail when JavaScript is elsewhere
        } catch { /* others at once */ }
        throw new Error('enough');
      };
      const expected = await bytes();
      await assert.rejects(pipe.generate(PROMPT, { numInferenceSteps: 2, callbackOnStepEnd: spoil }), /^Error: enough$/);
      assert.deepEqual(await bytes(), expected);
    });

    it('ends at once for a signal, with its reason', async () => {
      await rejectsWithoutLeak(() => pipe.generate(PROMPT, { signal: AbortSignal.abort(new Error('too late')) }), /^Error: too late$/);
      let steps = 0;
      const controller = new AbortController();
      const callbackOnStepEnd = () => { if (++steps === 2) setTimeout(() => controller.abort()); };
      await rejectsWithoutLeak(() => pipe.generate(PROMPT, { callbackOnStepEnd, signal: controller.signal }), /AbortError/);
      assert.ok(steps <= 3, `ended after ${steps} steps`);
    });

    it('decodes what is there when interrupted', async () => {
      let steps = 0;
      const { images } = await pipe.generate(PROMPT, { callbackOnStepEnd: self => { self.interrupt = ++steps === 2; } });
      assert.equal(steps, 2);
      assert.equal(images[0].width, 64);
      assert.equal((await bytes()).length, 1);
      assert.equal(pipe.interrupt, false);
    });

    it('lets the event loop turn between steps', async () => {
      let turns = 0;
      const timer = setInterval(() => turns++);
      await pipe.generate(PROMPT, { numInferenceSteps: 5 }).finally(() => clearInterval(timer));
      assert.ok(turns >= 4, `${turns} turns`);
    });

    it('runs once at a time', async () => {
      const first = bytes();
      await assert.rejects(pipe.generate(PROMPT), /generate: is at work already; await it first, pass whenBusy: 'wait', or a list of prompts/);
      assert.equal((await first).length, 1);
    });
  });

  describe('gives each image its own', () => {
    it('noise, by a list of generators: as if made alone', async () => {
      const [first, second] = await bytes({ generator: [seeded(1), seeded(2)] }, [PROMPT, 'a red star']);
      const [alone] = await bytes({ generator: seeded(2) }, 'a red star');
      assert.notDeepEqual(first, second);
      assert.ok(alone.every((value, i) => Math.abs(value - second[i]) <= 1));
    });

    it('negative prompt: one text stands for all', async () => {
      const list = await bytes({ negativePrompt: ['red', 'red'] }, [PROMPT, 'a blue moon']);
      assert.deepEqual(await bytes({ negativePrompt: 'red' }, [PROMPT, 'a blue moon']), list);
    });

    it('noise that nobody can foretell, without a generator', async () => {
      assert.notDeepEqual(await bytes({ generator: undefined }), await bytes({ generator: undefined }));
    });
  });

  it('makes the same with attention in slices', async () => {
    const plain = await bytes();
    for (const slice of ['auto', 'max', 2] as const) {
      pipe.enableAttentionSlicing(slice);
      const [sliced] = await bytes();
      assert.ok(sliced.every((value, i) => Math.abs(value - plain[0][i]) <= 1), `${slice}`);
    }
    assert.throws(() => pipe.enableAttentionSlicing(5), /attention slice \(heads at once\): got 5, takes a whole number, from 1 to 4/);
    pipe.disableAttentionSlicing();
    assert.deepEqual(await bytes(), plain);
  });

  it('warns of what it cuts off a prompt, and of nothing else', async () => {
    const warnings = await captureWarnings(() => bytes({}, `${PROMPT}, ${'very '.repeat(80)}green`));
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], /^A prompt was cut, because the text encoder takes 77 tokens at most; it does not see '.*very green'$/);
    assert.deepEqual(await captureWarnings(() => bytes()), []);
  });

  describe('refuses before any work', () => {
    const zeros = disposedZeros();

    const cases: Array<[string, unknown, () => object, RegExp]> = [
      ['no prompt', undefined, () => ({}), /^TypeError: prompt: got neither prompt nor promptEmbeds, takes one of the two$/],
      ['prompt and embeds', PROMPT, () => ({ promptEmbeds: zeros(1, 77, 128) }), /^TypeError: prompt: got both prompt and promptEmbeds, takes/],
      ['an empty list', [], () => ({}), /^RangeError: prompt: got an empty list, takes at least one text$/],
      ['a number as prompt', 7, () => ({}), /^TypeError: prompt: got 7, takes a text or a list of texts$/],
      ['a list with a number', ['a', 7], () => ({}), /^TypeError: prompt: got \[a, 7\], takes a text or a list of texts$/],
      ['too few negative prompts', ['a', 'b'], () => ({ negativePrompt: ['c'] }), /negativePrompt: got a list of 1, takes a text, or a list of 2/],
      ['two kinds of negative', 'a', () => ({ negativePrompt: 'b', negativePromptEmbeds: zeros(1, 77, 128) }), /negativePrompt: got both/],
      ['height', PROMPT, () => ({ height: 62 }), /^RangeError: height: got 62, takes a number of pixels divisible by 4$/],
      ['width', PROMPT, () => ({ width: 0 }), /^RangeError: width: got 0, takes a whole number, 1 or more$/],
      ['steps', PROMPT, () => ({ numInferenceSteps: -1 }), /^RangeError: numInferenceSteps: got -1, takes a whole number, 1 or more$/],
      ['half steps', PROMPT, () => ({ numInferenceSteps: 1.5 }), /numInferenceSteps: got 1.5, takes/],
      ['more steps than trained', PROMPT, () => ({ numInferenceSteps: 1001 }), /PNDMScheduler numInferenceSteps: got 1001, takes a whole number, from 1 to 1000/],
      ['a number of steps and a list', PROMPT, () => ({ numInferenceSteps: 2, sigmas: [1, 0] }), /^TypeError: numInferenceSteps: got both numInferenceSteps and sigmas, takes one of the two$/],
      ['a list of steps', PROMPT, () => ({ timesteps: [9, 1] }), /^RangeError: PNDMScheduler: got a list of timesteps, takes a number$/],
      ['guidance', PROMPT, () => ({ guidanceScale: NaN }), /^RangeError: guidanceScale: got NaN, takes a number$/],
      ['rescale', PROMPT, () => ({ guidanceRescale: 2 }), /^RangeError: guidanceRescale: got 2, takes a number from 0 to 1$/],
      ['eta', PROMPT, () => ({ eta: -1 }), /^RangeError: eta: got -1, takes a number from 0 to 1$/],
      ['clip skip', PROMPT, () => ({ clipSkip: 4 }), /^RangeError: clipSkip: got 4, takes a whole number, from 0 to 3$/],
      ['number of images', PROMPT, () => ({ numImagesPerPrompt: 0 }), /numImagesPerPrompt: got 0, takes a whole number, 1 or more/],
      ['generators', PROMPT, () => ({ generator: [seeded(0), seeded(1)] }),
        /^RangeError: generator: got a list of 2, takes one, or a list of 1 \(one for each image\)$/],
      ['something else as generator', PROMPT, () => ({ generator: 7 }), /^TypeError: generator: got 7, takes a Generator or a list of them$/],
      ['latents of no tensor', PROMPT, () => ({ latents: 5 as never }), /^TypeError: latents: got 5, takes a tensor$/],
      ['embeds of no tensor', undefined, () => ({ promptEmbeds: [1] as never }), /^TypeError: promptEmbeds: got \[1\], takes a tensor$/],
      ['signal', PROMPT, () => ({ signal: {} as never }), /^TypeError: signal: got \[object Object\], takes an AbortSignal/],
      ['callbackOnStepEnd', PROMPT, () => ({ callbackOnStepEnd: 5 as never }), /^TypeError: callbackOnStepEnd: got 5, takes a function$/],
      ['latents', PROMPT, () => ({ latents: zeros(1, 4, 16, 16) }), /^RangeError: latents: got shape \[1, 4, 16, 16\], takes \[1, 16, 16, 4\]$/],
      ['embeds', undefined, () => ({ promptEmbeds: zeros(1, 77, 768) }), /^RangeError: promptEmbeds: got shape \[1, 77, 768\], takes \[\*, \*, 128\]$/],
      ['negative embeds', undefined, () => ({ promptEmbeds: zeros(1, 77, 128), negativePromptEmbeds: zeros(1, 7, 128) }),
        /negativePromptEmbeds: got shape \[1, 7, 128\], takes \[1, 77, 128\]/],
      ['output type', PROMPT, () => ({ outputType: 'pil' }), /^RangeError: outputType: got 'pil', takes 'image', 'tensor', 'latent'$/],
      ['an unknown option', PROMPT, () => ({ guidance_scale: 3 }), /^TypeError: generate: there is no option 'guidance_scale': it is called guidanceScale here; takes .*guidanceScale/],
    ];
    for (const [name, prompt, options, expected] of cases) {
      it(name, async () => {
        const given = options() as GenerateOptions<'image'>;
        await rejectsWithoutLeak(() => pipe.generate(prompt as string, given), expected);
      });
    }
  });
});
