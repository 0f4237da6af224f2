import { RequestError } from '../../jobs/errors.js';
import { checkObject, quote } from '../../jobs/picture_request.js';
import { toNumber, type Fields } from '../fields.js';
import { readTags } from './prompt_tags.js';
import { toScheduler } from './scheduler.js';
import type { Settings } from './settings.js';

/** Fields that would change the picture in ways that are not here, and what they may be besides null. */
const OFF: Readonly<Record<string, readonly unknown[]>> = {
  enable_hr: [false], restore_faces: [false], tiling: [false], subseed_strength: [0], seed_resize_from_w: [-1, 0],
  seed_resize_from_h: [-1, 0], eta: [], s_churn: [0], s_noise: [1], s_min_uncond: [0], styles: [], refiner_checkpoint: ['', 'None'],
  script_name: ['', 'None'], firstpass_image: [], latent_mask: [], initial_noise_multiplier: [1],
};

/** For a client that asks how far it is. */
const PREVIEWS = 4;

/**
 * Our request of the fields that the web UI has for every picture. What they leave open is the model's own: steps, size, scheduler,
 * guidance. What changes nothing is ignored, as is a field that the web UI does not have.
 * @throws RequestError
 */
export function toRequest(fields: Fields, settings: Settings): Record<string, unknown> {
  refuseMissing(fields);
  const { prompt = '', negative_prompt: negative, seed, steps, cfg_scale, width, height, disable_extra_networks: plain } = fields;
  const { sd_model_checkpoint: model, CLIP_stop_at_last_layers: layers = 1 } = settings;
  return {
    ...typeof prompt === 'string' && !plain ? readTags(prompt) : { prompt: prompt ?? '' },
    negativePrompt: negative === '' ? undefined : negative, promptWeights: true, model, ...toScheduler(fields),
    seed: toNumber(seed) === -1 || seed === '' ? undefined : toNumber(seed), count: times(fields, 'batch_size') * times(fields, 'n_iter'),
    steps: toNumber(steps), guidanceScale: toNumber(cfg_scale), width: toNumber(width), height: toNumber(height),
    clipSkip: layers > 1 ? layers - 1 : undefined, previews: PREVIEWS,
  };
}

/** Levels of a request, of which the answer has all. */
const DEPTH = 32;

/** @throws RequestError for a request that nobody could write down again. */
export function checkDepth(value: unknown, left = DEPTH): void {
  if (typeof value !== 'object' || value === null) return;
  if (left === 0) throw new RequestError(`the request: takes up to ${DEPTH} levels of objects and lists`);
  for (const each of Object.values(value)) checkDepth(each, left - 1);
}

/** @throws RequestError for what would change the picture and is not here. */
function refuseMissing(fields: Fields): void {
  for (const [name, accepted] of Object.entries(OFF)) {
    const { [name]: value } = fields;
    if (isEmpty(value) || accepted.includes(toNumber(value))) continue;
    const takes = JSON.stringify(accepted[0] ?? null);
    throw new RequestError(`${name}: got ${JSON.stringify(value).slice(0, 100)}, which is not here; takes ${takes}`);
  }
  for (const [name, script] of Object.entries(checkObject(fields.alwayson_scripts ?? {}))) {
    if (isEmpty((script as { args?: unknown } | null)?.args)) continue;
    throw new RequestError(`alwayson_scripts: there is no ${quote(name)} here`);
  }
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || (Array.isArray(value) && value.length === 0);
}

function times(fields: Fields, name: string): number {
  const value = toNumber(fields[name] ?? 1);
  if (Number.isInteger(value) && value as number >= 1) return value as number;
  throw new RequestError(`${name}: takes a whole number from 1`);
}
