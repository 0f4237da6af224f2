import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { Generator } from '../../lib/core/random.js';
import { schedulerClass, type Scheduler, type StepOptions, type Steps, type TimestepsOptions } from '../../lib/schedulers/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose, type Values } from '../support/close.js';
import { loadGolden, type Golden } from '../support/golden.js';

interface Case {
  config: object;
  /** What SASolver's tau_func gives. */
  tau: number | null;
  steps: number | { timesteps: number[] } | { sigmas: number[] };
  options: StepOptions;
  begin: number | null;
  extra: TimestepsOptions;
  /** The steps whose samples the golden holds. */
  recorded: number[];
  initNoiseSigma: number;
  /** How far the golden's own rounding may lead it away. */
  tolerance: number;
}

const SHAPE = [2, 3, 5, 4];
/** torch's square root in float32 errs in the last bit, depending on the processor. */
const LAST_BITS = { atol: 1e-12, rtol: 6e-7 };

const values = (data: ArrayLike<number>): Values => ({ shape: [data.length], data });

/** What stands for the model, as in the goldens. */
function model(x: tf.Tensor, t: number): tf.Tensor {
  return x.mul(0.9 * t / 1000).add(x.mul(0.3).div(x.square().add(1)));
}

/** What stands for the variance that some models predict in as many channels again. */
function variance(x: tf.Tensor): tf.Tensor {
  return x.div(x.square().add(1)).add(1).mul(0.05);
}

function noise(seed: number): tf.Tensor {
  const [batch, height, width, channels] = SHAPE;
  const values = new Generator().manualSeed(seed).randn(batch * height * width * channels);
  return tf.tidy(() => tf.tensor4d(values, [batch, channels, height, width]).transpose([0, 2, 3, 1]));
}

function start(name: string, { config, tau, steps, begin, extra }: Case): Scheduler {
  const scheduler = schedulerClass(name).fromConfig(config, typeof tau === 'number' ? { tau_func: () => tau } : {});
  scheduler.setTimesteps(steps as Steps, extra);
  if (begin !== null) scheduler.setBeginIndex(begin);
  return scheduler;
}

/** The samples after the recorded of the first few steps: `[recorded, ...sample]`. */
function run(scheduler: Scheduler, { config, options, begin, recorded }: Case, steps = Infinity): tf.Tensor {
  const generator = new Generator().manualSeed(11);
  const learnsVariance = (config as { variance_type?: string }).variance_type?.startsWith('learned');
  return tf.tidy(() => {
    const samples: tf.Tensor[] = [];
    let sample = noise(10).mul(scheduler.initNoiseSigma);
    scheduler.timesteps.slice(begin ?? 0).slice(0, steps).forEach((t, i) => {
      const seen = scheduler.scaleModelInput(sample, t);
      const output = learnsVariance ? tf.concat([model(seen, t), variance(seen)], -1) : model(seen, t);
      sample = scheduler.step(output, t, sample, { ...options, generator }).prevSample;
      if (recorded.includes(i)) samples.push(sample);
    });
    return tf.stack(samples);
  });
}

/** diffusers computes its weights in float32 too, and loses digits where samples are large or begin large. */
function tolerances({ data }: Values, { initNoiseSigma, tolerance }: Case): { atol: number; rtol: number } {
  const largest = Array.from(data).reduce((a, b) => Math.max(a, Math.abs(b)), 1);
  return { atol: tolerance * largest + 5e-7 * initNoiseSigma, rtol: tolerance };
}

function describeCase({ config, tau, steps, options, begin, extra }: Case): string {
  const { beta_start, beta_end, beta_schedule, ...rest } = config as Record<string, unknown>;
  const schedule = beta_schedule === 'scaled_linear' ? {} : { beta_schedule };
  const known = beta_start === 0.00085 && beta_end === 0.012 ? {} : { beta_start, beta_end };
  const text = JSON.stringify({ steps, ...rest, ...schedule, ...known, ...options, ...extra, ...(typeof tau === 'number' ? { tau } : {}), ...(begin === null ? {} : { begin }) });
  return text.length > 140 ? `${text.slice(0, 137)}...` : text;
}

const names = readdirSync('spec/golden/schedulers').filter(file => /Scheduler\./.test(file)).map(file => file.split('.')[0]);

for (const name of names) {
  const golden: Golden = loadGolden(`schedulers/${name}`);
  const cases: Case[] = golden.meta.cases;

  describe(`${name}: schedule`, () => {
    cases.forEach((each, i) => it(describeCase(each), () => {
      const scheduler = start(name, each);
      const { [`${i}.timesteps`]: timesteps, [`${i}.sigmas`]: sigmas } = golden.tensors;
      const whole = Array.from(timesteps.data).every(Number.isInteger);
      if (whole) assert.deepEqual(scheduler.timesteps, Array.from(timesteps.data));
      else expectClose(values(scheduler.timesteps), timesteps, { atol: 100 * each.tolerance, rtol: 1e-6 });
      if (sigmas) {
        const actual = (scheduler as Scheduler & { sigmas: Float32Array }).sigmas.slice(0, sigmas.data.length);
        expectClose(values(actual), sigmas, LAST_BITS);
      }
      expectClose(values([scheduler.initNoiseSigma]), values([each.initNoiseSigma]), LAST_BITS);
    }));
  });

  describeOnDevices(`${name}: loop`, () => {
    cases.forEach((each, i) => it(describeCase(each), () => expectNoLeak(() => {
      const scheduler = start(name, each);
      const expected = golden.tensors[`${i}.samples`];
      tf.tidy(() => expectClose(run(scheduler, each), expected, tolerances(expected, each)));
      scheduler.dispose();
      return [];
    })));

    if (golden.tensors.noised) it('adds noise', () => tf.tidy(() => {
      const Class = schedulerClass(name);
      const scheduler = new Class('beta_start' in Class.defaults ? { beta_schedule: 'scaled_linear', beta_start: 0.00085, beta_end: 0.012 } : {});
      scheduler.setTimesteps(10);
      const timesteps = [3, 8].map(i => scheduler.timesteps[i]);
      expectClose(scheduler.addNoise(noise(20), noise(21), timesteps), golden.tensors.noised);
    }));

    it('begins anew after it was left half-way, with nothing left behind', () => expectNoLeak(() => {
      const each = cases.findIndex(({ steps }) => steps === 10);
      const scheduler = start(name, cases[each]);
      run(scheduler, cases[each], 6).dispose();
      scheduler.setTimesteps(10);
      const expected = golden.tensors[`${each}.samples`];
      tf.tidy(() => expectClose(run(scheduler, cases[each]), expected, tolerances(expected, cases[each])));
      scheduler.dispose();
      return [];
    }));
  });
}
