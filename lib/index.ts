/** TensorFlow.js, the copy that this library computes with: another copy would replace its kernels. */
export * as tf from '@tensorflow/tfjs';

export {
  AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image, DiffusionPipeline,
} from './pipelines/index.js';
export * from './pipelines/classes.js';
export type {
  AdapterComponents, ControlNetComponents, ImageComponents, SD3ControlNetComponents, StableDiffusion3Components,
  StableDiffusionComponents, StableDiffusionXLComponents, UpscaleComponents, XLAdapterComponents, XLControlNetComponents,
  XLInstructPix2PixComponents,
} from './pipelines/components/components.js';
export type { ControlOptions } from './pipelines/controlnet/control.js';
export type { ControlImages, ControlStrength } from './pipelines/controlnet/picture_control.js';
export type { ControlNetOptions } from './pipelines/controlnet/stable_diffusion_controlnet.js';
export type { ControlNetImg2ImgOptions } from './pipelines/controlnet/stable_diffusion_controlnet_img2img.js';
export type { ControlNetInpaintOptions } from './pipelines/controlnet/stable_diffusion_controlnet_inpaint.js';
export type { XLControlNetOptions } from './pipelines/controlnet/stable_diffusion_xl_controlnet.js';
export type { XLControlNetImg2ImgOptions } from './pipelines/controlnet/stable_diffusion_xl_controlnet_img2img.js';
export type { XLControlNetInpaintOptions } from './pipelines/controlnet/stable_diffusion_xl_controlnet_inpaint.js';
export type { XLControlNetUnionOptions } from './pipelines/controlnet/stable_diffusion_xl_controlnet_union.js';
export type { SD3ControlOptions, SD3MaskedControlOptions } from './pipelines/controlnet/sd3_control.js';
export type { SD3ControlNetOptions } from './pipelines/controlnet/stable_diffusion_3_controlnet.js';
export type { SD3ControlNetInpaintingOptions } from './pipelines/controlnet/stable_diffusion_3_controlnet_inpainting.js';
export type { AdapterOptions, AdapterRange } from './pipelines/t2i_adapter/adapter_steering.js';
export type { AdapterPipelineOptions } from './pipelines/t2i_adapter/stable_diffusion_adapter.js';
export type { XLAdapterPipelineOptions } from './pipelines/t2i_adapter/stable_diffusion_xl_adapter.js';
export type { Depth2ImgOptions } from './pipelines/stable_diffusion/stable_diffusion_depth2img.js';
export type { Edit } from './pipelines/stable_diffusion/edit.js';
export type { InstructPix2PixOptions } from './pipelines/stable_diffusion/stable_diffusion_instruct_pix2pix.js';
export type { LatentUpscaleOptions } from './pipelines/stable_diffusion/stable_diffusion_latent_upscale.js';
export type { UpscaleOptions } from './pipelines/stable_diffusion/stable_diffusion_upscale.js';
export type { XLInstructPix2PixOptions } from './pipelines/stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js';
export type { Img2ImgOptions } from './pipelines/stable_diffusion/stable_diffusion_img2img.js';
export type { XLOptions, XLImageOptions, Pair } from './pipelines/stable_diffusion_xl/xl_options.js';
export type { XLImg2ImgOptions } from './pipelines/stable_diffusion_xl/stable_diffusion_xl_img2img.js';
export type { SD3Options, SkipLayerOptions } from './pipelines/stable_diffusion_3/sd3_options.js';
export type { SD3Img2ImgOptions } from './pipelines/stable_diffusion_3/stable_diffusion_3_img2img.js';
export type { SD3InpaintOptions } from './pipelines/stable_diffusion_3/stable_diffusion_3_inpaint.js';
export type { XLInpaintOptions } from './pipelines/stable_diffusion_xl/stable_diffusion_xl_inpaint.js';
export type {
  AutoComponents, AutoPipeline, AutoPipelineOptions, Image2ImagePipeline, InpaintingPipeline, Text2ImagePipeline,
} from './pipelines/auto_pipeline.js';
export type { GuidedPipeline } from './pipelines/base/guided_pipeline.js';
export { ImagePromptPipeline } from './pipelines/base/image_prompt_pipeline.js';
export type { Denoiser } from './models/denoiser.js';
export type { Painting } from './pipelines/inputs/inpainting.js';
export type { InpaintOptions } from './pipelines/stable_diffusion/stable_diffusion_inpaint.js';
export type { LatentConsistencyModelOptions } from './pipelines/latent_consistency_models/latent_consistency_model.js';
export type { LatentConsistencyModelImg2ImgOptions } from './pipelines/latent_consistency_models/latent_consistency_model_img2img.js';
export {
  encodeWeightedPrompt, type SD3WeightedPromptOptions,
  type WeightedPromptEmbeds, type WeightedPromptOptions, type XLWeightedPromptEmbeds, type XLWeightedPromptOptions,
} from './pipelines/weighted_prompt.js';
export type { PromptEncoder } from './adapters/learned_words.js';
export { parsePromptWeights, type WeightedText } from './pipelines/prompt_weights.js';
export type { ImageInput } from './pipelines/inputs/image_input.js';
export type { IpAdapterScale, LoadIpAdapterOptions } from './pipelines/base/image_prompt_pipeline.js';
export type { ImageReader } from './pipelines/inputs/image_prompts.js';
export type { ImagePrompt, ImagePromptOptions } from './pipelines/inputs/image_prompt_options.js';
export type { PerturbedAttentionOptions } from './pipelines/inputs/perturbed_attention.js';
export type { LoadLoraOptions, LoadTextualInversionOptions } from './pipelines/base/adaptable_pipeline.js';
export type { BlockScale, BlockScales, LoraScale, SideScale } from './adapters/lora_scale.js';
export type { PooledOptions } from './pipelines/inputs/check_pooled.js';
export type {
  GenerateOptions, GenerateOutput, GuidedOptions, LoraKwargs, OutputType, StepCallback, StepState,
} from './pipelines/inputs/generate_options.js';
export type { FromPretrainedOptions, LoadingProgress, LoadPipelineOptions } from './pipelines/components/load_components.js';
export type { Component, ComponentPlace, Family } from './pipelines/components/component.js';
export type { PipelineClass, UsualPipeline } from './pipelines/components/registry.js';
export type { CompileOptions } from './pipelines/run/compilation.js';
export type { GraphOptions } from './core/graph.js';
export type { Addend } from './core/kernels.js';
export { NotANumberError } from './pipelines/run/not_a_number.js';
export { OutOfMemoryError, type MemorySaver } from './pipelines/run/out_of_memory.js';
export { findExecutableBatchSize } from './pipelines/run/find_executable_batch_size.js';
export type { ProgressBarConfig } from './pipelines/run/progress_bar.js';
export { createWorkerPipeline, type WorkerPipeline, type WorkerPipelineOptions } from './worker/worker_pipeline.js';

