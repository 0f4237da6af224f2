import * as tf from '@tensorflow/tfjs';
import { formatGenerationParameters, parseGenerationParameters, type GenerationParameters } from '../image/generation_parameters.js';
import type { Image } from '../image/image.js';
import type { Drawing } from './model_pool.js';
import type { PictureRequest } from './picture_request.js';

/** What `generate` is told to show: texts, or what a model made of them. The tensors are the caller's. */
export interface Texts {
  readonly prompt?: string[];
  readonly negativePrompt?: string[];
  readonly promptEmbeds?: tf.Tensor;
  readonly negativePromptEmbeds?: tf.Tensor;
}

/** The texts of a batch, a request for each picture. @throws RangeError for weighted prompts of which one needs more room than others. */
export async function textsOf(pipe: Drawing, requests: readonly PictureRequest[]): Promise<Texts> {
  if (requests[0].promptWeights) return encodeWeighted(pipe, requests);
  const prompt = requests.map(request => request.prompt);
  if (requests[0].negativePrompt === undefined) return { prompt };
  return { prompt, negativePrompt: requests.map(({ negativePrompt }) => negativePrompt!) };
}

/** Each by itself, for beside a longer one it would be filled up, and its picture another. Where they differ, each is drawn by itself. */
async function encodeWeighted(pipe: Drawing, requests: readonly PictureRequest[]): Promise<Texts> {
  const encoded = new Map<PictureRequest, Record<string, tf.Tensor>>();
  try {
    for (const request of new Set(requests)) {
      const { prompt, negativePrompt, clipSkip } = request;
      encoded.set(request, { ...await pipe.encodeWeightedPrompt(prompt, { negativePrompt, clipSkip }) });
    }
    const all = requests.map(request => encoded.get(request)!);
    const lengths = new Set(all.map(({ promptEmbeds }) => promptEmbeds.shape[1]));
    if (lengths.size > 1) throw new RangeError(`prompt: got prompts of ${[...lengths].join(' and ')} tokens, takes one length in a batch`);
    return Object.fromEntries(Object.keys(all[0]).map(name => [name, tf.concat(all.map(each => each[name]))]));
  } finally {
    tf.dispose([...encoded.values()]);
  }
}

/** How a picture was made, for its file: what the pipeline says, and what it was not told. LoRAs stand in the prompt, as in other tools. */
export function describePicture({ text }: Image, { prompt, negativePrompt, model, loras = [] }: PictureRequest): string {
  const tags = loras.map(({ name, scale = 1 }) => `<lora:${name}:${scale}>`);
  const told = parseGenerationParameters(text.parameters) as GenerationParameters;
  return formatGenerationParameters({ ...told, prompt: [prompt, ...tags].filter(Boolean).join(' '), negativePrompt, model });
}
