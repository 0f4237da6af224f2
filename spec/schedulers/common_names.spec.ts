import assert from 'node:assert/strict';
import { findSampler, findSchedule, samplerName, samplers, scheduleName, schedules } from '../../lib/schedulers/common_names.js';
import { commonName, fromCommonName, schedulerClass } from '../../lib/schedulers/index.js';

const SDE = 'sde-dpmsolver++';
const [multistep, singlestep] = ['DPMSolverMultistepScheduler', 'DPMSolverSinglestepScheduler'];

describe('Common names of schedulers', () => {
  /** Those of AUTOMATIC1111's web UI 1.10, in its order. */
  const cases: Array<[string, string?, object?]> = [
    ['DPM++ 2M', multistep], ['DPM++ SDE', singlestep, { algorithm_type: SDE }], ['DPM++ 2M SDE', multistep, { algorithm_type: SDE }],
    ['DPM++ 2M SDE Heun', multistep, { algorithm_type: SDE, solver_type: 'heun' }], ['DPM++ 2S a'],
    ['DPM++ 3M SDE', multistep, { algorithm_type: SDE, solver_order: 3 }], ['Euler a', 'EulerAncestralDiscreteScheduler'], ['Euler', 'EulerDiscreteScheduler'],
    ['LMS', 'LMSDiscreteScheduler'], ['Heun', 'HeunDiscreteScheduler'], ['DPM2', 'KDPM2DiscreteScheduler'], ['DPM2 a', 'KDPM2AncestralDiscreteScheduler'],
    ['DPM fast'], ['DPM adaptive'], ['Restart'], ['DDIM', 'DDIMScheduler'], ['DDIM CFG++'], ['PLMS', 'PNDMScheduler'], ['UniPC', 'UniPCMultistepScheduler'],
    ['LCM', 'LCMScheduler'],
  ];
  for (const [name, scheduler, schedulerOptions = {}] of cases) {
    it(`${name}: ${scheduler ?? 'none here'}`, () => {
      assert.deepEqual(fromCommonName(name), scheduler && { scheduler, schedulerOptions });
      assert.deepEqual(fromCommonName(`${name.toLowerCase()} Karras`), scheduler && { scheduler, schedulerOptions: { ...schedulerOptions, use_karras_sigmas: true } });
      if (!scheduler) return;
      const made = schedulerClass(scheduler).fromConfig({}, schedulerOptions);
      assert.equal(samplerName(scheduler, made.config), name);
      assert.equal(commonName(scheduler, { ...schedulerOptions, use_beta_sigmas: true }), `${name} Beta`);
      made.dispose();
    });
  }

  it('are told once each, of classes that are there', () => {
    assert.equal(new Set(samplers.map(({ name }) => name)).size, samplers.length);
    for (const { name, scheduler, options } of samplers) {
      assert.equal(samplerName(scheduler, options), name);
      assert.equal(findSampler(name)!.scheduler, scheduler);
      assert.ok(schedulerClass(scheduler));
    }
  });

  it('have schedules behind them, the longest that fits', () => {
    assert.deepEqual(fromCommonName('Euler SGM Uniform'), { scheduler: 'EulerDiscreteScheduler', schedulerOptions: { timestep_spacing: 'trailing' } });
    assert.deepEqual(fromCommonName('EulerDiscreteScheduler exponential'), { scheduler: 'EulerDiscreteScheduler', schedulerOptions: { use_exponential_sigmas: true } });
    assert.equal(findSchedule('sgm uniform'), 'SGM Uniform');
    assert.equal(findSchedule('KL Optimal'), undefined);
    for (const name of ['', ' Karras', 'Karras', 'Euler Karras Karras', `Euler${' Karras'.repeat(1e5)}`, 'constructor']) assert.equal(fromCommonName(name), undefined);
  });

  it('say how a config spaces its steps, where it can', () => {
    for (const [scheduler, options, expected] of [
      ['EulerDiscreteScheduler', {}, 'Uniform'], ['EulerDiscreteScheduler', { use_karras_sigmas: true }, 'Karras'],
      ['EulerDiscreteScheduler', { timestep_spacing: 'trailing' }, 'SGM Uniform'], [singlestep, {}, 'Uniform'], [multistep, { use_exponential_sigmas: true }, 'Exponential'],
      [multistep, { use_beta_sigmas: true, timestep_spacing: 'trailing' }, 'Beta'], ['DDIMScheduler', {}, undefined], ['PNDMScheduler', {}, undefined],
      ['EulerAncestralDiscreteScheduler', {}, undefined], ['EulerAncestralDiscreteScheduler', { timestep_spacing: 'trailing' }, 'SGM Uniform'],
    ] as const) {
      const { config } = schedulerClass(scheduler).fromConfig({}, options);
      assert.equal(scheduleName(config), expected);
      if (expected) assert.ok(Object.hasOwn(schedules, expected));
    }
    assert.equal(samplerName(multistep, { solver_order: 3 }), multistep); // nobody has a name for it
  });
});
