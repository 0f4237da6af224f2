import { readFileSync } from 'node:fs';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { AutoencoderTiny } from '../../lib/models/autoencoder_tiny.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { CLIPTextModelWithProjection } from '../../lib/models/clip_text_model_with_projection.js';
import { CLIPImageProcessor } from '../../lib/models/clip_image_processor.js';
import { CLIPVisionModelWithProjection } from '../../lib/models/clip_vision_model.js';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { ControlNetUnionModel } from '../../lib/models/controlnet_union.js';
import { StableDiffusionSafetyChecker } from '../../lib/models/safety_checker.js';
import { SD3ControlNetModel } from '../../lib/models/sd3_controlnet.js';
import { SD3Transformer2DModel } from '../../lib/models/sd3_transformer_2d_model.js';
import { T2IAdapter } from '../../lib/models/t2i_adapter.js';
import { T5EncoderModel } from '../../lib/models/t5_encoder_model.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import '../../lib/pipelines/index.js'; // which knows the classes
import { loadPipeline } from '../../lib/pipelines/components/load_components.js';
import { schedulerClass, schedulerClasses } from '../../lib/schedulers/index.js';
import { MemoryFolder } from '../support/memory_folder.js';
import { captureWarnings } from '../support/warnings.js';
import { json, object, type Target } from './target.js';
import { merges, vocab } from './tokenizer_targets.js';

