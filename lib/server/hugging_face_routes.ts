import type { FastifyInstance } from 'fastify';
import { checkObject } from '../jobs/picture_request.js';
import type { ServerContext } from './context.js';
import { fetchPictures, finish } from './finish.js';
import { toGuidance } from './guidance_fields.js';
import { whenGone } from './when_gone.js';

interface TextToImage {
  inputs?: unknown;
  parameters?: Readonly<Record<string, unknown>>;
}

/** Hugging Face's text-to-image, as its inference endpoints speak it: a picture's bytes for `{ inputs, parameters }`. */
export function huggingFaceRoutes(server: FastifyInstance, { engine, submit, schemas }: ServerContext): void {
  for (const path of ['/', '/models/*']) {
    const schema = { body: schemas.huggingFace };
    server.post<{ Params: { '*'?: string } }>(path, { schema, attachValidation: true }, async (request, reply) => {
      const { inputs: prompt, parameters } = checkObject(request.body) as TextToImage;
      const { width, height, seed, scheduler, ...others } = parameters ?? {};
      const { negative_prompt: negativePrompt, num_inference_steps: steps, guidance_scale: guidanceScale } = others;
      const model = request.params['*'];
      const wanted = { prompt, model, negativePrompt, steps, guidanceScale, ...toGuidance(others), width, height, seed, scheduler };
      const job = await submit(wanted, whenGone(reply));
      const [picture] = await fetchPictures(await finish(job), engine.store);
      return reply.type('image/png').send(picture);
    });
  }
}
