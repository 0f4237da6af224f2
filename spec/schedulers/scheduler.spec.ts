import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { parseJson } from '../../lib/core/json.js';
import { Generator } from '../../lib/core/random.js';
import {
  DDIMInverseScheduler, DDIMParallelScheduler, DDIMScheduler, DDPMParallelScheduler, DDPMScheduler, DEISMultistepScheduler,
  DPMSolverMultistepInverseScheduler, DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler, EulerAncestralDiscreteScheduler,
  EDMDPMSolverMultistepScheduler, EDMEulerScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, IPNDMScheduler, KDPM2DiscreteScheduler, LCMScheduler, LMSDiscreteScheduler, PNDMScheduler, SASolverScheduler,
  TCDScheduler, UniPCMultistepScheduler, type DDPMConfig, schedulerClass, schedulerClasses, type Scheduler, type SchedulerClass, type StepOptions,
} from '../../lib/schedulers/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';

/** Runs `work` and returns what it warned of. */
function warnings(work: () => void): string[] {
  const { warn } = console;
  const lines: string[] = [];
  console.warn = (line: string) => { lines.push(line); };
  try {
    work();
  } finally {
    console.warn = warn;
  }
  return lines;
}

/** Like the file that ships with Stable Diffusion 1.5. */
const file = {
  _class_name: 'PNDMScheduler', _diffusers_version: '0.6.0', beta_end: 0.012, beta_schedule: 'scaled_linear', beta_start: 0.00085,
  num_train_timesteps: 1000, set_alpha_to_one: false, skip_prk_steps: true, steps_offset: 1, trained_betas: null, clip_sample: false,
};

