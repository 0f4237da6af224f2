import { RequestError } from '../../jobs/errors.js';
import { quote, type PictureRequest } from '../../jobs/picture_request.js';

const TAG = /<(\w+):([^<>]+)>/g;

/**
 * Takes `<lora:name:0.8>` out of a prompt. One that is named twice is twice as strong.
 * @throws RequestError for another kind of tag, and for weights that differ by network.
 */
export function readTags(text: string): Pick<PictureRequest, 'prompt' | 'loras'> {
  const scales = new Map<string, number>();
  for (const [tag, kind, inside] of text.matchAll(TAG)) {
    if (kind !== 'lora' && kind !== 'lyco') throw new RequestError(`prompt: ${quote(tag)}: takes <lora:name:weight> alone`);
    const [name, ...said] = inside.split(':');
    const weights = new Set(said.map(weight => Number(weight.replace(/^(te|unet)=/, '') || NaN)));
    const [weight = 1] = weights;
    if (weights.size > 1 || !Number.isFinite(weight)) {
      throw new RequestError(`prompt: ${quote(tag)}: takes one weight, as in <lora:name:0.8>`);
    }
    scales.set(name, (scales.get(name) ?? 0) + weight);
  }
  const loras = [...scales].map(([name, scale]) => ({ name, scale }));
  return { prompt: text.replace(TAG, '').trim(), ...loras.length > 0 && { loras } };
}