export { AutoencoderKL, DiagonalGaussianDistribution, type AutoencoderKLConfig } from './models/autoencoder_kl.js';
export { AutoencoderTiny, type AutoencoderTinyConfig } from './models/autoencoder_tiny.js';
export type { Autoencoder } from './models/autoencoder.js';
export { DeepCache, type DeepCacheOptions } from './models/deep_cache.js';
export { CLIPTextModel, type CLIPTextConfig, type CLIPTextModelOutput } from './models/clip_text_model.js';
export { CLIPTextModelWithProjection, type CLIPTextModelWithProjectionOutput } from './models/clip_text_model_with_projection.js';
export { T5EncoderModel } from './models/t5_encoder_model.js';
export type { T5Config } from './models/t5_config.js';
export { CLIPImageProcessor, type CLIPImageProcessorConfig } from './models/clip_image_processor.js';
export type { CLIPVisionConfig } from './models/clip_vision_config.js';
export { CLIPVisionModelWithProjection, type CLIPVisionModelOutput } from './models/clip_vision_model.js';
export { StableDiffusionSafetyChecker, type SafetyCheckerConfig, type SafetyCheckerOutput } from './models/safety_checker.js';
export { ControlNetModel, type ControlConditions, type FromUnetOptions } from './models/controlnet.js';
export type { ControlNetConfig } from './models/controlnet_config.js';
export type { ControlNetOutput } from './models/controlnet_output.js';
export { MultiControlNetModel, type MultiControlConditions } from './models/multi_controlnet.js';
export { ControlNetUnionModel, type ControlUnionConditions } from './models/controlnet_union.js';
export type { ControlNetUnionConfig } from './models/controlnet_union_config.js';
export { MultiControlNetUnionModel, type MultiControlUnionConditions } from './models/multi_controlnet_union.js';
export type { ControlNets } from './models/controlnets.js';
export { T2IAdapter } from './models/t2i_adapter.js';
export type { T2IAdapterConfig } from './models/t2i_adapter_config.js';
export { MultiAdapter, type Adapters } from './models/multi_adapter.js';
export type { StateSize } from './models/unet_levels.js';
export { IPAdapters, type IPAdapterScaleOfPath } from './models/ip_adapters.js';
export type { SD3ControlNetConfig, SD3PathConfig, SD3Transformer2DConfig } from './models/sd3_config.js';
export {
  SD3ControlNetModel, type FromTransformerOptions, type SD3ControlConditions, type SD3ControlNetOutput,
} from './models/sd3_controlnet.js';
export { SD3MultiControlNetModel, type SD3ControlNets, type SD3MultiControlConditions } from './models/sd3_multi_controlnet.js';
export type { SD3Conditions } from './models/sd3_path.js';
export { SD3Transformer2DModel, type SD3Additions } from './models/sd3_transformer_2d_model.js';
export { UNet2DConditionModel, type PerturbedAttention, type UNetAdditions } from './models/unet_2d_condition_model.js';
export type { AddedConditions, UNetConditions } from './models/unet_down_path.js';
export type { UNet2DConditionConfig } from './models/unet_2d_condition_config.js';
export { Model } from './models/model.js';
export type { LoadModelOptions as ModelFromPretrainedOptions } from './models/load_model.js';
export type { SaveOptions } from './models/save_model.js';
export { CLIPTokenizer, type CLIPTokenizerFiles, type EncodeOptions } from './tokenizer/clip_tokenizer.js';
export { T5Tokenizer, type T5TokenizerFiles } from './tokenizer/t5_tokenizer.js';
export * from './schedulers/index.js';