describe('scheduler configs', () => {
  const golden = loadGolden('schedulers/configs');

  it('have diffusers\' defaults, and stay as they are', () => {
    for (const [name, defaults] of Object.entries(golden.meta.defaults)) {
      assert.deepEqual(JSON.parse(JSON.stringify(schedulerClass(name).defaults)), defaults, name);
    }
    const { config } = new DDIMScheduler();
    assert.throws(() => { (config as { beta_end: number }).beta_end = 1; }, TypeError);
  });

  it('can be read from a file', () => {
    let scheduler!: PNDMScheduler;
    assert.deepEqual(warnings(() => { scheduler = PNDMScheduler.fromConfig(file); }), []);
    assert.equal(scheduler.config.skip_prk_steps, true);
    assert.equal(scheduler.config.timestep_spacing, 'leading');
  });

  it('pass from scheduler to scheduler: what is set stays, what was a default becomes the new default', () => {
    const pndm = PNDMScheduler.fromConfig(file);
    const solver = DPMSolverMultistepScheduler.fromConfig(pndm.config, { use_karras_sigmas: true });
    assert.equal(solver.config.beta_schedule, 'scaled_linear');
    assert.equal(solver.config.steps_offset, 1);
    assert.equal(solver.config.timestep_spacing, 'linspace'); // PNDM's default was leading
    assert.equal(solver.config.use_karras_sigmas, true);
    const back = PNDMScheduler.fromConfig(solver.config);
    assert.equal(back.config.skip_prk_steps, true); // which DPM-Solver does not have
    assert.equal(back.config.timestep_spacing, 'leading');
    assert.equal((back.config as unknown as { _class_name: string })._class_name, 'PNDMScheduler');
    assert.equal((back.config as unknown as { clip_sample: boolean }).clip_sample, false);
  });

  it('pass from any to any as diffusers passes them', () => {
    for (const { file: source, to, config } of golden.meta.passed) {
      const origin = schedulerClass(source._class_name).fromConfig(source);
      const Class = schedulerClass(to);
      const defaults: Record<string, unknown> = { ...Class.defaults };
      const set = Object.entries(Class.fromConfig(origin.config).config)
        .filter(([key, value]) => key !== '_use_default_values' && (!(key in defaults) || value !== defaults[key]));
      assert.deepEqual(Object.fromEntries(set), config, `${source._class_name} to ${to}`);
    }
  });

  it('take a changed copy of another\'s config', () => {
    const { config } = PNDMScheduler.fromConfig(file);
    assert.equal(DPMSolverMultistepScheduler.fromConfig({ ...config, timestep_spacing: 'trailing' }).config.timestep_spacing, 'trailing');
  });

  it('survive a file', () => {
    const scheduler = DDIMScheduler.fromConfig(file, { clip_sample_range: 2 });
    const again = DDIMScheduler.fromConfig(JSON.parse(JSON.stringify(scheduler.config)));
    assert.deepEqual(again.config, scheduler.config);
  });

  it('leave what they are made of as it was', () => {
    const given = Object.freeze({ ...file, use_karras_sigmas: true });
    const scheduler = PNDMScheduler.fromConfig(given);
    const before = structuredClone(scheduler.config);
    const changed = scheduler.clone({ steps_offset: 0, clip_sample: true });
    assert.deepEqual(changed.config, { ...before, steps_offset: 0, clip_sample: true });
    assert.ok(changed instanceof PNDMScheduler && Object.isFrozen(changed.config));
    assert.deepEqual(scheduler.config, before);
    assert.deepEqual(scheduler.clone().config, before);
    assert.equal(EulerDiscreteScheduler.fromConfig(changed.config).config.use_karras_sigmas, true); // which PNDM keeps for it
    assert.throws(() => scheduler.clone({ beta_start: 'x' }), /^RangeError: PNDMScheduler beta_start: got 'x', takes a number/);
  });

  it('name the keys that nobody knows in a warning, and keep them', () => {
    let scheduler!: DDIMScheduler;
    const lines = warnings(() => { scheduler = DDIMScheduler.fromConfig({ ...file, colour: 'red' }); });
    const reason = 'which no scheduler here takes: see scheduler_config.json';
    assert.deepEqual(lines, [`DDIMScheduler: ignores { colour: 'red' } of the config, ${reason}`]);
    assert.equal((scheduler.config as unknown as { colour: string }).colour, 'red');
  });

  it('take names that all objects have for names of nothing', () => {
    let scheduler!: DDIMScheduler;
    const lines = warnings(() => { scheduler = DDIMScheduler.fromConfig({ ...file, _class_name: 'constructor', toString: 'x', beta_schedule: 'linear' }); });
    assert.deepEqual(lines, ["DDIMScheduler: ignores { toString: 'x' } of the config, which no scheduler here takes: see scheduler_config.json"]);
    assert.equal(scheduler.config.beta_schedule, 'linear');
    assert.throws(() => new DDIMScheduler({ valueOf: 5 } as object), /^TypeError: DDIMScheduler: got the option valueOf, takes /);
    assert.throws(() => new DPMSolverMultistepScheduler({ algorithm_type: 'constructor' as never }), /^RangeError: DPMSolverMultistepScheduler algorithm_type: got 'constructor', takes /);
  });

  it('name the keys that a class which stands alone does not take', () => {
    const lines = warnings(() => { IPNDMScheduler.fromConfig({ num_train_timesteps: 100, clip_sample: false }); });
    assert.deepEqual(lines, ['IPNDMScheduler: ignores { clip_sample: false } of the config, which it does not take: see scheduler_config.json']);
  });

  it('take the names that relatives have for the same', () => {
    const scheduler = DPMSolverMultistepScheduler.fromConfig({ algorithm_type: 'deis', solver_type: 'bh2' });
    assert.equal(scheduler.config.algorithm_type, 'dpmsolver++');
    assert.equal(scheduler.config.solver_type, 'midpoint');
  });

  it('hold no option of another class against a scheduler that lacks it', () => {
    const { config } = new DPMSolverMultistepScheduler({ timestep_spacing: 'trailing', lambda_min_clipped: 0, use_lu_lambdas: true });
    const single = DPMSolverSinglestepScheduler.fromConfig(config, { lambda_min_clipped: -Infinity });
    single.setTimesteps(2);
    assert.deepEqual(single.timesteps, [999, 500]);
    const deis = DEISMultistepScheduler.fromConfig(config, { timestep_spacing: 'linspace' });
    deis.setTimesteps(2);
    assert.deepEqual(deis.timesteps, [999, 500]);
  });

  it('share the ends of the sigmas, also where they are no option', () => {
    const { config } = new EulerDiscreteScheduler({ use_karras_sigmas: true, sigma_min: 0.5, sigma_max: 8 });
    const solver = DPMSolverMultistepScheduler.fromConfig(config);
    solver.setTimesteps(3);
    expectClose({ shape: [4], data: solver.sigmas }, { shape: [4], data: [8, 2.2922444, 0.5, 0] });
  });

  it('come from a file as diffusers writes it, infinite numbers and all', () => {
    const text = '{ "_class_name": "DPMSolverMultistepScheduler", "_diffusers_version": "0.42.1", "lambda_min_clipped": -Infinity, "solver_order": 2 }';
    const solver = DPMSolverMultistepScheduler.fromConfig(parseJson('scheduler_config.json', text) as object);
    assert.equal(solver.config.lambda_min_clipped, -Infinity);
  });

  it('take null, as in JSON, for infinity', () => {
    const solver = DPMSolverMultistepScheduler.fromConfig(JSON.parse(JSON.stringify(new DPMSolverMultistepScheduler().config)));
    solver.setTimesteps(2);
    assert.deepEqual(solver.timesteps, [999, 500]);
  });

  it('are refused by name', () => {
    const refused: Array<[() => unknown, ErrorConstructor, RegExp]> = [
      [() => new PNDMScheduler({ clip: 1 } as object), TypeError, /^PNDMScheduler: got the option clip, takes num_train_timesteps, /],
      [() => new PNDMScheduler({ prediction_type: 'sample' }), RangeError,
        /^PNDMScheduler prediction_type: got 'sample', takes 'epsilon', 'v_prediction'$/],
      [() => new DDIMScheduler({ timestep_spacing: 'even' as 'leading' }), RangeError,
        /^DDIMScheduler timestep_spacing: got 'even', takes 'linspace', 'leading', 'trailing'$/],
      [() => new DDIMScheduler({ beta_schedule: 'quadratic' as 'linear' }), RangeError,
        /^DDIMScheduler beta_schedule: got 'quadratic', takes 'linear'/],
      [() => new DDIMScheduler({ num_train_timesteps: 0 }), RangeError,
        /^DDIMScheduler num_train_timesteps: got 0, takes a whole number, from 1 to 100000$/],
      [() => new DDIMScheduler({ beta_start: '0.1' as unknown as number }), RangeError, /^DDIMScheduler beta_start: got '0\.1', takes a number, as in 0\.0001$/],
      [() => new DDIMScheduler({ clip_sample: 1 as unknown as boolean }), RangeError, /^DDIMScheduler clip_sample: got 1, takes true or false$/],
      [() => new DDIMScheduler({ beta_start: -1, beta_schedule: 'scaled_linear' }), RangeError,
        /^betas: from -1 to 0\.02 \(beta_start, beta_end\) make no schedule$/],
      [() => new DDIMScheduler({ trained_betas: 'x' as never }), RangeError, /^trained_betas: got 'x', takes a list of numbers$/],
      [() => new DDIMScheduler({ trained_betas: [0.1] }), RangeError, /^trained_betas: got 1, takes as many as num_train_timesteps, 1000$/],
      [() => new EulerDiscreteScheduler({ use_karras_sigmas: true, use_beta_sigmas: true }), RangeError,
        /^EulerDiscreteScheduler: got use_karras_sigmas and use_beta_sigmas, takes one of them$/],
      [() => new DPMSolverMultistepScheduler({ solver_order: 4 }), RangeError,
        /^DPMSolverMultistepScheduler solver_order: got 4, takes a whole number, from 1 to 3$/],
      [() => new DPMSolverMultistepScheduler({ algorithm_type: 'dpmsolver' }), RangeError,
        /^DPMSolverMultistepScheduler final_sigmas_type: got 'zero' with algorithm_type 'dpmsolver', takes 'sigma_min'$/],
      [() => new DPMSolverMultistepScheduler({ algorithm_type: 'sde-dpmsolver', solver_order: 3, final_sigmas_type: 'sigma_min' }),
        RangeError, /^DPMSolverMultistepScheduler solver_order: got 3 with algorithm_type 'sde-dpmsolver', takes 1, 2$/],
      [() => new DPMSolverSinglestepScheduler({ algorithm_type: 'dpmsolver' }), RangeError,
        /^DPMSolverSinglestepScheduler final_sigmas_type: got 'zero' with algorithm_type 'dpmsolver', takes 'sigma_min'$/],
      [() => new UniPCMultistepScheduler({ predict_x0: false }), RangeError,
        /^UniPCMultistepScheduler final_sigmas_type: got 'zero' without predict_x0, takes 'sigma_min'$/],
      [() => new DPMSolverMultistepInverseScheduler({ algorithm_type: 'sde-dpmsolver++' }), RangeError,
        /^DPMSolverMultistepInverseScheduler algorithm_type: got 'sde-dpmsolver\+\+', takes 'dpmsolver', 'dpmsolver\+\+'$/],
      [() => new DDIMInverseScheduler({ timestep_spacing: 'linspace' }), RangeError,
        /^DDIMInverseScheduler timestep_spacing: got 'linspace', takes 'leading', 'trailing'$/],
      [() => new SASolverScheduler({ corrector_order: 5 }), RangeError, /^SASolverScheduler corrector_order: got 5, takes a whole number, from 1 to 4$/],
      [() => new SASolverScheduler({ tau_func: 0.5 as never }), RangeError,
        /^SASolverScheduler tau_func: got 0\.5, takes null or a function of the timestep$/],
      [() => new IPNDMScheduler({ trained_betas: [1] }), RangeError, /^trained_betas: got \[1\], takes two or more numbers from 0 to 1$/],
      [() => new IPNDMScheduler({ trained_betas: ['a', 'b'] as never }), RangeError, /^trained_betas: got \[a, b\], takes two or more numbers from 0 to 1$/],
      [() => new IPNDMScheduler({ trained_betas: [2, 0] }), RangeError, /^trained_betas: got \[2, 0\], takes two or more numbers from 0 to 1$/],
      [() => new EDMEulerScheduler({ sigma_min: 0 }), RangeError, /^EDMEulerScheduler sigma_min: got 0, takes a number above 0$/],
      [() => new EDMDPMSolverMultistepScheduler({ algorithm_type: 'sde-dpmsolver++', solver_order: 3 }), RangeError,
        /^EDMDPMSolverMultistepScheduler solver_order: got 3 with algorithm_type 'sde-dpmsolver\+\+', takes 1, 2$/],
      [() => new FlowMatchEulerDiscreteScheduler().setTimesteps({ timesteps: [1001, 1] }), RangeError, /^FlowMatchEulerDiscreteScheduler timesteps: got 1001, takes a number from 0 to 1000$/],
      [() => new FlowMatchEulerDiscreteScheduler().setTimesteps({ sigmas: [1.5, 0.5] }), RangeError, /^FlowMatchEulerDiscreteScheduler sigmas: got 1\.5, takes a number from 0 to 1$/],
      [() => new FlowMatchEulerDiscreteScheduler({ shift: -1 }), RangeError, /^FlowMatchEulerDiscreteScheduler shift: got -1, takes a number above 0$/],
      [() => new FlowMatchEulerDiscreteScheduler({ use_karras_sigmas: true, use_beta_sigmas: true }), RangeError,
        /^FlowMatchEulerDiscreteScheduler: got use_karras_sigmas and use_beta_sigmas, takes one of them$/],
      [() => new KDPM2DiscreteScheduler({ prediction_type: 'sample' }), RangeError,
        /^KDPM2DiscreteScheduler prediction_type: got 'sample', takes 'epsilon', 'v_prediction'$/],
    ];
    for (const [work, Class, message] of refused) {
      assert.throws(work, (error: Error) => error instanceof Class && message.test(error.message));
    }
  });
});

