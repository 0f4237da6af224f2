import { pictureRequestSchema, type RequestRules } from '../jobs/picture_request.js';
import { guidanceFields } from './guidance_fields.js';

/**
 * What the dialects' requests look like in the OpenAPI document: their names, with the bounds of ours. Requests are checked after they
 * were translated, so that there is one check and one wording for all.
 */
export function dialectSchemas(rules: RequestRules) {
  const { properties: ours } = pictureRequestSchema(rules);
  const object = (properties: object, required: string[]) => ({ type: 'object', properties, required });
  const generation = {
    prompt: ours.prompt, model: ours.model, n: ours.count,
    size: { type: 'string', description: "width and height, as in '512x512', or 'auto'" },
    response_format: { type: 'string', enum: ['b64_json', 'url'], description: 'b64_json by default' },
    stream: { type: 'boolean', description: 'whether to answer with events' },
    partial_images: { ...ours.previews, description: 'of a stream: how many pictures there are on the way; none by default' },
    seed: ours.seed, steps: ours.steps, guidance_scale: ours.guidanceScale, negative_prompt: ours.negativePrompt,
    ...guidanceFields(ours), scheduler: ours.scheduler, loras: ours.loras,
  };
  const parameters = object({
    negative_prompt: ours.negativePrompt, num_inference_steps: ours.steps, guidance_scale: ours.guidanceScale,
    ...guidanceFields(ours), width: ours.width, height: ours.height, seed: ours.seed, scheduler: ours.scheduler,
  }, []);
  const file = (description: string) => ({ type: 'string', contentMediaType: 'application/octet-stream', description });
  const edit = {
    image: file('a picture to begin from'), mask: file('transparent where the picture is to change, or white where it has no transparency'),
    ...generation, strength: ours.strength,
  };
  const named = (description: string) => ({ type: 'string', description });
  const drawn = {
    prompt: ours.prompt, negative_prompt: ours.negativePrompt, steps: ours.steps, cfg_scale: ours.guidanceScale,
    width: ours.width, height: ours.height, seed: { ...ours.seed, minimum: -1, description: 'picture i has seed + i; -1 draws one' },
    batch_size: ours.count, n_iter: ours.count,
    sampler_name: named('as in /sdapi/v1/samplers'), scheduler: named('as in /sdapi/v1/schedulers'),
    override_settings: object({ sd_model_checkpoint: ours.model, CLIP_stop_at_last_layers: { type: 'integer', minimum: 1 } }, []),
    send_images: { type: 'boolean', description: 'whether the answer has the pictures; true by default' },
  };
  const begun = {
    init_images: { type: 'array', items: ours.image, minItems: 1, maxItems: 1 }, mask: ours.mask, denoising_strength: ours.strength,
    resize_mode: { type: 'integer', enum: [0, 1] }, mask_blur: { type: 'integer', minimum: 0 },
    inpainting_fill: { type: 'integer', enum: [0, 1] },
    inpaint_full_res: { type: 'boolean', description: 'whether only the masked part is drawn; true by default' },
    inpaint_full_res_padding: { type: 'integer', minimum: 0 }, inpainting_mask_invert: { type: 'integer', enum: [0, 1] },
  };
  return {
    a1111Text: object(drawn, ['prompt']),
    a1111Image: object({ ...drawn, ...begun }, ['prompt', 'init_images']),
    openaiGeneration: object(generation, ['prompt']),
    openaiEdit: object(edit, ['image', 'prompt']),
    huggingFace: object({ inputs: ours.prompt, parameters }, ['inputs']),
  };
}

/** What is said of a job. */
export const jobSchema = {
  $id: 'Job', type: 'object', required: ['id', 'state', 'step', 'previews', 'pictures'],
  properties: {
    id: { type: 'string' },
    state: { type: 'string', enum: ['waiting', 'running', 'done', 'failed', 'cancelled'] },
    place: { type: 'integer', description: 'how many are before it, while it waits' },
    step: { type: 'integer', description: 'how many steps are done' },
    steps: { type: 'integer', description: 'of how many, once that is known' },
    error: { type: 'string', description: 'why it failed' },
    previews: { type: 'array', items: { type: 'string' }, description: 'addresses of what it looked like on the way' },
    pictures: {
      type: 'array',
      items: {
        type: 'object', required: ['seed', 'width', 'height', 'url'],
        properties: {
          seed: { type: 'integer' }, width: { type: 'integer' }, height: { type: 'integer' }, url: { type: 'string' },
          nsfwContentDetected: { type: 'boolean', description: 'it may not be safe for work, and is black' },
        },
      },
    },
  },
} as const;
