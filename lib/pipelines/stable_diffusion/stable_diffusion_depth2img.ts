import { checkOptionNames } from '../../core/checks.js';
import { checkDepthMap, prepareDepthMap } from './depth_map.js';
import { img2ImgOptions, OPTIONS, type GenerateOutput, type OutputType } from '../inputs/generate_options.js';
import { checkTurns, type ImageInput } from '../inputs/image_input.js';
import { StableDiffusionPipeline } from './stable_diffusion.js';
import { prepareImg2Img, type Img2ImgOptions } from './stable_diffusion_img2img.js';

/** Options of `generate`: those of image to image, and a depth map. */
export interface Depth2ImgOptions<T extends OutputType = 'image'> extends Img2ImgOptions<T> {
  /**
   * The depth maps, of any size and range; brighter is nearer. Pictures, or a tensor `[maps, height, width, 1]`. Maps that are fewer than
   * the pictures to make are taken in turn.
   */
  depthMap: ImageInput;
}

const DEPTH2IMG_OPTIONS = [...img2ImgOptions(OPTIONS), 'depthMap'];

/**
 * Image to image that keeps to a depth map, which its UNet sees in a channel after the latents. You give the depth map: the pipeline has no
 * estimator for it.
 * Equals diffusers' StableDiffusionDepth2ImgPipeline with a depth_map.
 */
export class StableDiffusionDepth2ImgPipeline extends StableDiffusionPipeline {
  /** Leaves configs as they are. */
  protected override correctConfigs(): void { /* as diffusers */ }

  /** Makes images of a picture, its depths and prompts. Throws as StableDiffusionPipeline.generate does. */
  override async generate<T extends OutputType = 'image'>(
    prompt: string | string[] | undefined, options: Depth2ImgOptions<T>,
  ): Promise<GenerateOutput<T>> {
    checkOptionNames('generate', options, DEPTH2IMG_OPTIONS);
    const { depthMap, ...others } = options;
    const maps = checkDepthMap(depthMap);
    const [request, start] = prepareImg2Img(this, prompt, others as Img2ImgOptions<T>, [this.vae.config.latent_channels + 1]);
    checkTurns('depthMap', maps, request.latentShape[0]);
    return this.run<T>(request, scheduler => ({ ...start(scheduler), condition: prepareDepthMap(depthMap, request.latentShape) }));
  }
}
