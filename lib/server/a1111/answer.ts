import { parseGenerationParameters, splitGenerationParameters } from '../../image/generation_parameters.js';
import { PngError, readChunks } from '../../image/png_chunks.js';
import { readTexts } from '../../image/png_text.js';
import { RequestError } from '../../jobs/errors.js';
import type { Job } from '../../jobs/job.js';
import { pictureBytes } from '../../jobs/picture_request.js';
import { toNumber, type Fields } from '../fields.js';

/** What the web UI says of pictures that it made: their fields, and in `info` how they came about, as a text of JSON. */
export function describePictures(job: Job, pictures: readonly Buffer[], fields: Fields): object {
  const { init_images, mask, ...echoed } = fields;
  return {
    images: fields.send_images === false ? [] : pictures.map(picture => picture.toString('base64')),
    parameters: fields.include_init_images === true ? { ...echoed, init_images, mask } : echoed,
    info: JSON.stringify(infoOf(job, pictures.map(picture => readTexts(readChunks(picture)).parameters ?? ''), fields)),
  };
}

/** What is known of the pictures is in their files, also where another machine made them. */
function infoOf({ request, pictures, createdAt }: Job, infotexts: readonly string[], fields: Fields): object {
  const told = parseGenerationParameters(infotexts[0]);
  const { prompt = '', negative_prompt: negative = '' } = fields;
  const each = (value: unknown) => pictures.map(() => value);
  const [{ seed, width, height }] = pictures;
  return {
    prompt, all_prompts: each(prompt), negative_prompt: negative, all_negative_prompts: each(negative),
    seed, all_seeds: pictures.map(picture => picture.seed), subseed: 0, all_subseeds: each(0), subseed_strength: 0, width, height,
    sampler_name: told.scheduler, cfg_scale: told.guidanceScale, steps: told.numInferenceSteps,
    batch_size: toNumber(fields.batch_size ?? 1), restore_faces: false, face_restoration_model: null,
    sd_model_name: request.model, sd_model_hash: null, sd_vae_name: null, sd_vae_hash: null,
    seed_resize_from_w: -1, seed_resize_from_h: -1, denoising_strength: told.strength ?? null,
    extra_generation_params: told.schedule ? { 'Schedule type': told.schedule } : {}, index_of_first_image: 0, infotexts, styles: [],
    nsfw_content_detected: pictures.map(picture => picture.nsfwContentDetected), // null where nobody looked
    job_timestamp: timestamp(createdAt), clip_skip: (told.clipSkip ?? 0) + 1, is_using_inpainting_conditioning: false,
  };
}

/** As in 20261127150000. @param time milliseconds since 1970. */
export function timestamp(time: number): string {
  return new Date(time).toISOString().replace(/\D/g, '').slice(0, 14);
}

/**
 * What a PNG file says of how it was generated, by this server, the web UI or another tool: as it is written, and taken apart by the web
 * UI's keys. The file's other texts come beside it.
 * @throws RequestError for what is no PNG file.
 */
export function readInfo(image: unknown): { info: string; items: object; parameters: object } {
  if (typeof image !== 'string') throw new RequestError('image: takes a file\'s bytes in base64');
  const { parameters: info = '', ...items } = readPng(pictureBytes(image));
  const { prompt, negativePrompt = '', settings } = splitGenerationParameters(info);
  const { Size: size, ...others } = Object.fromEntries(settings) as Record<string, string>;
  const [, width, height] = /^(\d+)x(\d+)$/.exec(size ?? '') ?? [];
  const sides = width === undefined ? {} : { 'Size-1': width, 'Size-2': height };
  return { info, items, parameters: info ? { Prompt: prompt, 'Negative prompt': negativePrompt, ...others, ...sides } : {} };
}

function readPng(bytes: Buffer): Record<string, string> {
  try {
    return readTexts(readChunks(bytes));
  } catch (error) {
    if (error instanceof PngError) throw new RequestError(`image: ${error.message}`);
    throw error;
  }
}