export type { TextEncoderSources } from './loading/with_text_encoders.js';
export { convertModel, PickleError, type ConvertOptions } from '../weights-converter/index.js';

export { Image, type ReadOptions } from './image/image.js';
export type { Box, Pixels } from './image/pixels.js';
export type { ResizeFilter } from './image/resize.js';
export { ImageError } from './image/image_error.js';
export { PngError } from './image/png_chunks.js';
export { makeImageGrid } from './image/grid.js';
export { cannyEdges, scribble, type CannyOptions, type ScribbleOptions } from './image/edges.js';
export { LatentsPreview } from './pipelines/run/latents_preview.js';
export { formatGenerationParameters, parseGenerationParameters, type GenerationParameters } from './image/generation_parameters.js';
export { FLOAT_DTYPES, type FloatDtype } from './core/float16.js';
export { Generator, randn, type GeneratorOptions, type GeneratorState } from './core/random.js';
export type { Profile, ProfileMark, ProfileRow, ProfileSlice } from './core/profile.js';
export {
  availableDevices, currentDevice, describeDevices, useDevice, DeviceError,
  type Device, type DeviceOptions, type DeviceReport, type DeviceStatus,
} from './runtime/devices.js';
export type { Gpu } from './runtime/native/cuda/nvidia.js';

