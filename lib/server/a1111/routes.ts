import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { checkObject } from '../../jobs/picture_request.js';
import { answerErrors } from '../answer_errors.js';
import type { ServerContext } from '../context.js';
import { finish, fetchPictures } from '../finish.js';
import { whenGone } from '../when_gone.js';
import { describePictures, readInfo } from './answer.js';
import { checkDepth, toRequest } from './request.js';
import { Running } from './running.js';
import { listSamplers, listSchedulers } from './scheduler.js';
import { listSettings, readSettings, type Settings } from './settings.js';
import { readStart } from './start.js';

/** What clients ask for at their start and is not here. */
const EMPTY = [
  'upscalers', 'latent-upscale-modes', 'sd-vae', 'sd-modules', 'hypernetworks', 'face-restorers', 'realesrgan-models', 'prompt-styles',
  'script-info', 'extensions',
];

/**
 * The API of AUTOMATIC1111's Stable Diffusion web UI, below `/sdapi/v1`: what its clients need to make pictures.
 * https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/API
 */
export function a1111Routes(server: FastifyInstance, { engine, limits, admitting, submit, schemas }: ServerContext): void {
  const running = new Running();
  const chosen = new Map<string, Settings>(); // by key: without keys there is one for all, as in the web UI
  answerErrors(server, (detail, status) => ({ error: status < 500 ? 'HTTPException' : 'Exception', detail, body: '', errors: detail }));

  const settingsOf = ({ apiKey }: FastifyRequest): Settings => {
    const { sd_model_checkpoint: model, ...settings } = chosen.get(apiKey) ?? {};
    return { ...settings, ...model !== undefined && engine.models.includes(model) && { sd_model_checkpoint: model } };
  };
  const choose = (request: FastifyRequest, settings: Settings) => void chosen.set(request.apiKey, { ...settingsOf(request), ...settings });

  const draw = async (request: FastifyRequest, reply: FastifyReply, begins: boolean) => {
    const fields = checkObject(request.body);
    const override = readSettings('override_settings', fields.override_settings, engine.models);
    const wanted = toRequest(fields, { ...settingsOf(request), ...override });
    const gone = whenGone(reply);
    const job = await submit({ ...wanted, ...begins && await readStart(fields, limits, gone) }, gone);
    if (fields.override_settings_restore_afterwards === false) choose(request, override);
    running.add(job);
    return describePictures(job, await fetchPictures(await finish(job), engine.store), fields);
  };

  const shown = (body: object) => ({ schema: { body }, attachValidation: true });
  server.addHook('preValidation', async ({ body }) => checkDepth(body));
  server.post('/txt2img', shown(schemas.a1111Text), (request, reply) => draw(request, reply, false));
  server.post('/img2img', { ...admitting, ...shown(schemas.a1111Image) }, (request, reply) => draw(request, reply, true));
  server.post('/png-info', request => readInfo(checkObject(request.body).image));

  server.get<{ Querystring: { skip_current_image?: string } }>('/progress', ({ query: { skip_current_image: skip = '' } }) =>
    running.describe(/^(true|1|yes|on)$/i.test(skip) ? undefined : engine.store));
  for (const path of ['/interrupt', '/skip']) {
    server.post(path, () => {
      running.interrupt();
      return {};
    });
  }

  server.get('/options', request => listSettings(settingsOf(request), engine.models));
  server.post('/options', request => {
    choose(request, readSettings('options', request.body, engine.models));
    return {};
  });

  server.get('/samplers', listSamplers);
  server.get('/schedulers', listSchedulers);
  server.get('/sd-models', () => engine.models.map(name => (
    { title: name, model_name: name, hash: null, sha256: null, filename: name, config: null }
  )));
  server.get('/loras', () => engine.loras.map(name => ({ name, alias: name, path: name, metadata: {} })));
  server.get('/embeddings', () => ({ loaded: {}, skipped: {} }));
  server.get('/scripts', () => ({ txt2img: [], img2img: [] }));
  server.get('/cmd-flags', () => ({}));
  for (const path of EMPTY) server.get(`/${path}`, () => []);
  for (const path of ['/refresh-checkpoints', '/refresh-loras', '/refresh-vae']) server.post(path, () => ({}));
}
