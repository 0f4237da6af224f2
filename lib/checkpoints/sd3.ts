import { show } from '../core/checks.js';
import type { CheckpointOptions, Generation } from './generations.js';
import type { KnownOfVae } from './ldm_config.js';
import { T5_PREFIX } from './t5_file.js';

/** What is known of SD3 and SD3.5, which their single files do not say. */

const [CLIP_L, CLIP_G] = ['clip_l', 'clip_g'].map(name => `text_encoders.${name}.transformer.`);

/** Of the autoencoder of 16 channels, as of a file of it alone. */
export const SD3_VAE: KnownOfVae = { imageSize: 1024, scalingFactor: 1.5305, shiftFactor: 0.0609, forceUpcast: true };

/** All but its networks. T5 may be missing, and its tokenizer is in no such file: without them prompts are read by the two CLIPs alone. */
export function sd3Generation(hasT5: boolean, { predictionType }: CheckpointOptions): Generation {
  if (predictionType !== undefined) {
    throw new RangeError(`predictionType: got ${show(predictionType)}, SD3 predicts the flow and takes none`);
  }
  return {
    imageSize: 1024, ofVae: SD3_VAE,
    schedulers: { scheduler: { _class_name: 'FlowMatchEulerDiscreteScheduler', num_train_timesteps: 1000, shift: 3 } },
    index: { _class_name: 'StableDiffusion3Pipeline', ...!hasT5 && { text_encoder_3: [null, null] }, tokenizer_3: [null, null] },
    missing: {
      ...!hasT5 && { text_encoder_3: `has no T5 (${T5_PREFIX}*); give it or its file, or null to go without, as the option textEncoder3` },
      tokenizer_3: 'has no tokenizer for T5, as no single file has; give it or its folder as the option tokenizer3',
    },
    texts: [
      { // as in diffusers, where only the second of them projects the text as a whole
        component: 'text_encoder', tokenizer: 'tokenizer', clip: CLIP_L, projected: true, unprojected: true, padding: '<|endoftext|>',
        prefixes: `${CLIP_L}*`,
      },
      {
        component: 'text_encoder_2', tokenizer: 'tokenizer_2', clip: CLIP_G, projected: true, activation: 'gelu', padding: '!',
        prefixes: `${CLIP_G}*`,
      },
    ],
  };
}
