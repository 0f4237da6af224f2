import type { FastifyInstance } from 'fastify';
import type { ServerContext } from './context.js';
import { finish } from './finish.js';
import { checkObject } from './picture_request.js';

interface TextToImage {
  inputs?: unknown;
  parameters?: Readonly<Record<string, unknown>>;
}

/** Hugging Face's text-to-image, as its inference endpoints speak it: a picture's bytes for `{ inputs, parameters }`. */
export function huggingFaceRoutes(server: FastifyInstance, context: ServerContext): void {
  for (const path of ['/', '/models/*']) {
    server.post<{ Params: { '*'?: string } }>(path, async (request, reply) => {
      const { inputs: prompt, parameters } = checkObject(request.body) as TextToImage;
      const {
        negative_prompt: negativePrompt, num_inference_steps: steps, guidance_scale: guidanceScale, width, height, seed, scheduler,
      } = parameters ?? {};
      const model = request.params['*'];
      const job = context.submit({ prompt, model, negativePrompt, steps, guidanceScale, width, height, seed, scheduler });
      const { pictures: [picture] } = await finish(job, reply);
      return reply.type('image/png').send(Buffer.from(picture.png));
    });
  }
}
