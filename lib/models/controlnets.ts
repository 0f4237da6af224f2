import type { ControlNetModel } from './controlnet.js';
import type { ControlNetUnionModel } from './controlnet_union.js';
import type { MultiControlNetModel } from './multi_controlnet.js';
import type { MultiControlNetUnionModel } from './multi_controlnet_union.js';

/** One ControlNet for a UNet, or several together; for Stable Diffusion XL also ControlNet-Unions, in pipelines of their own. */
export type ControlNets = ControlNetModel | MultiControlNetModel | ControlNetUnionModel | MultiControlNetUnionModel;
