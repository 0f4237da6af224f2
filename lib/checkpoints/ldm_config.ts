import { needed, type Shapes } from './shapes.js';

/**
 * The configs of a single-file checkpoint, but for its UNet's, from the shapes of its weights and what is known of the generations of
 * Stable Diffusion.
 */

export type PredictionType = 'epsilon' | 'v_prediction';

/** What no shape tells of a VAE. */
export interface KnownOfVae {
  readonly imageSize?: number;
  readonly scalingFactor?: number;
  readonly shiftFactor?: number;
  readonly forceUpcast?: boolean;
}

/** @throws RangeError for what is no VAE of Stable Diffusion. */
export function vaeConfig(
  shapes: Shapes, { imageSize = 512, scalingFactor = 0.18215, shiftFactor, forceUpcast }: KnownOfVae = {},
): { _class_name: string; block_out_channels: number[]; [key: string]: unknown } {
  const need = needed('VAE', shapes);
  const channels: number[] = [];
  for (let level = 0; ; level++) {
    const conv = shapes(`encoder.down.${level}.block.0.conv1.weight`);
    if (!conv) break;
    channels.push(conv[0]);
  }
  let layers = 0;
  while (shapes(`encoder.down.0.block.${layers}.conv1.weight`)) layers++;
  return {
    _class_name: 'AutoencoderKL',
    sample_size: imageSize,
    in_channels: need('encoder.conv_in.weight')[1],
    out_channels: need('decoder.conv_out.weight')[0],
    latent_channels: need('decoder.conv_in.weight')[1],
    block_out_channels: channels,
    down_block_types: channels.map(() => 'DownEncoderBlock2D'),
    up_block_types: channels.map(() => 'UpDecoderBlock2D'),
    layers_per_block: layers,
    norm_num_groups: 32,
    scaling_factor: scalingFactor,
    ...shiftFactor !== undefined && { shift_factor: shiftFactor },
    ...forceUpcast && { force_upcast: true },
    use_quant_conv: shapes('quant_conv.weight') !== undefined,
    use_post_quant_conv: shapes('post_quant_conv.weight') !== undefined,
  };
}

/** Of a CLIP whose keys are those of transformers. `projection` is the size of the text as a whole, if it gives that too. */
export function clipConfig(
  shapes: Shapes, { activation = 'quick_gelu', projection }: { activation?: string; projection?: number } = {},
): Record<string, unknown> {
  const find: Shapes = key => shapes(`text_model.${key}`) ?? shapes(key);
  const need = needed('text encoder', find);
  let layers = 0;
  while (find(`encoder.layers.${layers}.layer_norm1.weight`)) layers++;
  return textConfig({
    tokens: need('embeddings.token_embedding.weight'), positions: need('embeddings.position_embedding.weight'),
    fc1: need('encoder.layers.0.mlp.fc1.weight'), layers, activation, projection,
  });
}

/**
 * Of OpenCLIP. SD2.x conditions on its last layer but one alone, so that the last of 24 is left out; SDXL takes the text as a whole too.
 */
export function openClipConfig(shapes: Shapes, projected: boolean): { num_hidden_layers: number; [key: string]: unknown } {
  const need = needed('text encoder', shapes);
  let layers = 0;
  while (shapes(`transformer.resblocks.${layers}.ln_1.weight`)) layers++;
  return textConfig({
    tokens: need('token_embedding.weight'), positions: need('positional_embedding'),
    fc1: need('transformer.resblocks.0.mlp.c_fc.weight'), layers: projected ? layers : Math.min(layers, 23), activation: 'gelu',
    projection: projected ? need('text_projection')[1] : undefined,
  });
}

/** What SD was trained with; SD2.x for 768 pixels predicts the velocity. */
export function schedulerConfig(predictionType: PredictionType): Record<string, unknown> {
  return {
    _class_name: predictionType === 'epsilon' ? 'PNDMScheduler' : 'DDIMScheduler',
    num_train_timesteps: 1000, beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear', prediction_type: predictionType,
    set_alpha_to_one: false, steps_offset: 1, clip_sample: false, skip_prk_steps: true,
  };
}

/** Of what enlarges pictures: to denoise by, and to put noise onto the small picture. */
export function upscaleSchedulerConfigs(
  predictionType: PredictionType,
): Record<'scheduler' | 'low_res_scheduler', Record<string, unknown>> {
  const betas = { num_train_timesteps: 1000, beta_start: 0.0001, beta_end: 0.02, beta_schedule: 'scaled_linear' };
  return {
    scheduler: {
      _class_name: 'DDIMScheduler', ...betas, prediction_type: predictionType, set_alpha_to_one: false, steps_offset: 1, clip_sample: false,
    },
    low_res_scheduler: {
      _class_name: 'DDPMScheduler', ...betas, prediction_type: 'epsilon', clip_sample: true, variance_type: 'fixed_small',
    },
  };
}

/** SDXL's, whose newer models say in the file that they predict the velocity, and are trained down to no signal at all. */
export function xlSchedulerConfig(predictionType: PredictionType, zeroTerminalSnr: boolean): Record<string, unknown> {
  return {
    _class_name: 'EulerDiscreteScheduler',
    num_train_timesteps: 1000, beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear', prediction_type: predictionType,
    interpolation_type: 'linear', steps_offset: 1, timestep_spacing: zeroTerminalSnr ? 'trailing' : 'leading', use_karras_sigmas: false,
    ...zeroTerminalSnr && { rescale_betas_zero_snr: true },
  };
}

function textConfig({ tokens, positions, fc1, layers, activation, projection }: {
  tokens: readonly number[]; positions: readonly number[]; fc1: readonly number[]; layers: number; activation: string; projection?: number;
}): { num_hidden_layers: number; [key: string]: unknown } {
  return {
    architectures: [projection ? 'CLIPTextModelWithProjection' : 'CLIPTextModel'],
    vocab_size: tokens[0], hidden_size: tokens[1], max_position_embeddings: positions[0], intermediate_size: fc1[0],
    num_hidden_layers: layers, num_attention_heads: tokens[1] / 64, hidden_act: activation, layer_norm_eps: 1e-5,
    ...projection && { projection_dim: projection },
  };
}
