import { LatentConsistencyModelPipeline } from './latent_consistency_models/latent_consistency_model.js';
import { LatentConsistencyModelImg2ImgPipeline } from './latent_consistency_models/latent_consistency_model_img2img.js';
import { pipelineClasses } from './components/registry.js';
import { StableDiffusionPipeline } from './stable_diffusion/stable_diffusion.js';
import { StableDiffusionAdapterPipeline } from './t2i_adapter/stable_diffusion_adapter.js';
import { StableDiffusionControlNetPipeline } from './controlnet/stable_diffusion_controlnet.js';
import { StableDiffusionControlNetImg2ImgPipeline } from './controlnet/stable_diffusion_controlnet_img2img.js';
import { StableDiffusionControlNetInpaintPipeline } from './controlnet/stable_diffusion_controlnet_inpaint.js';
import { StableDiffusionDepth2ImgPipeline } from './stable_diffusion/stable_diffusion_depth2img.js';
import { StableDiffusionImg2ImgPipeline } from './stable_diffusion/stable_diffusion_img2img.js';
import { StableDiffusionInpaintPipeline } from './stable_diffusion/stable_diffusion_inpaint.js';
import { StableDiffusionInstructPix2PixPipeline } from './stable_diffusion/stable_diffusion_instruct_pix2pix.js';
import { StableDiffusionLatentUpscalePipeline } from './stable_diffusion/stable_diffusion_latent_upscale.js';
import { StableDiffusionUpscalePipeline } from './stable_diffusion/stable_diffusion_upscale.js';
import { StableDiffusion3Pipeline } from './stable_diffusion_3/stable_diffusion_3.js';
import { StableDiffusion3Img2ImgPipeline } from './stable_diffusion_3/stable_diffusion_3_img2img.js';
import { StableDiffusion3InpaintPipeline } from './stable_diffusion_3/stable_diffusion_3_inpaint.js';
import { StableDiffusion3ControlNetPipeline } from './controlnet/stable_diffusion_3_controlnet.js';
import { StableDiffusion3ControlNetInpaintingPipeline } from './controlnet/stable_diffusion_3_controlnet_inpainting.js';
import { StableDiffusionXLPipeline } from './stable_diffusion_xl/stable_diffusion_xl.js';
import { StableDiffusionXLAdapterPipeline } from './t2i_adapter/stable_diffusion_xl_adapter.js';
import { StableDiffusionXLControlNetPipeline } from './controlnet/stable_diffusion_xl_controlnet.js';
import { StableDiffusionXLControlNetImg2ImgPipeline } from './controlnet/stable_diffusion_xl_controlnet_img2img.js';
import { StableDiffusionXLControlNetInpaintPipeline } from './controlnet/stable_diffusion_xl_controlnet_inpaint.js';
import { StableDiffusionXLControlNetUnionPipeline } from './controlnet/stable_diffusion_xl_controlnet_union.js';
import { StableDiffusionXLControlNetUnionImg2ImgPipeline } from './controlnet/stable_diffusion_xl_controlnet_union_img2img.js';
import { StableDiffusionXLControlNetUnionInpaintPipeline } from './controlnet/stable_diffusion_xl_controlnet_union_inpaint.js';
import { StableDiffusionXLImg2ImgPipeline } from './stable_diffusion_xl/stable_diffusion_xl_img2img.js';
import { StableDiffusionXLInpaintPipeline } from './stable_diffusion_xl/stable_diffusion_xl_inpaint.js';
import { StableDiffusionXLInstructPix2PixPipeline } from './stable_diffusion_xl/stable_diffusion_xl_instruct_pix2pix.js';

const classes = {
  StableDiffusionPipeline, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline,
  StableDiffusionControlNetPipeline, StableDiffusionControlNetImg2ImgPipeline, StableDiffusionControlNetInpaintPipeline,
  StableDiffusionXLControlNetPipeline, StableDiffusionXLControlNetImg2ImgPipeline, StableDiffusionXLControlNetInpaintPipeline,
  StableDiffusionXLControlNetUnionPipeline, StableDiffusionXLControlNetUnionImg2ImgPipeline,
  StableDiffusionXLControlNetUnionInpaintPipeline,
  StableDiffusionAdapterPipeline, StableDiffusionXLAdapterPipeline,
  LatentConsistencyModelPipeline, LatentConsistencyModelImg2ImgPipeline,
  StableDiffusionInstructPix2PixPipeline, StableDiffusionXLInstructPix2PixPipeline, StableDiffusionDepth2ImgPipeline,
  StableDiffusionUpscalePipeline, StableDiffusionLatentUpscalePipeline,
  StableDiffusionXLPipeline, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline,
  StableDiffusion3Pipeline, StableDiffusion3Img2ImgPipeline, StableDiffusion3InpaintPipeline,
  StableDiffusion3ControlNetPipeline, StableDiffusion3ControlNetInpaintingPipeline,
};
for (const [name, Pipeline] of Object.entries(classes)) pipelineClasses[name] = Pipeline;

export { AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image } from './auto_pipeline.js';
export { DiffusionPipeline } from './base/diffusion_pipeline.js';
export { pipelineClasses, type PipelineClass } from './components/registry.js';
export {
  StableDiffusionPipeline, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline,
  StableDiffusionControlNetPipeline, StableDiffusionControlNetImg2ImgPipeline, StableDiffusionControlNetInpaintPipeline,
  StableDiffusionXLControlNetPipeline, StableDiffusionXLControlNetImg2ImgPipeline, StableDiffusionXLControlNetInpaintPipeline,
  StableDiffusionXLControlNetUnionPipeline, StableDiffusionXLControlNetUnionImg2ImgPipeline,
  StableDiffusionXLControlNetUnionInpaintPipeline,
  StableDiffusionAdapterPipeline, StableDiffusionXLAdapterPipeline,
  LatentConsistencyModelPipeline, LatentConsistencyModelImg2ImgPipeline,
  StableDiffusionInstructPix2PixPipeline, StableDiffusionXLInstructPix2PixPipeline, StableDiffusionDepth2ImgPipeline,
  StableDiffusionUpscalePipeline, StableDiffusionLatentUpscalePipeline,
  StableDiffusionXLPipeline, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline,
  StableDiffusion3Pipeline, StableDiffusion3Img2ImgPipeline, StableDiffusion3InpaintPipeline,
  StableDiffusion3ControlNetPipeline, StableDiffusion3ControlNetInpaintingPipeline,
};
