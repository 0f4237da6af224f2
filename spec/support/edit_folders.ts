import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadGolden } from './golden.js';
import { folderWith, TINY_XL } from './tiny_pipeline.js';

const PARTS = 'spec/golden/pipelines';
const write = (path: string, config: object) => writeFileSync(path, JSON.stringify(config));

/** Tiny models of the pipelines that change and enlarge pictures, as the hub has them, made in a new folder; `index`: of model_index.json. */
export const editFolders = {
  edit: (path: string, index: object = {}) => folderWith(path, { unet: `${PARTS}/unet_edit` }, {
    _class_name: 'StableDiffusionInstructPix2PixPipeline', image_encoder: [null, null], safety_checker: ['stable_diffusion', 'StableDiffusionSafetyChecker'], ...index,
  }),
  xl_edit: (path: string, index: object = {}) =>
    folderWith(path, { unet: `${PARTS}/unet_xl_edit` }, { _class_name: 'StableDiffusionXLInstructPix2PixPipeline', ...index }, TINY_XL),
  depth: (path: string, index: object = {}) => folderWith(path, { unet: `${PARTS}/unet_depth` }, {
    _class_name: 'StableDiffusionDepth2ImgPipeline', depth_estimator: ['transformers', 'DPTForDepthEstimation'], feature_extractor: ['transformers', 'DPTImageProcessor'],
    ...index,
  }),
  upscale: (path: string, index: object = {}) => {
    const { meta: { schedulers } } = loadGolden('pipelines/edit');
    folderWith(path, { unet: `${PARTS}/unet_upscale`, vae: `${PARTS}/vae_upscale` }, {
      _class_name: 'StableDiffusionUpscalePipeline', scheduler: ['diffusers', 'DDIMScheduler'], low_res_scheduler: ['diffusers', 'DDPMScheduler'],
      max_noise_level: 350, watermarker: [null, null], ...index,
    });
    mkdirSync(join(path, 'low_res_scheduler'), { recursive: true });
    write(join(path, 'scheduler/scheduler_config.json'), schedulers.upscale);
    write(join(path, 'low_res_scheduler/scheduler_config.json'), schedulers.low_res);
    return path;
  },
  latent_upscale: (path: string, index: object = {}) => {
    folderWith(path, { unet: `${PARTS}/unet_k` },
      { _class_name: 'StableDiffusionLatentUpscalePipeline', scheduler: ['diffusers', 'EulerDiscreteScheduler'], ...index });
    write(join(path, 'scheduler/scheduler_config.json'), loadGolden('pipelines/latent_upscale').meta.scheduler);
    return path;
  },
};
