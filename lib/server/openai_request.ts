import { Image } from '../image/image.js';
import { RequestError } from '../jobs/errors.js';
import { quote, type ServerLimits } from '../jobs/picture_request.js';
import { decodePicture } from '../jobs/decode_picture.js';
import { toNumber, type Fields } from './fields.js';
import { GUIDANCE_FIELDS, toGuidance } from './guidance_fields.js';

/** What OpenAI has, and what other models of it take, which changes nothing here. */
const IGNORED = [
  'user', 'quality', 'style', 'background', 'moderation', 'output_format', 'output_compression', 'input_fidelity', 'response_format',
  'stream',
];

/** Our request of OpenAI's fields, and ours beside them. @throws RequestError for a field that neither has. */
export function toRequest(fields: Fields): Record<string, unknown> {
  const { prompt, n, size, model, seed, steps, strength, scheduler, loras, partial_images: previews, ...rest } = fields;
  const { negative_prompt: negativePrompt, guidance_scale: guidanceScale, ...others } = rest;
  const stranger = Object.keys(others).find(name => !IGNORED.includes(name) && !GUIDANCE_FIELDS.includes(name));
  if (stranger !== undefined) throw new RequestError(`there is no field ${quote(stranger)}`);
  return {
    prompt, model, ...sides(size), seed: toNumber(seed), steps: toNumber(steps), strength: toNumber(strength),
    guidanceScale: toNumber(guidanceScale), ...toGuidance(others), count: toNumber(n), negativePrompt, scheduler, loras,
    ...isStream(fields) && { previews: toNumber(previews) },
  };
}

/** Whether the answer is to come as events. */
export function isStream({ stream }: Fields): boolean {
  return stream === true || stream === 'true';
}

function sides(size: unknown): { width?: number; height?: number } {
  if (size === undefined || size === null || size === 'auto') return {};
  const [, width, height] = typeof size === 'string' && /^(\d{1,5})x(\d{1,5})$/.exec(size) || [];
  if (!width) throw new RequestError("size: takes width and height, as in '512x512', or 'auto'");
  return { width: Number(width), height: Number(height) };
}

/** OpenAI's masks are transparent where the picture is to change; one without transparency is taken as white there. */
export async function maskOfTransparency(bytes: Buffer, { maxPixels }: ServerLimits): Promise<string> {
  const mask = await decodePicture('mask', bytes, { maxPixels, resized: true });
  if (!mask.alpha) return bytes.toString('base64');
  const data = new Uint8Array(mask.data.length);
  mask.alpha.forEach((opaque, i) => data.fill(opaque < 128 ? 255 : 0, 3 * i, 3 * i + 3));
  return Buffer.from(await new Image(data, mask.width, mask.height).toPng()).toString('base64');
}
