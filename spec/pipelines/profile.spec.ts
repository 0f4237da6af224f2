import assert from 'node:assert/strict';
import { canCompile } from '../../lib/core/graph.js';
import type { Profile } from '../../lib/core/profile.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import type { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { seeded, TINY } from '../support/tiny_pipeline.js';
import { captureWarnings } from '../support/warnings.js';

const STEPS = 3;

describeOnDevices('pipe.profile', device => {
  let pipe: StableDiffusionPipeline;
  const draw = () => pipe.generate('a cat', { generator: seeded(1), numInferenceSteps: STEPS });
  const calls = (rows: Profile['networks'], name: string) => rows.find(row => row.name === name)!.calls;

  beforeEach(async () => {
    pipe = await DiffusionPipeline.fromPretrained(TINY, { device, compile: false });
    pipe.setProgressBarConfig({ disable: true });
  });
  afterEach(() => pipe.dispose());

  it('times every layer, and changes neither the picture nor the pipeline', () => expectNoLeak(async () => {
    const expected = (await draw()).images[0].data;
    const { result: { images }, profile } = await pipe.profile(draw);
    assert.deepEqual(images[0].data, expected);
    const timesteps = pipe.scheduler.timesteps.length;
    assert.equal(calls(profile.networks, 'unet'), timesteps);
    assert.equal(calls(profile.networks, 'textEncoder'), 2);
    assert.equal(calls(profile.networks, 'vae'), 1);
    assert.equal(calls(profile.layers, 'TimestepEmbedding'), timesteps);
    for (const kind of ['Conv2d', 'Linear', 'GroupNorm', 'Attention', 'CLIPAttention']) assert.ok(calls(profile.layers, kind) > 0, kind);
    assert.deepEqual(profile.marks.map(({ name }) => name), pipe.scheduler.timesteps.map((t, i) => `step ${i + 1} done, timestep ${t}`));
    for (const rows of [profile.networks, profile.layers]) {
      assert.ok(Math.abs(rows.reduce((sum, { share }) => sum + share, 0) - 1) < 1e-9, 'shares sum to 1');
      assert.ok(rows.every(({ milliseconds }) => milliseconds >= 0));
    }
    for (const block of [...pipe.unet.descendants(), ...pipe.vae.descendants()]) assert.ok(!Object.hasOwn(block, 'forward'));
    assert.ok(!Object.hasOwn(pipe.scheduler, 'step'));
    return [];
  }));

  it('writes a trace of slices that nest as the layers do', async () => {
    const { profile } = await pipe.profile(draw);
    const { traceEvents } = JSON.parse(JSON.stringify(profile.toTrace())) as { traceEvents: Array<{ ph: string; name: string; ts: number; dur: number }> };
    const open: typeof traceEvents = [];
    let deepest = 0;
    for (const event of traceEvents.filter(({ ph }) => ph === 'X')) {
      while (open.length && open.at(-1)!.ts + open.at(-1)!.dur <= event.ts) open.pop();
      const parent = open.at(-1);
      assert.ok(!parent || event.ts + event.dur <= parent.ts + parent.dur + 0.002, `${event.name} ends within ${parent?.name}`);
      if (parent) assert.equal(event.name.split('.')[0], parent.name.split('.')[0]);
      open.push(event);
      deepest = Math.max(deepest, open.length);
    }
    assert.ok(deepest >= 5, 'unet > block > transformer > attention > linear');
  });

  it('times a compiled network as a whole', async () => {
    await captureWarnings(() => pipe.compile());
    await draw(); // records
    const { profile } = await pipe.profile(draw);
    assert.equal(calls(profile.networks, 'unet'), pipe.scheduler.timesteps.length);
    assert.equal(profile.layers.some(({ name }) => name === 'ResnetBlock2D'), !canCompile());
  });

  it('leaves the pipeline as it was when the work fails', async () => {
    await assert.rejects(pipe.profile(() => { throw new Error('on purpose'); }), /on purpose/);
    assert.ok(!Object.hasOwn(pipe.unet, 'forward'));
  });
});
