import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { Image } from '../../lib/image/image.js';
import { createServer } from '../../lib/server/create_server.js';
import { TINY } from '../support/tiny_pipeline.js';

/** How many requests in all. */
const REQUESTS = 10_000;

/** Uniform numbers of a seed: xorshift, so that a failure can be had again. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

const STRANGE: unknown[] = [
  null, true, -1, 0, 0.5, 1e308, -1e-308, 2 ** 53, '', ' ', '\u0000', '\ud800', 'NaN', '1e9', '../../etc/passwd', '/etc/passwd', 'http://127.0.0.1:1/x', 'file:///etc/passwd',
  'a'.repeat(10_000), [], [[]], [1, 2], {}, { toString: 1 }, { length: 1e9 }, Array.from({ length: 1000 }, (_, i) => i), '{"a":', '${7*7}', '🎈'.repeat(50), 'data:image/png;base64,AAAA',
];

/** A PNG file of 8 x 8 pixels. */
const PICTURE = Buffer.from(await new Image(new Uint8Array(192).map((_, i) => i), 8, 8).toPng({ parameters: 'a\nSteps: 1, Seed: 2' })).toString('base64');

const ROUTES: Array<[method: 'POST' | 'GET' | 'DELETE', url: string, body?: Record<string, unknown>]> = [
  ['POST', '/jobs', { prompt: 'a star', steps: 1, seed: 1, width: 16, height: 16, count: 1, guidanceScale: 1, loras: [{ name: 'x', scale: 1 }], image: 'AAAA', strength: 0.5 }],
  ['POST', '/v1/images/generations', { prompt: 'a star', steps: 1, n: 1, pag_scale: 1, pag_applied_layers: ['mid'], size: '16x16', response_format: 'b64_json', model: 'tiny', seed: 1 }],
  ['POST', '/', { inputs: 'a star', parameters: { num_inference_steps: 1, width: 16, height: 16, seed: 1, negative_prompt: 'b' } }],
  ['POST', '/models/tiny', { inputs: 'a star', parameters: { num_inference_steps: 1 } }],
  ['POST', '/v1/images/edits', { prompt: 'a star' }],
  ['POST', '/sdapi/v1/txt2img', {
    prompt: 'a (star:1.2) BREAK', negative_prompt: 'b', steps: 1, width: 16, height: 16, seed: -1, batch_size: 1, n_iter: 1, cfg_scale: 2, sampler_name: 'Euler', scheduler: 'Karras',
    override_settings: { sd_model_checkpoint: 'tiny', CLIP_stop_at_last_layers: 1 }, alwayson_scripts: { x: { args: [] } }, enable_hr: false, styles: [], send_images: true,
  }],
  ['POST', '/sdapi/v1/img2img', {
    prompt: 'a star', steps: 2, width: 16, height: 16, init_images: [PICTURE], mask: PICTURE, denoising_strength: 0.5, mask_blur: 1, inpainting_fill: 0, inpaint_full_res: false,
    inpaint_full_res_padding: 4, inpainting_mask_invert: 1, resize_mode: 1, include_init_images: true,
  }],
  ['POST', '/sdapi/v1/png-info', { image: PICTURE }], ['POST', '/sdapi/v1/options', { sd_model_checkpoint: 'tiny', CLIP_stop_at_last_layers: 2, samples_format: 'png' }],
  ['POST', '/sdapi/v1/interrupt', { x: 1 }], ['GET', '/sdapi/v1/progress?skip_current_image=x'], ['GET', '/sdapi/v1/x'],
  ['GET', '/jobs/x'], ['DELETE', '/jobs/x'], ['GET', '/jobs/x/events'], ['GET', '/jobs/x/pictures/0'], ['GET', '/jobs/x/previews/0'], ['GET', '/workers'], ['GET', '/v1/models/x'],
];

const ROUNDS = Math.ceil(REQUESTS / ROUTES.length);

describe('The server under strange requests', () => {
  let server: FastifyInstance;
  before(async () => {
    server = await createServer({ models: { tiny: resolve(TINY) }, load: { device: 'wasm' }, limits: { maxSteps: 2, maxPictures: 2, maxPixels: 1024, maxQueue: 5 } });
  });
  after(() => server.close());

  for (const [method, url, body] of ROUTES) {
    it(`answers with a picture or one clear line: ${method} ${url}`, async () => {
      const random = numbers(20261127);
      const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)];
      const spoil = (value: Record<string, unknown>): Record<string, unknown> => {
        const spoilt: Record<string, unknown> = { ...value };
        const key = random() < 0.1 ? pick(['path', 'constructor', 'toString', '__proto__', '$ref']) : pick(Object.keys(value));
        if (random() < 0.15) delete spoilt[key];
        else if (random() < 0.2 && typeof spoilt[key] === 'object' && spoilt[key] !== null) spoilt[key] = spoil(spoilt[key] as Record<string, unknown>);
        else Object.defineProperty(spoilt, key, { value: pick(STRANGE), enumerable: true, configurable: true });
        return random() < 0.3 ? spoil(spoilt) : spoilt;
      };
      for (let round = 0; round < ROUNDS; round++) {
        let text = body && JSON.stringify(spoil(body));
        if (text && random() < 0.2) { // spoilt as text too
          const at = Math.floor(random() * text.length);
          text = text.slice(0, at) + pick(['', '}', '"', '\u0000', '[[[[', 'null']) + text.slice(at + Math.floor(random() * 3));
        }
        const type = random() < 0.9 ? 'application/json' : pick(['text/plain', 'multipart/form-data; boundary=x', 'application/x-www-form-urlencoded', '']);
        const place = url.replace(/\bx\b/, () => encodeURIComponent(String(JSON.stringify(pick(STRANGE))).slice(0, 200).replace(/[\ud800-\udfff]/g, '?')));
        const response = await server.inject({ method, url: place, ...text !== undefined && { payload: text, headers: { 'content-type': type } } });
        const what = `${method} ${place} ${text?.slice(0, 300)}: ${response.statusCode} ${response.body.slice(0, 300)}`;
        assert.ok(response.statusCode < 500, what);
        if (response.statusCode < 400) {
          const { id } = url === '/jobs' ? response.json() as { id: string } : { id: '' };
          if (id) await server.inject({ method: 'DELETE', url: `/jobs/${id}` });
          continue;
        }
        const { error, detail } = response.json() as { error: { message: string }; detail?: string };
        const message = url.startsWith('/sdapi') ? detail! : error.message;
        assert.ok(message.length > 0 && message.length < 1000, what);
        assert.doesNotMatch(message, /[\n\r]|node_modules|\.[jt]s:\d|\/(root|home|tmp|work)\//, what);
      }
      assert.equal((await server.inject('/healthz')).statusCode, 200);
    });
  }
});