describe('scheduler classes', () => {
  it('are found by name, each under its own', () => {
    for (const [name, Class] of Object.entries(schedulerClasses)) {
      assert.equal(Class.className, name);
      assert.equal(schedulerClass(name), Class);
      assert.equal((new Class().config as unknown as { _class_name: string })._class_name, name);
    }
  });

  it('list what can take their configs', () => {
    const names = new DDIMScheduler().compatibles.map(({ className }) => className);
    assert.deepEqual(names, [
      'DDIMScheduler', 'DDPMScheduler', 'DEISMultistepScheduler', 'DPMSolverMultistepScheduler', 'DPMSolverSinglestepScheduler',
      'EulerAncestralDiscreteScheduler', 'EulerDiscreteScheduler', 'HeunDiscreteScheduler', 'KDPM2AncestralDiscreteScheduler',
      'KDPM2DiscreteScheduler', 'LMSDiscreteScheduler', 'PNDMScheduler', 'UniPCMultistepScheduler',
    ]);
    for (const Class of [SASolverScheduler, DDIMParallelScheduler, DDPMParallelScheduler, DPMSolverMultistepInverseScheduler] as SchedulerClass[]) {
      const relatives = new Class().compatibles.map(({ className }) => className);
      assert.deepEqual(relatives.sort(), [...names, Class.className].sort()); // they take the others' configs, and are no choice of theirs
    }
  });

  it('of distilled models stand alone', () => {
    assert.deepEqual(new LCMScheduler().compatibles, [LCMScheduler]);
    assert.deepEqual(new IPNDMScheduler().compatibles, [IPNDMScheduler]);
    assert.deepEqual(new DDIMInverseScheduler().compatibles, [DDIMInverseScheduler]);
    for (const Class of [EDMEulerScheduler, EDMDPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler]) {
      assert.deepEqual(new Class().compatibles, [Class]);
    }
    assert.equal(new DDIMScheduler().compatibles.includes(LCMScheduler as unknown as SchedulerClass), false);
  });

  it('say which there are when asked for another', () => {
    assert.throws(() => schedulerClass('DDXMScheduler'), /^RangeError: scheduler: got 'DDXMScheduler', takes DDIMInverseScheduler, /);
    assert.throws(() => schedulerClass('toString'), RangeError);
  });
});

