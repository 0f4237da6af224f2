import { show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import type { ModelSource } from '../files/model_folder.js';
import { ControlNetUnionModel } from '../models/controlnet_union.js';
import { MultiControlNetUnionModel } from '../models/multi_controlnet_union.js';
import { openModelFolder } from '../loading/open_model_folder.js';
import type {
  ControlNetComponents, SD3ControlNetComponents, StableDiffusion3Components, StableDiffusionComponents, StableDiffusionXLComponents,
  XLControlNetComponents,
} from './components/components.js';
import { DiffusionPipeline } from './base/diffusion_pipeline.js';
import type { GenerateOptions, GenerateOutput, OutputType } from './inputs/generate_options.js';
import type { GuidedPipeline } from './base/guided_pipeline.js';
import { LatentConsistencyModelPipeline } from './latent_consistency_models/latent_consistency_model.js';
import { LatentConsistencyModelImg2ImgPipeline } from './latent_consistency_models/latent_consistency_model_img2img.js';
import type { FromPretrainedOptions } from './components/load_components.js';
import { makePipeline } from './components/make_pipeline.js';
import { pipelineClass, type PipelineClass } from './components/registry.js';
import { StableDiffusionPipeline } from './stable_diffusion/stable_diffusion.js';
import { StableDiffusionControlNetPipeline } from './controlnet/stable_diffusion_controlnet.js';
import { StableDiffusionControlNetImg2ImgPipeline } from './controlnet/stable_diffusion_controlnet_img2img.js';
import { StableDiffusionControlNetInpaintPipeline } from './controlnet/stable_diffusion_controlnet_inpaint.js';
import { StableDiffusionImg2ImgPipeline, type Img2ImgOptions } from './stable_diffusion/stable_diffusion_img2img.js';
import { StableDiffusionInpaintPipeline, type InpaintOptions } from './stable_diffusion/stable_diffusion_inpaint.js';
import { StableDiffusion3ControlNetPipeline } from './controlnet/stable_diffusion_3_controlnet.js';
import { StableDiffusion3ControlNetInpaintingPipeline } from './controlnet/stable_diffusion_3_controlnet_inpainting.js';
import { StableDiffusion3Pipeline } from './stable_diffusion_3/stable_diffusion_3.js';
import { StableDiffusion3Img2ImgPipeline } from './stable_diffusion_3/stable_diffusion_3_img2img.js';
import { StableDiffusion3InpaintPipeline } from './stable_diffusion_3/stable_diffusion_3_inpaint.js';
import { StableDiffusionXLPipeline } from './stable_diffusion_xl/stable_diffusion_xl.js';
import { StableDiffusionXLControlNetPipeline } from './controlnet/stable_diffusion_xl_controlnet.js';
import { StableDiffusionXLControlNetImg2ImgPipeline } from './controlnet/stable_diffusion_xl_controlnet_img2img.js';
import { StableDiffusionXLControlNetInpaintPipeline } from './controlnet/stable_diffusion_xl_controlnet_inpaint.js';
import { StableDiffusionXLControlNetUnionPipeline } from './controlnet/stable_diffusion_xl_controlnet_union.js';
import { StableDiffusionXLControlNetUnionImg2ImgPipeline } from './controlnet/stable_diffusion_xl_controlnet_union_img2img.js';
import { StableDiffusionXLControlNetUnionInpaintPipeline } from './controlnet/stable_diffusion_xl_controlnet_union_inpaint.js';
import { StableDiffusionXLImg2ImgPipeline } from './stable_diffusion_xl/stable_diffusion_xl_img2img.js';
import { StableDiffusionXLInpaintPipeline } from './stable_diffusion_xl/stable_diffusion_xl_inpaint.js';

/** A pipeline of any family that makes pictures of a prompt. */
export interface Text2ImagePipeline extends GuidedPipeline {
  /** Makes images of prompts. */
  generate<T extends OutputType = 'image'>(prompt?: string | string[], options?: GenerateOptions<T>): Promise<GenerateOutput<T>>;
}

/** A pipeline of any family that begins from a picture. */
export interface Image2ImagePipeline extends GuidedPipeline {
  /** Makes images of a picture and prompts. */
  generate<T extends OutputType = 'image'>(prompt: string | string[] | undefined, options: Img2ImgOptions<T>): Promise<GenerateOutput<T>>;
}

/** A pipeline of any family that makes a part of a picture anew. */
export interface InpaintingPipeline extends GuidedPipeline {
  /** Makes images of a picture, a mask and prompts. */
  generate<T extends OutputType = 'image'>(prompt: string | string[] | undefined, options: InpaintOptions<T>): Promise<GenerateOutput<T>>;
}

type Class<P extends GuidedPipeline> = PipelineClass<P> & { readonly name: string };

/** The classes of a family, by what they do. */
interface Tasks {
  readonly text2Image: Class<Text2ImagePipeline>;
  readonly image2Image?: Class<Image2ImagePipeline>;
  readonly inpainting?: Class<InpaintingPipeline>;
}

/** A family: its classes, and those that a ControlNet or a ControlNet-Union steers. */
interface Family {
  readonly plain: Tasks;
  readonly steered?: Tasks;
  readonly union?: Tasks;
}

/** Heirs before those that they inherit from. */
const KINDS = ['union', 'steered', 'plain'] as const;
type Kind = typeof KINDS[number];

/** Heirs before those that they inherit from. */
const FAMILIES: readonly Family[] = [
  { plain: { text2Image: LatentConsistencyModelPipeline, image2Image: LatentConsistencyModelImg2ImgPipeline } },
  {
    plain: {
      text2Image: StableDiffusion3Pipeline, image2Image: StableDiffusion3Img2ImgPipeline, inpainting: StableDiffusion3InpaintPipeline,
    },
    steered: {
      text2Image: StableDiffusion3ControlNetPipeline,
      inpainting: StableDiffusion3ControlNetInpaintingPipeline as never, // takes a controlImage and a controlMask; so it is in diffusers
    },
  },
  {
    plain: {
      text2Image: StableDiffusionXLPipeline, image2Image: StableDiffusionXLImg2ImgPipeline, inpainting: StableDiffusionXLInpaintPipeline,
    },
    steered: {
      text2Image: StableDiffusionXLControlNetPipeline, image2Image: StableDiffusionXLControlNetImg2ImgPipeline,
      inpainting: StableDiffusionXLControlNetInpaintPipeline,
    },
    union: {
      text2Image: StableDiffusionXLControlNetUnionPipeline, image2Image: StableDiffusionXLControlNetUnionImg2ImgPipeline,
      inpainting: StableDiffusionXLControlNetUnionInpaintPipeline,
    },
  },
  {
    plain: { text2Image: StableDiffusionPipeline, image2Image: StableDiffusionImg2ImgPipeline, inpainting: StableDiffusionInpaintPipeline },
    steered: {
      text2Image: StableDiffusionControlNetPipeline, image2Image: StableDiffusionControlNetImg2ImgPipeline,
      inpainting: StableDiffusionControlNetInpaintPipeline,
    },
  },
];

/** Options of `fromPretrained` for any family. */
export type AutoPipelineOptions = FromPretrainedOptions<AutoComponents>;

/**
 * Components of any family. With `controlnet` the pipeline is one that this ControlNet steers, with `controlnet: undefined` one without a
 * ControlNet.
 */
export type AutoComponents =
  | StableDiffusionComponents | StableDiffusionXLComponents | StableDiffusion3Components
  | ControlNetComponents | XLControlNetComponents | SD3ControlNetComponents;

/** Text to image, by the pipeline of a model's family. Equals diffusers' AutoPipelineForText2Image. */
export const AutoPipelineForText2Image = autoPipeline<Text2ImagePipeline>('AutoPipelineForText2Image', 'text2Image');

/** Image to image, by the pipeline of a model's family. Equals diffusers' AutoPipelineForImage2Image. */
export const AutoPipelineForImage2Image = autoPipeline<Image2ImagePipeline>('AutoPipelineForImage2Image', 'image2Image');

/** Inpainting, by the pipeline of a model's family. Equals diffusers' AutoPipelineForInpainting. */
export const AutoPipelineForInpainting = autoPipeline<InpaintingPipeline>('AutoPipelineForInpainting', 'inpainting');

/** Makes pipelines for one task, of any family. */
export interface AutoPipeline<P extends GuidedPipeline> {
  /**
   * Loads a model as DiffusionPipeline.fromPretrained does, but makes the pipeline for this task, whatever task the model names; with
   * `controlnet` the pipeline is one that this ControlNet steers.
   * @throws RangeError if its family has none for it.
   */
  fromPretrained<Q extends P = P>(source: ModelSource, options?: AutoPipelineOptions): Promise<Q>;
  /**
   * Makes a pipeline of another one's components, which both then share; those that are given take the place of its own. A pipeline with a
   * ControlNet keeps it, unless `controlnet: undefined` is given.
   * @throws RangeError if its family has none for this task.
   */
  fromPipe<Q extends P = P>(pipe: DiffusionPipeline, components?: Partial<AutoComponents>): Q;
  /** Whether a pipeline's family has one for this task: whether `fromPipe` makes it. */
  supports(pipe: DiffusionPipeline): boolean;
}

/** Whether pipelines of a prototype are of one of these classes, or of heirs of one. */
function isOf(prototype: object, tasks: Tasks | undefined): boolean {
  return Object.values(tasks ?? {}).some((Class: Class<GuidedPipeline>) =>
    prototype === Class.prototype || Object.prototype.isPrototypeOf.call(Class.prototype, prototype));
}

/** What is to steer: what is given or, if nothing is said of it, what steers pipelines of a prototype. */
function kindFor(prototype: object, given: object): Kind {
  if (!('controlnet' in given)) return KINDS.find(kind => FAMILIES.some(family => isOf(prototype, family[kind]))) ?? 'plain';
  if (given.controlnet === undefined) return 'plain';
  return given.controlnet instanceof ControlNetUnionModel || given.controlnet instanceof MultiControlNetUnionModel ? 'union' : 'steered';
}

const STEERED_BY: Readonly<Record<Kind, string>> = { plain: '', steered: ' with a ControlNet', union: ' with a ControlNet-Union' };

function autoPipeline<P extends GuidedPipeline>(name: string, task: keyof Tasks): AutoPipeline<P> {
  /** The class for the task, of the family of a prototype. */
  const find = (prototype: object, kind: Kind): PipelineClass<P> | undefined =>
    FAMILIES.find(({ plain }) => isOf(prototype, plain))?.[kind]?.[task] as unknown as PipelineClass<P> | undefined;
  const classFor = (prototype: object, given: object): PipelineClass<P> => {
    const kind = kindFor(prototype, given);
    const Found = find(prototype, kind);
    if (Found) return Found;
    const takes = FAMILIES.flatMap(family => family[kind]?.[task] ? [family.plain.text2Image.name] : []).join(', ');
    const got = `${show(prototype.constructor.name)}${STEERED_BY[kind]}`;
    throw new RangeError(`${name}: got ${got}, takes one of the families of ${takes}`);
  };
  return {
    async fromPretrained<Q extends P>(source: ModelSource, options: AutoPipelineOptions = {}) {
      const folder = await openModelFolder(source, options as object);
      const index = await folder.has('model_index.json') ? await folder.readJson('model_index.json') : undefined;
      if (!isObject(index)) { // it says what is amiss
        return DiffusionPipeline.fromPretrained(folder, options as object) as unknown as Promise<Q>;
      }
      const known = pipelineClass(index._class_name, `${folder.name}/model_index.json: _class_name`);
      const Found = classFor(known.prototype as object, options);
      return DiffusionPipeline.fromPretrained.call(Found as never, folder, options as object) as unknown as Promise<Q>;
    },
    fromPipe<Q extends P>(pipe: DiffusionPipeline, components: Partial<AutoComponents> = {}) {
      const Found = classFor(pipe, components);
      return makePipeline(Found, { ...pipe.components, ...components }) as unknown as Q;
    },
    supports: pipe => find(pipe, kindFor(pipe, {})) !== undefined,
  };
}
