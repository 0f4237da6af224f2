import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { RequestError, tellable } from '../jobs/errors.js';
import type { Job, StoredPicture } from '../jobs/job.js';
import { checkObject } from '../jobs/picture_request.js';
import type { ServerContext } from './context.js';
import { describeError } from './describe_error.js';
import { changes, sendEvents, type ServerEvent } from './events.js';
import type { Fields } from './fields.js';
import { fetchPicture, fetchPictures, finish } from './finish.js';
import { readForm, type Form } from './form.js';
import { isStream, maskOfTransparency, toRequest } from './openai_request.js';
import { whenGone } from './when_gone.js';

/** OpenAI's images API, with this server's options as extra fields: https://platform.openai.com/docs/api-reference/images */
export function openaiRoutes(server: FastifyInstance, { engine, limits, admitting, submit, schemas }: ServerContext): void {
  const created = Math.floor(Date.now() / 1000);
  const model = (id: string) => ({ id, object: 'model', created, owned_by: 'tfjs-diffusers' });

  const answer = async (wanted: object, fields: Fields, kind: string, { protocol, host }: FastifyRequest, reply: FastifyReply) => {
    const gone = whenGone(reply);
    const job = await submit(wanted, gone);
    if (isStream(fields)) return sendEvents(reply, stream(job, kind, gone), gone);
    await finish(job);
    const asUrl = fields.response_format === 'url';
    const texts = asUrl ? [] : (await fetchPictures(job, engine.store)).map(picture => picture.toString('base64'));
    const data = job.pictures.map((picture, i) => (
      { ...asUrl ? { url: `${protocol}://${host}/jobs/${job.id}/pictures/${i}` } : { b64_json: texts[i] }, ...tell(picture) }
    ));
    return { created: secondsOf(job), data };
  };

  async function* stream(job: Job, kind: string, signal: AbortSignal): AsyncGenerator<ServerEvent> {
    const event = (type: string, more: object) => ({ event: `${kind}.${type}`, data: {
      type: `${kind}.${type}`, created_at: secondsOf(job), output_format: 'png', background: 'opaque', quality: 'auto', ...more,
    } });
    const base64 = async (name: string) => (await fetchPicture(name, engine.store)).toString('base64');
    let told = 0;
    for await (const { previews, pictures } of changes(job, signal)) {
      for (; told < previews.length; told++) {
        yield event('partial_image', { partial_image_index: told, b64_json: await base64(previews[told]), size: 'auto' });
      }
      for (const picture of pictures) {
        const { name, width, height } = picture;
        yield event('completed', { b64_json: await base64(name), size: `${width}x${height}`, ...tell(picture), usage: NO_TOKENS });
      }
    }
    if (job.error) yield { event: 'error', data: describeError(tellable(job.error), 500) };
  }

  server.get('/v1/models', () => ({ object: 'list', data: engine.models.map(model) }));
  server.get<{ Params: { id: string } }>('/v1/models/:id', request => {
    if (!engine.models.includes(request.params.id)) throw new RequestError('there is no such model', 404);
    const { params: { id } } = request; // clients of OpenAI ignore fields that they do not know
    return { ...model(id), loras: engine.loras, description: engine.describe(id) };
  });

  server.post('/v1/images/generations', { schema: { body: schemas.openaiGeneration }, attachValidation: true }, async (request, reply) => {
    const fields = checkObject(request.body);
    return answer(toRequest(fields), fields, 'image_generation', request, reply);
  });

  const edit = { consumes: ['multipart/form-data'], body: schemas.openaiEdit };
  void server.register(async (forms: FastifyInstance) => {
    forms.removeAllContentTypeParsers();
    forms.addContentTypeParser('multipart/form-data', { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) =>
      readForm(body, request.headers['content-type']!));
    forms.post<{ Body: Form }>('/v1/images/edits', { ...admitting, schema: edit, attachValidation: true }, async (request, reply) => {
      const { fields, files } = request.body;
      if (!files.image) throw new RequestError('image: got none, takes a picture');
      const mask = files.mask && await maskOfTransparency(files.mask, limits);
      const wanted = { ...toRequest(fields), image: files.image.toString('base64'), ...mask && { mask } };
      return answer(wanted, fields, 'image_edit', request, reply);
    });
  });
}

/** What OpenAI does not tell of a picture. */
function tell({ seed, nsfwContentDetected }: StoredPicture): object {
  return { seed, nsfw_content_detected: nsfwContentDetected };
}

function secondsOf({ createdAt }: Job): number {
  return Math.floor(createdAt / 1000);
}

/** Clients read these; nothing is counted here. */
const NO_TOKENS = { input_tokens: 0, output_tokens: 0, total_tokens: 0, input_tokens_details: { text_tokens: 0, image_tokens: 0 } };