/** The configs of a pipeline's folder. */
export function configTargets(): Target[] {
  const scheduler = readFileSync('models/shapes/scheduler/scheduler_config.json');
  const given = { unet: new UNet2DConditionModel({}), vae: new AutoencoderKL({}), textEncoder: new CLIPTextModel({}) };
  const unet = { block_out_channels: [32, 64], layers_per_block: 1, cross_attention_dim: 8, attention_head_dim: [2, 4], down_block_types: ['CrossAttnDownBlock2D', 'DownBlock2D'],
    up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D'], norm_num_groups: 8, norm_eps: 1e-5, use_linear_projection: true, sample_size: 8, act_fn: 'silu', mid_block_type: null };
  const otherUnet = { ...unet, class_embed_type: 'projection', projection_class_embeddings_input_dim: 4, class_embeddings_concat: true, encoder_hid_dim: 6, time_cond_proj_dim: 8,
    down_block_types: ['SimpleCrossAttnDownBlock2D', 'ResnetDownsampleBlock2D'], up_block_types: ['UNetResUpBlock2D', 'CrossAttnUpBlock2D'], resnet_time_scale_shift: 'scale_shift',
    transformer_layers_per_block: [[1], 2], reverse_transformer_layers_per_block: [[2, 1], 1], cross_attention_norm: null, _diffusers_version: '0.6.0' };
  const xlUnet = { ...unet, addition_embed_type: 'text_time', addition_time_embed_dim: 4, projection_class_embeddings_input_dim: 36, transformer_layers_per_block: [1, 2] };
  const kUnet = { ...unet, block_out_channels: [32, 32], layers_per_block: [1, 2], attention_head_dim: 8, norm_num_groups: null, act_fn: 'gelu', time_embedding_dim: 32,
    time_embedding_type: 'fourier', timestep_post_act: 'gelu', time_cond_proj_dim: 9, down_block_types: ['KDownBlock2D', 'KCrossAttnDownBlock2D'], up_block_types: ['KCrossAttnUpBlock2D', 'KUpBlock2D'] };
  const control = { conditioning_channels: 3, conditioning_embedding_out_channels: [4, 8], controlnet_conditioning_channel_order: 'bgr', global_pool_conditions: true };
  const union = { ...control, controlnet_conditioning_channel_order: 'rgb', num_control_type: 6, num_trans_channel: 32, num_trans_head: 8, num_trans_layer: 2, num_proj_channel: 32 };
  const adapters = ['full_adapter', 'full_adapter_xl', 'light_adapter'].map(adapter_type => ({ in_channels: 1, channels: [4, 8, 8, 8], num_res_blocks: 1, downscale_factor: 4, adapter_type }));
  const vae = { block_out_channels: [8, 8], layers_per_block: 1, norm_num_groups: 4, down_block_types: ['DownEncoderBlock2D', 'DownEncoderBlock2D'],
    up_block_types: ['UpDecoderBlock2D', 'UpDecoderBlock2D'], scaling_factor: 0.18, shift_factor: -0.1, latents_mean: [0, -1, 2, 0.5] };
  const tinyVae = { encoder_block_out_channels: [8, 8], decoder_block_out_channels: [8, 8], num_encoder_blocks: [1, 2], num_decoder_blocks: [2, 1], act_fn: 'relu', scaling_factor: 1 };
  const text = { vocab_size: 30, hidden_size: 12, intermediate_size: 24, num_attention_heads: 2, num_hidden_layers: 2, max_position_embeddings: 7, hidden_act: 'gelu' };
  const t5 = { vocab_size: 30, d_model: 12, d_kv: 4, d_ff: 24, num_layers: 2, num_heads: 3, feed_forward_proj: 'gated-gelu', layer_norm_epsilon: 1e-6, relative_attention_max_distance: 20 };
  const vision = { hidden_size: 12, intermediate_size: 24, num_attention_heads: 2, num_hidden_layers: 2, image_size: 8, patch_size: 3, projection_dim: 4, hidden_act: 'gelu' };
  const processor = { do_resize: true, size: { shortest_edge: 9 }, resample: 3, crop_size: { height: 8, width: 7 }, image_mean: [0.1, 0.2, 0.3], image_std: [1, 2, 3], rescale_factor: 0.1 };
  const sd3 = { sample_size: 8, patch_size: 2, in_channels: 4, num_layers: 2, attention_head_dim: 4, num_attention_heads: 2, joint_attention_dim: 12, caption_projection_dim: 8,
    pooled_projection_dim: 10, out_channels: null, pos_embed_max_size: 6, dual_attention_layers: [0, 1], qk_norm: 'rms_norm' };
  const sd3Control = { ...sd3, joint_attention_dim: null, extra_conditioning_channels: 1, pos_embed_type: 'sincos', use_pos_embed: false, force_zeros_for_pooled_projection: false };
  return [
    {
      name: 'model_index.json', isJson: true, seeds: [new Uint8Array(readFileSync('models/shapes/model_index.json'))],
      read: async bytes => {
        const files = { 'model_index.json': bytes, 'scheduler/scheduler_config.json': scheduler, 'tokenizer/vocab.json': json(vocab), 'tokenizer/merges.txt': merges };
        await loadPipeline(new MemoryFolder(files), given);
        await loadPipeline(new MemoryFolder(files), {}).catch(error => {
          if (!/has no weights/.test(error.message)) throw error;
        });
      },
    },
    {
      name: 'scheduler_config.json', isJson: true,
      seeds: [new Uint8Array(scheduler), ...Object.values(schedulerClasses).map(Class => json(new Class().config))],
      read: async bytes => {
        const config = object(bytes) as { _class_name?: unknown };
        await captureWarnings(() => {
          const made = schedulerClass(String(config._class_name)).fromConfig(config);
          made.setTimesteps(5);
          if (!made.timesteps.every(t => Number.isFinite(t)) || made.timesteps.length > 200) throw new Error(`timesteps ${made.timesteps}`);
          if (!Number.isFinite(made.initNoiseSigma)) throw new Error(`initNoiseSigma ${made.initNoiseSigma}`);
        });
      },
    },
    { name: 'UNet config', isJson: true, seeds: [unet, otherUnet, xlUnet, kUnet].map(json), read: bytes => void new UNet2DConditionModel(object(bytes)).parameterSpecs() },
    { name: 'ControlNet config', isJson: true, seeds: [unet, xlUnet].map(each => json({ ...each, ...control })), read: bytes => void new ControlNetModel(object(bytes)).parameterSpecs() },
    { name: 'ControlNet-Union config', isJson: true, seeds: [json({ ...xlUnet, ...union })], read: bytes => void new ControlNetUnionModel(object(bytes)).parameterSpecs() },
    { name: 'T2I-Adapter config', isJson: true, seeds: adapters.map(json), read: bytes => void new T2IAdapter(object(bytes)).parameterSpecs() },
    { name: 'SD3 transformer config', isJson: true, seeds: [json(sd3)], read: bytes => void new SD3Transformer2DModel(object(bytes)).parameterSpecs() },
    { name: 'SD3 ControlNet config', isJson: true, seeds: [json(sd3Control), json({ ...sd3Control, joint_attention_dim: 12 })], read: bytes => void new SD3ControlNetModel(object(bytes)).parameterSpecs() },
    { name: 'VAE config', isJson: true, seeds: [json(vae)], read: bytes => void new AutoencoderKL(object(bytes)).parameterSpecs() },
    { name: 'tiny VAE config', isJson: true, seeds: [json(tinyVae)], read: bytes => void new AutoencoderTiny(object(bytes)).parameterSpecs() },
    { name: 'text encoder config', isJson: true, seeds: [json(text), json({ model_type: 'clip', text_config: text, projection_dim: 8 })], read: bytes => void new CLIPTextModelWithProjection(object(bytes)).parameterSpecs() },
    { name: 'T5 config', isJson: true, seeds: [json(t5)], read: bytes => void new T5EncoderModel(object(bytes)).parameterSpecs() },
    { name: 'image encoder config', isJson: true, seeds: [json(vision)], read: bytes => void new CLIPVisionModelWithProjection(object(bytes)).parameterSpecs() },
    { name: 'safety checker config', isJson: true, seeds: [json({ vision_config: vision, projection_dim: 6 })], read: bytes => void new StableDiffusionSafetyChecker(object(bytes)).parameterSpecs() },
    { name: 'image processor config', isJson: true, seeds: [json(processor), json({ size: 9, crop_size: 8 })], read: bytes => void new CLIPImageProcessor(object(bytes)) },
  ];
}
