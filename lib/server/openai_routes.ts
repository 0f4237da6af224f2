import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Image } from '../image/image.js';
import type { ServerContext } from './context.js';
import { RequestError } from './errors.js';
import { finish } from './finish.js';
import type { Job } from './job.js';
import { checkObject } from './picture_request.js';

type Fields = Readonly<Record<string, unknown>>;

/** OpenAI's images API, with this server's options as extra fields: https://platform.openai.com/docs/api-reference/images */
export function openaiRoutes(server: FastifyInstance, context: ServerContext): void {
  const created = Math.floor(Date.now() / 1000);
  const model = (id: string) => ({ id, object: 'model', created, owned_by: 'tfjs-diffusers' });

  server.get('/v1/models', () => ({ object: 'list', data: context.offer.models.map(model) }));
  server.get<{ Params: { id: string } }>('/v1/models/:id', request => {
    if (!context.offer.models.includes(request.params.id)) throw new RequestError('there is no such model', 404);
    return model(request.params.id);
  });

  server.post('/v1/images/generations', async (request, reply) => {
    const fields = checkObject(request.body);
    return answer(await finish(context.submit(toRequest(fields)), reply), fields, request.protocol, request.host);
  });

  server.post('/v1/images/edits', async (request, reply) => {
    const { fields, files } = await readForm(request);
    if (!files.image) throw new RequestError('image: got none, takes a picture');
    const mask = files.mask && await toMask(files.mask);
    const made = { ...toRequest(fields), image: files.image.toString('base64'), ...mask && { mask } };
    return answer(await finish(context.submit(made), reply), fields, request.protocol, request.host);
  });
}

/** @throws RequestError for what is no form, or breaks off. */
async function readForm(request: FastifyRequest): Promise<{ fields: Record<string, unknown>; files: Record<string, Buffer> }> {
  const fields: Record<string, unknown> = {};
  const files: Record<string, Buffer> = {};
  try {
    for await (const part of request.parts()) {
      const name = part.fieldname.replace(/\[\]$/, '');
      if (part.type === 'file') files[name] ??= await part.toBuffer(); // several pictures: the first
      else fields[name] = part.value;
    }
  } catch (error) {
    const { message, statusCode = 400 } = error as Error & { statusCode?: number };
    throw new RequestError(`the form: ${message.split('\n')[0]}`, statusCode);
  }
  return { fields, files };
}

/** What OpenAI has, and what other models of it take, which changes nothing here. */
const IGNORED = [
  'user', 'quality', 'style', 'background', 'moderation', 'output_format', 'output_compression', 'input_fidelity', 'response_format',
];

function toRequest(fields: Fields): Record<string, unknown> {
  const { prompt, n, size, model, seed, steps, strength, scheduler, loras, stream, ...rest } = fields;
  if (stream === true || stream === 'true') throw new RequestError('stream: got true, takes false; /jobs/:id/events tells of each step');
  const { negative_prompt: negativePrompt, guidance_scale: guidanceScale, ...others } = rest;
  const stranger = Object.keys(others).find(name => !IGNORED.includes(name));
  if (stranger !== undefined) throw new RequestError(`there is no field ${JSON.stringify(stranger.slice(0, 100))}`);
  return {
    prompt, model, ...sides(size), seed: toNumber(seed), steps: toNumber(steps), strength: toNumber(strength),
    guidanceScale: toNumber(guidanceScale), count: toNumber(n), negativePrompt, scheduler, loras,
  };
}

/** Forms have texts alone. */
function toNumber(value: unknown): unknown {
  return typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value)) ? Number(value) : value;
}

function sides(size: unknown): { width?: number; height?: number } {
  if (size === undefined || size === null || size === 'auto') return {};
  const [, width, height] = typeof size === 'string' && /^(\d{1,5})x(\d{1,5})$/.exec(size) || [];
  if (!width) throw new RequestError("size: takes width and height, as in '512x512', or 'auto'");
  return { width: Number(width), height: Number(height) };
}

/** OpenAI's masks are transparent where the picture is to change; one without transparency is taken as white there. */
async function toMask(bytes: Buffer): Promise<string> {
  const mask = await Image.fromBytes(bytes).catch((error: Error) => { throw new RequestError(`mask: ${error.message}`); });
  if (!mask.alpha) return bytes.toString('base64');
  const data = new Uint8Array(mask.data.length);
  mask.alpha.forEach((opaque, i) => data.fill(opaque < 128 ? 255 : 0, 3 * i, 3 * i + 3));
  return Buffer.from(await new Image(data, mask.width, mask.height).toPng()).toString('base64');
}

function answer(job: Job, fields: Fields, protocol: string, host: string): object {
  const asUrl = fields.response_format === 'url';
  return {
    created: Math.floor(job.createdAt / 1000),
    data: job.pictures.map(({ png, seed }, i) => (
      { ...asUrl ? { url: `${protocol}://${host}/jobs/${job.id}/pictures/${i}` } : { b64_json: Buffer.from(png).toString('base64') }, seed }
    )),
  };
}
