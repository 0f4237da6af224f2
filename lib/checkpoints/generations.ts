import { checkOneOf } from '../core/checks.js';
import type { Checkpoint } from './checkpoint.js';
import { schedulerConfig, upscaleSchedulerConfigs, xlSchedulerConfig, type KnownOfVae, type PredictionType } from './ldm_config.js';

/** What is known of each generation of Stable Diffusion, which its single files do not say. */

export interface CheckpointOptions {
  /** What the model of a single file was trained to predict, where the file does not tell. Default: as diffusers infers it. */
  predictionType?: PredictionType;
  /** The config of a file that holds one network alone, by diffusers' keys, and cannot say it. */
  config?: object;
}

/** One of the text encoders: what its component is called, and where its keys may be. */
export interface TextPart {
  readonly component: 'text_encoder' | 'text_encoder_2';
  readonly tokenizer: 'tokenizer' | 'tokenizer_2';
  /** Before the keys of a CLIP of transformers, and before those of an OpenCLIP. */
  readonly clip?: string;
  readonly openClip?: string;
  /** Whether it gives the text as a whole too. */
  readonly projected: boolean;
  /** Whether what projects that is the identity, whatever the file says. */
  readonly unprojected?: boolean;
  /** Of a CLIP of transformers; OpenAI's by default. */
  readonly activation?: 'gelu';
  /** What texts are filled up with. */
  readonly padding: '<|endoftext|>' | '!';
  /** Its prefixes, as errors name them. */
  readonly prefixes: string;
}

/** What a checkpoint's configs hold besides what its shapes tell. */
export interface Generation {
  readonly imageSize: number;
  /** By their components' names. */
  readonly schedulers: { readonly scheduler: Record<string, unknown>; readonly low_res_scheduler?: Record<string, unknown> };
  /** Of model_index.json. */
  readonly index: Record<string, unknown>;
  readonly texts: readonly TextPart[];
  readonly ofVae: KnownOfVae;
  /** What its checkpoints lack, by the component, as errors say it. */
  readonly missing?: Readonly<Record<string, string>>;
}

/** Of a generation that has a UNet, whose config says besides what its shapes tell. */
export interface UnetGeneration extends Generation {
  readonly ofUnet: object;
}

type Unet = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/** By the weights of its UNet, and what lies beside them. */
export function knownOf(checkpoint: Checkpoint, unet: Unet, options: CheckpointOptions): UnetGeneration {
  const task = TASKS[unet.get('input_blocks.0.0.weight')?.shape[1] ?? 0] ?? '';
  if (unet.has('label_emb.0.0.weight')) return xl(checkpoint, task, options);
  return task === 'Upscale' ? upscaler(options) : first(checkpoint, unet, task, options);
}

/** What a UNet was trained for, by the channels that it sees. */
const TASKS: Readonly<Record<number, string>> = { 5: 'Depth2Img', 7: 'Upscale', 8: 'InstructPix2Pix', 9: 'Inpaint' };

/** SD1.x and SD2.x, of which the latter has 1024 features of text. */
function first({ globalStep }: Checkpoint, unet: Unet, task: string, options: CheckpointOptions): UnetGeneration {
  const second = unet.get('input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight')?.shape[1] === 1024;
  // As diffusers does: SD2 was trained for the velocity, but for its base, which is known by its training steps, and for other tasks.
  const prediction = predictionOf(options, second && !task && globalStep !== 875000 ? 'v_prediction' : 'epsilon');
  return {
    imageSize: prediction === 'epsilon' ? 512 : 768, schedulers: { scheduler: schedulerConfig(prediction) },
    ofUnet: { upcast_attention: second }, ofVae: {},
    index: { _class_name: `StableDiffusion${task}Pipeline` },
    texts: [textPart(second)],
  };
}

/** What enlarges pictures four times, with the text encoder of SD2.x. */
function upscaler(options: CheckpointOptions): UnetGeneration {
  return {
    imageSize: 256, schedulers: upscaleSchedulerConfigs(predictionOf(options, 'v_prediction')),
    ofUnet: { sample_size: 128, attention_head_dim: 8 }, ofVae: { scalingFactor: 0.08333 },
    index: { _class_name: 'StableDiffusionUpscalePipeline', max_noise_level: 350 },
    texts: [textPart(true)],
  };
}

/** The one text encoder of SD1.x and SD2.x. */
function textPart(second: boolean): TextPart {
  const [clip, openClip] = ['cond_stage_model.transformer.', 'cond_stage_model.model.'];
  return {
    component: 'text_encoder', tokenizer: 'tokenizer', clip, openClip, projected: false, padding: second ? '!' : '<|endoftext|>',
    prefixes: `${clip}* or ${openClip}*`,
  };
}

/** SDXL, and its refiner, which has the second text encoder alone. */
function xl({ tensors, name }: Checkpoint, ownTask: string, options: CheckpointOptions): UnetGeneration {
  if (tensors.has('edm_mean')) {
    throw new RangeError(`is Playground 2.5, whose latents have a mean of their own: load its folder from the hub instead of ${name}`);
  }
  const refines = tensors.has('conditioner.embedders.0.model.ln_final.weight');
  const prediction = predictionOf(options, tensors.has('v_pred') ? 'v_prediction' : 'epsilon'); // which newer models say so
  const clip = 'conditioner.embedders.0.transformer.';
  const openClip = `conditioner.embedders.${refines ? 0 : 1}.model.`;
  const task = refines ? 'Img2Img' : ownTask;
  return {
    imageSize: 1024, schedulers: { scheduler: xlSchedulerConfig(prediction, tensors.has('ztsnr')) },
    ofUnet: {}, ofVae: { scalingFactor: 0.13025, forceUpcast: true },
    index: {
      _class_name: `StableDiffusionXL${task}Pipeline`,
      force_zeros_for_empty_prompt: !refines, ...refines && { requires_aesthetics_score: true },
    },
    texts: [
      ...refines ? [] : [{
        component: 'text_encoder', tokenizer: 'tokenizer', clip, projected: false, padding: '<|endoftext|>', prefixes: `${clip}*`,
      } as const],
      { component: 'text_encoder_2', tokenizer: 'tokenizer_2', openClip, projected: true, padding: '!', prefixes: `${openClip}*` },
    ],
  };
}

function predictionOf({ predictionType }: CheckpointOptions, inferred: PredictionType): PredictionType {
  return checkOneOf('predictionType', predictionType ?? inferred, ['epsilon', 'v_prediction'] as const);
}
