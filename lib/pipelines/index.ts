import * as classes from './classes.js';
import { pipelineClasses } from './components/registry.js';

Object.assign(pipelineClasses, classes);

export { AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image } from './auto_pipeline.js';
export { DiffusionPipeline } from './base/diffusion_pipeline.js';
export * from './classes.js';
export { pipelineClasses, type PipelineClass } from './components/registry.js';
