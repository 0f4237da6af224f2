import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { writeFile, cp } from 'node:fs/promises';
import { join } from 'node:path';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModelWithProjection } from '../../lib/models/clip_text_model_with_projection.js';
import { SD3Transformer2DModel } from '../../lib/models/sd3_transformer_2d_model.js';
import { T5EncoderModel } from '../../lib/models/t5_encoder_model.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { StableDiffusion3Pipeline } from '../../lib/pipelines/index.js';
import { schedulerClasses, type Scheduler } from '../../lib/schedulers/index.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { TINY_SD3, TINY_XL } from '../support/tiny_pipeline.js';
import { captureWarnings } from '../support/warnings.js';

const read = (path: string): Record<string, unknown> => JSON.parse(readFileSync(path, 'utf8'));

/** Of each class a config, and the keys of numbers that take 0. */
const MODELS = {
  vae: [AutoencoderKL, read(`${TINY_SD3}/vae/config.json`), ['shift_factor']],
  unet: [UNet2DConditionModel, read(`${TINY_XL}/unet/config.json`), ['freq_shift', 'downsample_padding', 'norm_eps', 'transformer_layers_per_block']],
  transformer: [SD3Transformer2DModel, read(`${TINY_SD3}/transformer/config.json`), ['dual_attention_layers']],
  'text encoder': [CLIPTextModelWithProjection, read(`${TINY_SD3}/text_encoder/config.json`), ['layer_norm_eps', 'eos_token_id']],
  T5: [T5EncoderModel, read(`${TINY_SD3}/text_encoder_3/config.json`), ['layer_norm_epsilon']],
} as const;

describe('The numbers of configs', () => {
  const folder = temporaryFolder();

  for (const [name, [Network, config, zeros]] of Object.entries(MODELS)) {
    it(`of a ${name} are none that would make nothing, or be divided by, and no texts: each is told by its key`, () => {
      const known = new Network(config).config as unknown as Record<string, unknown>;
      const numbers = Object.entries(known).filter(([, value]) => [value].flat().some(item => typeof item === 'number'));
      assert.ok(numbers.length > 4);
      for (const [key, value] of numbers) {
        const like = (item: unknown) => Array.isArray(value) ? value.map(() => item) : item;
        const make = (item: unknown) => () => new Network({ ...config, [key]: like(item) });
        for (const wrong of ['1', true, -1, 1e9]) {
          if (wrong !== -1 || key !== 'shift_factor') assert.throws(make(wrong), (error: Error) => error.message.includes(key) && !error.message.includes('\n'), `${key} ${wrong}`);
        }
        if (zeros.includes(key as never)) make(0)();
        else assert.throws(make(0), (error: Error) => !error.message.includes('\n') && error instanceof RangeError, `${key} 0`);
      }
    });
  }

  it('of a file are told with its name', async () => {
    const model = join(folder(), 'model');
    const loaded = async (part: string, change: object) => {
      await cp(TINY_SD3, model, { recursive: true });
      const path = join(model, part);
      await writeFile(path, JSON.stringify({ ...read(path), ...change }));
      return StableDiffusion3Pipeline.fromPretrained(model, { device: 'wasm' });
    };
    await assert.rejects(loaded('vae/config.json', { scaling_factor: 0 }),
      new RangeError(`${model}/vae/config.json: vae config: scaling_factor: got 0, takes a number above 0`));
    await assert.rejects(loaded('vae/config.json', { scaling_factor: '1.5' }),
      new TypeError(`${model}/vae/config.json: vae config: scaling_factor: got '1.5', takes a value like 0.18215`));
    await assert.rejects(loaded('transformer/config.json', { sample_size: 0 }),
      new RangeError(`${model}/transformer/config.json: transformer config: sample_size: got 0, takes a whole number, 1 or more`));
    await assert.rejects(loaded('scheduler/scheduler_config.json', { shift_terminal: '0.1' }), new RangeError(
      `${model}/scheduler/scheduler_config.json: FlowMatchEulerDiscreteScheduler shift_terminal: got '0.1', takes a number from 0 on, below 1, or null`));
  });

  for (const [name, Class] of Object.entries(schedulerClasses)) {
    it(`of ${name} make finite timesteps and sigmas, or are told`, () => captureWarnings(() => {
      const { config } = new Class();
      for (const key of Object.keys(config).filter(key => !key.startsWith('_'))) {
        for (const value of [0, -1, 0.5, 1e9, '1', [], {}]) {
          if (key === 'beta_end' && value === 0.5) continue; // of which so much noise comes that nothing is left, in diffusers too
          let scheduler: Scheduler & { sigmas?: ArrayLike<number> };
          try {
            scheduler = Class.fromConfig({ ...config, [key]: value });
            scheduler.setTimesteps(Math.min(5, scheduler.config.num_train_timesteps));
          } catch (error) {
            const { message } = error as Error;
            assert.ok((error instanceof RangeError || error instanceof TypeError) && !message.includes('\n') && message.length < 300, `${key} ${String(value)}: ${message}`);
            continue;
          }
          const numbers = [...scheduler.timesteps, ...Array.from(scheduler.sigmas ?? []), scheduler.initNoiseSigma];
          assert.ok(numbers.every(Number.isFinite), `${key} ${JSON.stringify(value)}: ${numbers.slice(0, 20)}`);
        }
      }
    }));
  }
});
