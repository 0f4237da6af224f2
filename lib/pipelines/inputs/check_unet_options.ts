import { checkNumber, show } from '../../core/checks.js';
import { blurs } from '../../models/unet_2d_condition_config.js';
import { pipelineClasses } from '../components/registry.js';
import { towardsText } from '../run/guidance.js';
import { checkGenerateOptions, checkLoraScale, type Expected, type Generating } from './check_generate_options.js';
import type { GenerateOptions, GenerateRequest, OutputType } from './generate_options.js';
import { checkImagePrompts, type ImageReader } from './image_prompts.js';
import { checkPerturbedAttention } from './perturbed_attention.js';

/** What makes pictures by a UNet: options are checked against it. */
export interface UNetGenerating extends Generating, ImageReader {
  readonly familyName: string;
}

/** What a pipeline's UNet is, and how it is guided, where that is not as Stable Diffusion's own. */
export interface ExpectedUNet extends Partial<Pick<Expected, 'guides' | 'avoidsZeros'>> {
  /** How many channels it may take; those of the latents by default. */
  channels?: readonly number[];
  /** Whether the pipeline can tell it a class. */
  classes?: boolean;
}

/** The pipelines whose UNets see more than latents, by their channels. */
const BY_CHANNELS: Record<number, string> = { 5: 'Depth2Img', 7: 'Upscale', 8: 'InstructPix2Pix', 9: 'Inpaint' };

/**
 * As `checkGenerateOptions`, of a UNet, which is guided with a scale above 1 unless it knows the scale and needs no second prediction.
 * @throws TypeError or RangeError that names the option, what it got and what it takes.
 */
export function checkUNetOptions(
  pipe: UNetGenerating, prompt: string | string[] | undefined, options: GenerateOptions<OutputType>,
  { channels = [pipe.vae.config.latent_channels], classes = false, guides = scale => scale > 1 && !pipe.unet.takesGuidance, avoidsZeros }:
  ExpectedUNet = {},
): GenerateRequest {
  const { unet, promptEncoders } = pipe;
  checkUNet(pipe, channels, classes);
  const { tokenizer, textEncoder } = promptEncoders.at(-1)!;
  const request = checkGenerateOptions(pipe, prompt, options, {
    features: unet.textFeatures, tokens: tokenizer.modelMaxLength,
    clipLayers: textEncoder.config.num_hidden_layers, guides, avoidsZeros,
  });
  const { guided, guidanceScale: scale } = request;
  const rescale = checkNumber('guidanceRescale', options.guidanceRescale ?? 0, 0, 1);
  return {
    ...request,
    imagePrompts: checkImagePrompts(pipe, options, guided),
    guidanceRescale: rescale,
    guidance: towardsText(guided ? { scale, rescale } : undefined, checkPerturbedAttention(unet, options)),
    loraScale: checkLoraScale('crossAttentionKwargs', options.crossAttentionKwargs),
    eta: checkNumber('eta', options.eta ?? 0, 0, 1),
  };
}

/** @throws RangeError for a UNet that this pipeline cannot tell what it takes. */
function checkUNet({ unet, familyName, promptEncoders }: UNetGenerating, channels: readonly number[], classes: boolean): void {
  const { textFeatures: features } = unet;
  const tellsSizes = familyName === 'StableDiffusionXL';
  if (unet.takesAdditions !== tellsSizes) {
    const [takes, other] = tellsSizes
      ? ["'text_time'", 'StableDiffusionPipeline runs others']
      : ['null', "StableDiffusionXLPipeline runs SDXL's"];
    throw new RangeError(`unet: addition_embed_type: got ${show(unet.config.addition_embed_type)}, takes ${takes}: ${other}`);
  }
  const given = promptEncoders.map(each => each.textEncoder.config.hidden_size);
  if (given.reduce((sum, size) => sum + size, 0) !== features) {
    const givers = given.length > 1 ? 'textEncoder and textEncoder2: give' : `${tellsSizes ? 'textEncoder2' : 'textEncoder'}: gives`;
    throw new RangeError(`${givers} ${given.join(' + ')} features, the unet takes ${features}`);
  }
  if (unet.takesClasses && !classes) {
    const key = unet.config.class_embed_type === null ? 'num_class_embeds' : 'class_embed_type';
    throw new RangeError(`unet: ${key}: got ${show(unet.config[key])}, takes null: this pipeline has no classes to tell the unet`);
  }
  const { in_channels: got } = unet.config;
  if (!channels.includes(got)) {
    const other = `${familyName}${blurs(unet.config) ? 'LatentUpscale' : BY_CHANNELS[got]}Pipeline`;
    const hint = Object.hasOwn(pipelineClasses, other) ? `; one of ${got} channels is for ${other}` : '';
    throw new RangeError(`unet: in_channels: got ${got}, takes ${channels.join(' or ')}${hint}`);
  }
}