describe('setTimesteps', () => {
  const { tensors } = loadGolden('schedulers/spacings');

  for (const [key, expected] of Object.entries(tensors)) {
    it(`rounds as NumPy does for 1 to 64 steps: ${key}`, () => {
      const [name, spacing] = key.split('.');
      const skips = name === 'PNDMScheduler' ? { skip_prk_steps: true } : {};
      const scheduler: Scheduler = new (schedulerClass(name))({ timestep_spacing: spacing, steps_offset: 1, ...skips } as object);
      const lists = Array.from({ length: 64 }, (_, i) => {
        scheduler.setTimesteps(i + 1);
        return scheduler.timesteps;
      });
      assert.deepEqual(lists.flat(), Array.from(expected.data));
    });
  }

  it('refuses step counts and lists that make no sense', () => {
    const ddim = new DDIMScheduler();
    for (const steps of [0, -1, 1.5, NaN, 1001, undefined as unknown as number]) {
      assert.throws(() => ddim.setTimesteps(steps),
        new RangeError(`DDIMScheduler numInferenceSteps: got ${steps}, takes a whole number, from 1 to 1000`));
    }
    assert.throws(() => ddim.setTimesteps({ timesteps: [3, 2] }), new RangeError('DDIMScheduler: got a list of timesteps, takes a number'));
    const euler = new EulerDiscreteScheduler();
    assert.throws(() => euler.setTimesteps({ timesteps: [1, 2] }),
      new RangeError('EulerDiscreteScheduler timesteps: got [1, 2], takes numbers from 0, in falling order'));
    assert.throws(() => euler.setTimesteps({ sigmas: [] }),
      new RangeError('EulerDiscreteScheduler sigmas: got [], takes numbers from 0, in falling order'));
    assert.throws(() => euler.setTimesteps({ sigmas: [3] }),
      new RangeError('EulerDiscreteScheduler sigmas: got 1, takes 2 or more, the last to end at'));
    assert.throws(() => euler.setTimesteps({ timesteps: 'all' as never }),
      new RangeError('EulerDiscreteScheduler timesteps: got \'all\', takes numbers from 0, in falling order'));
    assert.throws(() => new EulerDiscreteScheduler({ use_karras_sigmas: true }).setTimesteps({ timesteps: [2, 1] }),
      new RangeError('EulerDiscreteScheduler: got a list of timesteps, takes none where the config spaces the sigmas'));
    assert.throws(() => new DPMSolverMultistepScheduler({ use_lu_lambdas: true }).setTimesteps({ timesteps: [2, 1] }),
      new RangeError('DPMSolverMultistepScheduler: got a list of timesteps, takes none where the config spaces the sigmas'));
    assert.throws(() => new UniPCMultistepScheduler({ use_flow_sigmas: true, use_karras_sigmas: true }).setTimesteps({ sigmas: [0.9, 0.5] }),
      new RangeError('UniPCMultistepScheduler: got a list of sigmas, takes none where the config spaces them'));
    assert.throws(() => new LCMScheduler().setTimesteps(51),
      new RangeError('LCMScheduler numInferenceSteps: got 51, takes at most the 50 original steps that strength leaves'));
    assert.throws(() => new TCDScheduler().setTimesteps(4, { originalInferenceSteps: 0 }),
      new RangeError('TCDScheduler originalInferenceSteps: got 0, takes a whole number, from 1 to 1000'));
    const odd = new LCMScheduler();
    assert.deepEqual(warnings(() => odd.setTimesteps({ timesteps: [999, 500] })),
      ['LCMScheduler: the model was not distilled for the timesteps [500], results may be poor']);
    assert.throws(() => new PNDMScheduler().setTimesteps(3),
      new RangeError('PNDMScheduler numInferenceSteps: got 3, takes 4 or more; fewer with skip_prk_steps'));
    assert.throws(() => new EDMEulerScheduler().setTimesteps({ sigmas: [1, 0] }),
      new RangeError('EDMEulerScheduler: got a list of sigmas, takes a number'));
    assert.throws(() => new FlowMatchEulerDiscreteScheduler({ use_dynamic_shifting: true }).setTimesteps(4),
      new TypeError('FlowMatchEulerDiscreteScheduler mu: got none, takes a number where the config has use_dynamic_shifting'));
    assert.throws(() => new DDIMScheduler({ steps_offset: 1 }).setTimesteps(1000),
      new RangeError('DDIMScheduler timesteps: got 1000, takes less than num_train_timesteps, 1000'));
  });
});