export { ModelFileError, type DownloadProgress, type ModelFolder, type ModelSource } from './files/model_folder.js';
export { HubError } from './hub/hub_error.js';
export type { HubOptions } from './hub/hub_settings.js';
export { FetchFolder, type FetchFolderOptions } from './files/fetch_folder.js';
export { FileListFolder } from './files/file_list_folder.js';
export { openCheckpointFile, type CheckpointFileOptions } from './loading/open_checkpoint_file.js';
export { SafetensorsError } from './weights/safetensors.js';
export { GgufError } from './checkpoints/gguf.js';
export type { ByteSource, FilePlace } from './files/byte_source.js';
export { WeightsError } from './weights/load_weights.js';
export type { WeightDtype } from './weights/weight_reader.js';

export { Block } from './core/block.js';
export type { ParameterChange, ParameterLayout, ParameterSpec } from './core/parameter.js';
export { PackedTensor, type HalfFormat, type Operand, type PackedFormat, type PackedGroups } from './core/packed_tensor.js';
export type { StoredValue } from './core/stored_value.js';
export { gelu, geluTanh, mish, quickGelu, silu, type Activation } from './layers/activations.js';
export {
  AdaLayerNormContinuous, AdaLayerNormZero, type Gate, type Modulation, type ZeroModulations,
} from './layers/ada_layer_norm.js';
export { AddedKVAttention, type AddedKVAttentionConfig } from './layers/added_kv_attention.js';
export { Attention, SpatialAttention, type AttentionConditions, type AttentionConfig, type AttentionInputs } from './layers/attention.js';
export { BasicTransformerBlock, type BasicTransformerBlockConfig } from './layers/basic_transformer_block.js';
export { CombinedTimestepTextProjEmbeddings } from './layers/combined_timestep_text_proj_embeddings.js';
export { Conv2d, type Conv2dOptions, type Padding } from './layers/conv2d.js';
export { Downsample2D } from './layers/downsample_2d.js';
export { Embedding } from './layers/embedding.js';
export { FeedForward, type FeedForwardOptions } from './layers/feed_forward.js';
export { GroupNorm } from './layers/group_norm.js';
export { JointAttention, type JointAttentionConfig } from './layers/joint_attention.js';
export {
  JointTransformerBlock, SD3SingleTransformerBlock, type JointStates, type JointTransformerBlockConfig,
} from './layers/joint_transformer_block.js';
export { LayerNorm } from './layers/layer_norm.js';
export {
  ImageProjection, ImageTokens, IPAdapterFullImageProjection, IPAdapterPlusImageProjection, type ImageProjectionConfig,
} from './layers/image_projection.js';
export { IPAdapterAttention, type ImagePrompts, type ScaledImagePrompts } from './layers/ip_adapter_attention.js';
export { Linear } from './layers/linear.js';
export { MultiHeadAttention, type AttentionSlice } from './layers/multi_head_attention.js';
export { PatchEmbed, type PatchEmbedConfig } from './layers/patch_embed.js';
export { ResnetBlock2D, type ResnetBlock2DConfig } from './layers/resnet_block_2d.js';
export { RMSNorm } from './layers/rms_norm.js';
export type { FreeUOptions } from './layers/free_u.js';
export type { TokenMergingOptions } from './layers/token_merging.js';
export { scaledDotProductAttention, type AttentionOptions } from './layers/scaled_dot_product_attention.js';
export {
  getGuidanceScaleEmbedding, getTimestepEmbedding, TimestepEmbedding, type SinusoidOptions, type TimestepEmbeddingOptions,
} from './layers/timestep_embedding.js';
export { Transformer2DModel, type Transformer2DConfig } from './layers/transformer_2d.js';
export { Upsample2D } from './layers/upsample_2d.js';
