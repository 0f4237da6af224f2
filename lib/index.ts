export { DiffusionPipeline } from './pipelines/diffusion_pipeline.js';
export { StableDiffusionPipeline, type StableDiffusionComponents } from './pipelines/stable_diffusion.js';
export { StableDiffusionImg2ImgPipeline, type Img2ImgOptions } from './pipelines/stable_diffusion_img2img.js';
export { StableDiffusionInpaintPipeline, type InpaintOptions } from './pipelines/stable_diffusion_inpaint.js';
export { encodeWeightedPrompt, type WeightedPromptEmbeds, type WeightedPromptOptions } from './pipelines/weighted_prompt.js';
export { parsePromptWeights, type WeightedText } from './pipelines/prompt_weights.js';
export type { ImageInput } from './pipelines/image_input.js';
export type { LoadLoraOptions, LoadTextualInversionOptions } from './pipelines/adaptable_pipeline.js';
export type { GenerateOptions, GenerateOutput, OutputType, StepCallback } from './pipelines/generate_options.js';
export type { FromPretrainedOptions, LoadingProgress } from './pipelines/load_components.js';
export { OutOfMemoryError, type MemorySaver } from './pipelines/out_of_memory.js';
export { findExecutableBatchSize } from './pipelines/find_executable_batch_size.js';
export type { ProgressBarConfig } from './pipelines/progress_bar.js';

export { AutoencoderKL, DiagonalGaussianDistribution, type AutoencoderKLConfig } from './models/autoencoder_kl.js';
export { AutoencoderTiny, type AutoencoderTinyConfig } from './models/autoencoder_tiny.js';
export type { Autoencoder } from './models/autoencoder.js';
export { DeepCache, type DeepCacheOptions } from './models/deep_cache.js';
export { CLIPTextModel, type CLIPTextConfig, type CLIPTextModelOutput } from './models/clip_text_model.js';
export { UNet2DConditionModel, type UNet2DConditionConfig } from './models/unet_2d_condition_model.js';
export { Model, type FromPretrainedOptions as ModelFromPretrainedOptions } from './models/model.js';
export { CLIPTokenizer, type CLIPTokenizerFiles, type EncodeOptions } from './tokenizer/clip_tokenizer.js';
export * from './schedulers/index.js';

export { convertModel, PickleError, type ConvertOptions } from '../weights-converter/index.js';

export { Image } from './image/image.js';
export { PngError } from './image/png_chunks.js';
export { makeImageGrid } from './image/grid.js';
export { LatentsPreview } from './image/latents_preview.js';
export { formatGenerationParameters, parseGenerationParameters, type GenerationParameters } from './image/generation_parameters.js';
export { Generator, randn } from './core/random.js';
export type { Profile, ProfileMark, ProfileRow, ProfileSlice } from './core/profile.js';
export { availableDevices, currentDevice, describeDevices, useDevice, DeviceError, type Device, type DeviceOptions, type DeviceReport, type DeviceStatus } from './runtime/devices.js';

export { ModelFileError, type DownloadProgress, type HubOptions, type ModelFolder } from './hub/model_folder.js';
export { FetchFolder, type FetchFolderOptions } from './hub/fetch_folder.js';
export { FileListFolder } from './hub/file_list_folder.js';
export { SafetensorsError, type ByteSource } from './weights/safetensors.js';
export { WeightsError } from './weights/load_weights.js';

export { Block, type ParameterLayout, type ParameterSpec } from './core/block.js';
export { gelu, quickGelu, silu, type Activation } from './layers/activations.js';
export { Attention, SpatialAttention, type AttentionConfig, type AttentionSlice } from './layers/attention.js';
export { BasicTransformerBlock, type BasicTransformerBlockConfig } from './layers/basic_transformer_block.js';
export { Conv2d, type Conv2dOptions, type Padding } from './layers/conv2d.js';
export { Downsample2D } from './layers/downsample_2d.js';
export { Embedding } from './layers/embedding.js';
export { FeedForward } from './layers/feed_forward.js';
export { GroupNorm } from './layers/group_norm.js';
export { LayerNorm } from './layers/layer_norm.js';
export { Linear } from './layers/linear.js';
export { ResnetBlock2D, type ResnetBlock2DConfig } from './layers/resnet_block_2d.js';
export type { TokenMergingOptions } from './layers/token_merging.js';
export { scaledDotProductAttention, type AttentionOptions } from './layers/scaled_dot_product_attention.js';
export { getTimestepEmbedding, TimestepEmbedding, type SinusoidOptions } from './layers/timestep_embedding.js';
export { Transformer2DModel, type Transformer2DConfig } from './layers/transformer_2d.js';
export { Upsample2D } from './layers/upsample_2d.js';
