import { unionControlledStableDiffusionXL } from '../components/components.js';
import { StableDiffusionXLControlNetInpaintPipeline } from './stable_diffusion_xl_controlnet_inpaint.js';

/**
 * Inpainting by Stable Diffusion XL, steered by other pictures through a ControlNet-Union, which takes them of several kinds.
 * Equals diffusers' StableDiffusionXLControlNetUnionInpaintPipeline without watermark.
 */
export class StableDiffusionXLControlNetUnionInpaintPipeline extends StableDiffusionXLControlNetInpaintPipeline {
  static override readonly family = unionControlledStableDiffusionXL;
}
