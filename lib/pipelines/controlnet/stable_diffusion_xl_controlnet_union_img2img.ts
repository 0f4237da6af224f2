import { unionControlledStableDiffusionXL } from '../components/components.js';
import { StableDiffusionXLControlNetImg2ImgPipeline } from './stable_diffusion_xl_controlnet_img2img.js';

/**
 * Image to image by Stable Diffusion XL, steered by other pictures through a ControlNet-Union, which takes them of several kinds.
 * Equals diffusers' StableDiffusionXLControlNetUnionImg2ImgPipeline without watermark.
 */
export class StableDiffusionXLControlNetUnionImg2ImgPipeline extends StableDiffusionXLControlNetImg2ImgPipeline {
  static override readonly family = unionControlledStableDiffusionXL;
}
