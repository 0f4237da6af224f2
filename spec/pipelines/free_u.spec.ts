import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { weighByFreeU } from '../../lib/layers/free_u.js';
import { StableDiffusionPipeline, StableDiffusionXLPipeline } from '../../lib/pipelines/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { seeded, TINY, TINY_XL } from '../support/tiny_pipeline.js';
import { goldenTensor } from '../support/weights.js';

const close = { atol: 5e-4, rtol: 5e-4 };

/** In the words of golden/parts/free_u.py. */
interface Case {
  seed: number;
  steps: number;
  height?: number;
  width?: number;
}

describeOnDevices('FreeU equals diffusers', device => {
  const golden = loadGolden('pipelines/free_u');
  const { s1, s2, b1, b2 } = golden.meta.scales as Record<'s1' | 's2' | 'b1' | 'b2', number>;

  it('of states of any size', () => expectNoLeak(() => {
    for (let i = 0; i < golden.meta.sizes; i++) {
      for (const [block, scales] of [{ s: s1, b: b1 }, { s: s2, b: b2 }].entries()) {
        tf.tidy(() => {
          const [state, skip] = weighByFreeU(goldenTensor(golden, `${i}/state`), goldenTensor(golden, `${i}/skip`), scales);
          expectClose(state, golden.tensors[`${i}/${block}/state`], { atol: 1e-5, rtol: 1e-5 });
          expectClose(skip, golden.tensors[`${i}/${block}/skip`], { atol: 1e-5, rtol: 1e-5 });
        });
      }
    }
    return [];
  }));

  for (const [kind, Pipeline, model] of [['sd', StableDiffusionPipeline, TINY], ['xl', StableDiffusionXLPipeline, TINY_XL]] as const) {
    it(`in a pipeline, ${kind}, as graphs too, and back again`, async () => {
      const pipe = await (Pipeline as typeof StableDiffusionPipeline).fromPretrained(model, { device, compile: false });
      pipe.setProgressBarConfig({ disable: true });
      const draw = async (name: string) => {
        const [prompt, { seed, steps, height, width }] = (golden.meta.cases as Record<string, [string, Case]>)[name];
        const { images } = await pipe.generate(prompt, { numInferenceSteps: steps, height, width, generator: seeded(seed), outputType: 'latent' });
        return images;
      };
      await expectNoLeak(async () => {
        const before = await draw('plain');
        pipe.enableFreeu({ s1, s2, b1, b2 });
        const drawn = [];
        for (const name of Object.keys(golden.meta.cases)) {
          const latents = await draw(name);
          expectClose(latents, golden.tensors[`${kind}/${name}`], close);
          drawn.push(latents);
        }
        pipe.enableDeepCache({ cacheInterval: 1 }); // what is kept, and not used here, is not weighed
        const cached = await draw('plain');
        expectClose(cached, golden.tensors[`${kind}/plain`], close);
        pipe.disableDeepCache();
        pipe.disableFreeu();
        const after = await draw('plain');
        assert.deepEqual(after.dataSync(), before.dataSync());
        assert.throws(() => expectClose(after, golden.tensors[`${kind}/plain`], close), /worst at/);
        return [before, after, cached, ...drawn];
      });
      if (device !== 'wasm') {
        pipe.compile();
        pipe.enableFreeu({ s1, s2, b1, b2 });
        const latents = await draw('plain');
        expectClose(latents, golden.tensors[`${kind}/plain`], close);
        latents.dispose();
      }
      pipe.dispose();
    });
  }

  it('takes numbers above 0', async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device });
    assert.throws(() => pipe.enableFreeu({ s1, s2, b1: 0, b2 }), /^RangeError: b1: got 0, takes a number above 0$/);
    assert.throws(() => pipe.enableFreeu({ s1, s2, b1 } as never), /^RangeError: b2: got undefined, takes a number above 0$/);
    pipe.dispose();
  });
});