describeOnDevices('step', () => {
  const sample = () => tf.ones([1, 2, 3, 4]);

  it('refuses to run before setTimesteps, after the end, off the schedule and on misshapen output', () => tf.tidy(() => {
    const euler = new EulerDiscreteScheduler();
    assert.throws(() => euler.step(sample(), 999, sample()),
      new Error('EulerDiscreteScheduler: has no timesteps yet, call setTimesteps before step'));
    euler.setTimesteps(2);
    assert.throws(() => euler.step(sample(), 5, sample()), new RangeError('EulerDiscreteScheduler timestep: got 5, takes one of [999, 0]'));
    assert.throws(() => euler.step(tf.ones([1, 2, 3, 8]), 999, sample()),
      new RangeError('EulerDiscreteScheduler modelOutput: got shape [1, 2, 3, 8], takes [1, 2, 3, 4]'));
    euler.timesteps.forEach(t => euler.step(sample(), t, sample()));
    assert.throws(() => euler.step(sample(), 0, sample()),
      new RangeError('EulerDiscreteScheduler: has taken all its 2 steps, call setTimesteps to begin anew'));
    const ddim = new DDIMScheduler();
    ddim.setTimesteps(2);
    assert.throws(() => ddim.step(sample(), 1000, sample()),
      new RangeError('DDIMScheduler timestep: got 1000, takes a whole number, from 0 to 999'));
    assert.throws(() => ddim.addNoise(sample(), sample(), [1, 2]),
      new RangeError('DDIMScheduler timestep: got a list of 2, takes one or a list of 1, one per sample'));
  }));

  it('refuses options that make no sense', () => tf.tidy(() => {
    const tcd = new TCDScheduler();
    tcd.setTimesteps(4);
    assert.throws(() => tcd.step(sample(), tcd.timesteps[0], sample(), { eta: 2 }),
      new RangeError('TCDScheduler eta: got 2, takes 0 to 1'));
    const lms = new LMSDiscreteScheduler();
    lms.setTimesteps(4);
    assert.throws(() => lms.step(sample(), lms.timesteps[0], sample(), { order: 5 }),
      new RangeError('LMSDiscreteScheduler order: got 5, takes a whole number, from 1 to 4'));
  }));

  describe('where nothing is left of the original (zero terminal SNR)', () => {
    const zeroSnr = { rescale_betas_zero_snr: true, timestep_spacing: 'trailing' } as const;
    const column = (data: number[]) => tf.tensor(data, [1, 1, 1, data.length]);
    const first = (scheduler: Scheduler, options: StepOptions = {}) => {
      scheduler.setTimesteps(4);
      return scheduler.step(column([0.5, -0.5, -0.5, 0.5]), scheduler.timesteps[0], column([1, -1, 2, -2]), options);
    };
    const expectValues = (actual: tf.Tensor, data: number[]) => expectClose(actual, { shape: [1, 1, 1, data.length], data }, { atol: 1e-5, rtol: 1e-5 });

    it('clips what an epsilon prediction divides by 0, on every device', () => tf.tidy(() => {
      const { prevSample, predOriginalSample } = first(new DDIMScheduler(zeroSnr));
      expectValues(predOriginalSample!, [1, -1, 1, -1]);
      expectValues(prevSample, [0.5511878, -0.5511878, -0.4474666, 0.4474666]);
      expectValues(first(new DDIMScheduler({ ...zeroSnr, clip_sample_range: 2 })).prevSample, [0.6030484, -0.6030484, -0.395606, 0.395606]);
      for (const Class of [DDPMScheduler, LCMScheduler] as SchedulerClass[]) {
        expectValues(first(new Class({ ...zeroSnr, clip_sample: true })).predOriginalSample!, [1, -1, 1, -1]);
      }
    }));

    it('takes all noise anew at eta 1, thresholds the infinite, and leaves it where nothing bounds it', () => tf.tidy(() => {
      const { prevSample } = first(new DDIMScheduler(zeroSnr), { eta: 1, varianceNoise: column([1, 2, 3, 4]) });
      expectValues(prevSample, [1.0505149, 1.945448, 3.0478235, 3.9427566]); // 0.0518606 of the original, 0.9986543 of this noise
      expectValues(first(new DDIMScheduler({ ...zeroSnr, thresholding: true, sample_max_value: 1.5 })).predOriginalSample!, [1, -1, 1, -1]);
      assert.deepEqual([...first(new DDIMScheduler({ ...zeroSnr, clip_sample: false })).prevSample.dataSync()], [Infinity, -Infinity, Infinity, -Infinity]);
    }));
  });

  it('heeds no option of another scheduler that the config keeps', () => {
    const ddim = new DDIMScheduler({ clip_sample: true, thresholding: true });
    const euler = EulerDiscreteScheduler.fromConfig(ddim.config);
    euler.setTimesteps(2);
    tf.tidy(() => {
      const sample = tf.fill([1, 2, 2, 4], 100);
      const { predOriginalSample } = euler.step(tf.zerosLike(sample), euler.timesteps[0], sample);
      expectClose(predOriginalSample!, { shape: [1, 2, 2, 4], data: Array(16).fill(100) });
    });
  });

  it('draws each sample\'s noise from its own generator', () => tf.tidy(() => {
    const scheduler = new EulerAncestralDiscreteScheduler();
    const first = (seeds: number[]) => {
      scheduler.setTimesteps(5);
      const zeros = tf.zeros([seeds.length, 2, 3, 4]);
      const generator = seeds.map(seed => new Generator().manualSeed(seed));
      return scheduler.step(zeros, scheduler.timesteps[0], zeros, { generator }).prevSample;
    };
    const both = first([1, 2]);
    expectClose(both, { shape: [2, 2, 3, 4], data: tf.concat([first([1]), first([2])]).dataSync() }, { atol: 0, rtol: 1e-7 });
  }));

  it('goes from several timesteps at once', () => {
    const { tensors, meta: { cases, timesteps } } = loadGolden('schedulers/batches');
    const latents = (seed: number) => tf.tensor4d(new Generator().manualSeed(seed).randn(120), [2, 4, 3, 5]).transpose([0, 2, 3, 1]);
    cases.forEach(({ name, config, options }: { name: string; config: DDPMConfig; options: object }, i: number) => tf.tidy(() => {
      const scheduler = schedulerClass(name).fromConfig(config) as DDIMParallelScheduler;
      const [sample, output] = [latents(30), latents(31)];
      const seen = config.variance_type ? tf.concat([output, tf.zerosLike(output)], -1) : output;
      assert.throws(() => scheduler.batchStepNoNoise(seen, timesteps, sample), new Error(`${name}: has no timesteps yet, call setTimesteps before step`));
      scheduler.setTimesteps(10);
      expectClose(scheduler.batchStepNoNoise(seen, timesteps, sample, options), tensors[i]);
      assert.throws(() => scheduler.batchStepNoNoise(seen, [3], sample), new RangeError(`${name} timesteps: got [3], takes 2, one per sample`));
    }));
  });

  it('goes back to the noise of a sample, and from there to the sample', () => tf.tidy(() => {
    const clean = tf.randomNormal([1, 2, 3, 4], 0, 1, 'float32', 3);
    const predict = (x: tf.Tensor, t: number) => x.mul(t / 2000); // smooth enough for a thousand small steps to hit
    const run = (scheduler: Scheduler, begin: tf.Tensor) => {
      scheduler.setTimesteps(500);
      return scheduler.timesteps.reduce((x, t) => scheduler.step(predict(x, t), t, x).prevSample, begin);
    };
    const noise = run(new DDIMInverseScheduler({ clip_sample: false }), clean);
    assert.ok(noise.sub(clean).abs().max().dataSync()[0] > 0.1);
    expectClose(run(new DDIMScheduler({ clip_sample: false }), noise), { shape: clean.shape, data: clean.dataSync() }, { atol: 2e-2, rtol: 2e-2 });
  }));

  it('adds noise by the angles of IPNDM', () => tf.tidy(() => {
    const scheduler = new IPNDMScheduler();
    scheduler.setTimesteps(4);
    const t = scheduler.timesteps[2]; // half-way in time: half of the amplitude is noise
    expectClose(scheduler.addNoise(tf.ones([1, 1, 1, 1]), tf.zeros([1, 1, 1, 1]), t), { shape: [1, 1, 1, 1], data: [Math.sqrt(0.75)] });
    expectClose(scheduler.addNoise(tf.zeros([1, 1, 1, 1]), tf.ones([1, 1, 1, 1]), t), { shape: [1, 1, 1, 1], data: [0.5] });
  }));

  it('returns tensors of their own and leaves the caller\'s alone', () => expectNoLeak(() => {
    const scheduler = new DDIMScheduler({ prediction_type: 'sample', clip_sample: false });
    scheduler.setTimesteps(1);
    const [output, x] = [sample(), sample()];
    const { prevSample, predOriginalSample } = scheduler.step(output, scheduler.timesteps[0], x);
    const scaled = scheduler.scaleModelInput(x, scheduler.timesteps[0]);
    tf.dispose([output, x]);
    assert.deepEqual(prevSample.dataSync(), predOriginalSample!.dataSync());
    assert.equal(scaled.dataSync()[0], 1);
    return [prevSample, predOriginalSample!, scaled];
  }));

  it('keeps what it remembers through the caller\'s tidy, until dispose', () => {
    const before = tf.memory().numTensors;
    const scheduler = new PNDMScheduler({ skip_prk_steps: true });
    scheduler.setTimesteps(5);
    tf.tidy(() => { scheduler.timesteps.slice(0, 3).forEach(t => scheduler.step(sample(), t, sample())); });
    assert.ok(tf.memory().numTensors > before);
    scheduler.dispose();
    assert.equal(tf.memory().numTensors, before);
    tf.tidy(() => assert.throws(() => scheduler.step(sample(), scheduler.timesteps[3], sample()),
      new Error('PNDMScheduler: has no timesteps yet, call setTimesteps before step')));
  });

  it('goes from noise to the sample that EDM\'s velocity points to, and that of a flow', () => tf.tidy(() => {
    const clean = tf.randomNormal([2, 2, 3, 4], 0, 1, 'float32', 1);
    const noise = tf.randomNormal([2, 2, 3, 4], 0, 1, 'float32', 2);
    const expected = { shape: clean.shape, data: clean.dataSync() };
    const edm = new EDMEulerScheduler({ prediction_type: 'v_prediction', sigma_data: 0.8 });
    edm.setTimesteps(10);
    const t = edm.timesteps[6];
    const { predOriginalSample } = edm.step(edm.getVelocity(clean, noise, t), t, edm.addNoise(clean, noise, t));
    expectClose(predOriginalSample!, expected, { atol: 1e-5, rtol: 1e-5 });
    const flow = new FlowMatchEulerDiscreteScheduler();
    flow.setTimesteps({ timesteps: [400] });
    const noisy = flow.addNoise(clean, noise, 400);
    expectClose(flow.step(flow.getVelocity(clean, noise), 400, noisy).prevSample, expected, { atol: 1e-5, rtol: 1e-5 });
  }));

  it('goes from noise to the sample that v_prediction\'s velocity points to', () => tf.tidy(() => {
    const scheduler = new DDIMScheduler({ prediction_type: 'v_prediction', clip_sample: false });
    scheduler.setTimesteps(10);
    const clean = tf.randomNormal([2, 2, 3, 4], 0, 1, 'float32', 1);
    const noise = tf.randomNormal([2, 2, 3, 4], 0, 1, 'float32', 2);
    const t = scheduler.timesteps[4];
    const velocity = scheduler.getVelocity(clean, noise, t);
    const { predOriginalSample } = scheduler.step(velocity, t, scheduler.addNoise(clean, noise, t));
    expectClose(predOriginalSample!, { shape: clean.shape, data: clean.dataSync() });
  }));

  it('ends at zero with the bh1 of UniPC too, at what the last step predicts of the original', () => tf.tidy(() => {
    for (const config of [{}, { use_flow_sigmas: true, prediction_type: 'flow_prediction' as const }]) {
      const [first, second] = (['bh1', 'bh2'] as const).map(solver_type => {
        const scheduler = new UniPCMultistepScheduler({ solver_type, solver_order: 1, ...config });
        scheduler.setTimesteps(1);
        return scheduler.step(tf.tensor([[[[0.5]]]]), scheduler.timesteps[0], tf.tensor([[[[2]]]])).prevSample;
      });
      expectClose({ shape: [1], data: [...first.dataSync()] }, { shape: [1], data: [...second.dataSync()] });
    }
  }));
});
