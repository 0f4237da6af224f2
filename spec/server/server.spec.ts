import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { InferenceClient } from '@huggingface/inference';
import type { FastifyInstance } from 'fastify';
import OpenAI, { toFile } from 'openai';
import { Generator } from '../../lib/core/random.js';
import { Image } from '../../lib/image/image.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/index.js';
import type { ModelDescription } from '../../lib/pipelines/describe_model.js';
import { createServer } from '../../lib/server/create_server.js';
import { checkedModel } from '../support/checked_model.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { until } from '../support/until.js';

const PROMPT = 'a red circle on a blue background';

describe('The server', () => {
  let server: FastifyInstance;
  let address: string;
  let expected: Uint8Array;

  before(async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(DEMO_MODEL);
    pipe.setProgressBarConfig({ disable: true });
    const { images: [image] } = await pipe.generate(PROMPT, { numInferenceSteps: 3, generator: new Generator().manualSeed(7) });
    expected = image.data;
    pipe.dispose();
    server = await createServer({ models: { shapes: resolve(DEMO_MODEL), other: resolve('spec/golden/pipelines/tiny') }, limits: { maxQueue: 3, maxSteps: 50 } });
    address = await server.listen({ port: 0 });
  });
  after(() => server.close());

  const post = (path: string, body: unknown, init: RequestInit = {}) => fetch(`${address}${path}`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: typeof body === 'string' ? body : JSON.stringify(body), ...init,
  });
  const json = async (path: string) => (await fetch(`${address}${path}`)).json() as Promise<Record<string, unknown>>;
  const finished = (id: string) => until(async () => {
    const job = await json(`/jobs/${id}`);
    return !['waiting', 'running'].includes(job.state as string) && job;
  }, 'the job is over');
  const open = async (bytes: ArrayBuffer) => Image.fromBytes(new Uint8Array(bytes));

  describe('for OpenAI\'s client', () => {
    const client = () => new OpenAI({ baseURL: `${address}/v1`, apiKey: 'none', maxRetries: 0 });

    it('makes the picture that the pipeline makes, and others beside it', async () => {
      const { data } = await client().images.generate({ prompt: PROMPT, n: 2, size: '64x64' as '512x512', ...{ seed: 7, steps: 3 } });
      const [first, second] = await Promise.all(data!.map(({ b64_json: text }) => Image.fromBytes(Buffer.from(text!, 'base64'))));
      assert.ok(first.data.every((byte, i) => Math.abs(byte - expected[i]) <= 2));
      assert.notDeepEqual(second.data, first.data);
      assert.match(first.text.parameters, /Seed: 7,/);
    });

    it('gives addresses instead, if asked to', async () => {
      const { data } = await client().images.generate({ prompt: PROMPT, response_format: 'url', ...{ seed: 7, steps: 3 } });
      const picture = await open(await (await fetch(data![0].url!)).arrayBuffer());
      assert.ok(picture.data.every((byte, i) => Math.abs(byte - expected[i]) <= 2));
    });

    it('begins from a picture, and paints a part of it that a mask leaves transparent', async () => {
      const source = await new Image(expected, 64, 64).toPng();
      const image = () => toFile(source, 'source.png', { type: 'image/png' });
      const options = { prompt: 'a yellow star', ...{ seed: 1, steps: 4, strength: 0.5 } };
      const edited = await client().images.edit({ image: await image(), ...options });
      const white = new Image(new Uint8Array(64 * 64 * 3).map((_, i) => i < 64 * 32 * 3 ? 255 : 0), 64, 64);
      const mask = await toFile(await white.toPng(), 'mask.png', { type: 'image/png' });
      const painted = await client().images.edit({ image: await image(), mask, ...options, ...{ strength: 1 } });
      const pictures = await Promise.all([edited, painted].map(({ data }) => Image.fromBytes(Buffer.from(data![0].b64_json!, 'base64'))));
      const change = ({ data }: Image, from: number, to: number) =>
        data.slice(from, to).reduce((sum, byte, i) => sum + Math.abs(byte - expected[from + i]), 0) / (to - from);
      assert.ok(change(pictures[0], 0, expected.length) > 5);
      assert.ok(change(pictures[1], 0, expected.length / 2) > 4 * change(pictures[1], expected.length * 3 / 4, expected.length), 'the lower part stays');
    });

    it('streams what the picture looks like on the way, and the picture at last', async () => {
      const events = await client().images.generate({ prompt: PROMPT, stream: true, partial_images: 2, ...{ seed: 7, steps: 3 } });
      const told: Array<{ type: string; index?: number; picture: Image }> = [];
      for await (const event of events) {
        const index = event.type === 'image_generation.partial_image' ? event.partial_image_index : undefined;
        told.push({ type: event.type, index, picture: await Image.fromBytes(Buffer.from(event.b64_json, 'base64')) });
      }
      assert.deepEqual(told.map(({ type, index }) => [type, index]), [
        ['image_generation.partial_image', 0], ['image_generation.partial_image', 1], ['image_generation.completed', undefined],
      ]);
      assert.ok(told.every(({ picture }) => picture.width === 64 && picture.height === 64));
      assert.ok(told[2].picture.data.every((byte, i) => Math.abs(byte - expected[i]) <= 2));
      const distance = ({ data }: Image) => data.reduce((sum, byte, i) => sum + Math.abs(byte - expected[i]), 0) / data.length;
      assert.ok(distance(told[1].picture) < distance(told[0].picture), 'it comes nearer');
    });

    it('lists models, and says in one line what is wrong', async () => {
      const { data } = await client().models.list();
      assert.deepEqual(data.map(({ id }) => id), ['shapes', 'other']);
      await assert.rejects(client().images.generate({ prompt: PROMPT, model: '/etc/passwd' }), { status: 400, message: /^400 model: there is none called .* takes shapes, other/ });
      await assert.rejects(client().images.generate({ prompt: PROMPT, size: 'big' as 'auto' }), { status: 400, message: /size: takes width and height/ });
      await assert.rejects(client().images.generate({ prompt: PROMPT, ...{ path: '/etc' } }), { status: 400, message: /there is no field "path"/ });
      await assert.rejects(client().models.retrieve('none'), { status: 404 });
    });

    it('describes a model to clients that offer what it takes, as soon as it was loaded', async () => {
      const { description, loras, id } = await client().models.retrieve('shapes') as OpenAI.Model & { description: ModelDescription; loras: string[] };
      assert.deepEqual([id, loras], ['shapes', []]);
      const { schedulers: [own, ...others], numParameters, ...rest } = description;
      assert.deepEqual(rest, {
        width: 64, height: 64, sideFactor: 4, numInferenceSteps: 50, guidanceScale: 7.5, takesNegativePrompt: true,
        takesPerturbedAttention: true, takesSkippedLayers: false, tasks: ['text', 'image', 'mask'],
      });
      assert.ok(numParameters > 1e6 && own.takes.includes('timestep_spacing') && others.length > 10);
    });
  });

  it('speaks Hugging Face\'s text-to-image', async () => {
    const client = new InferenceClient('none').endpoint(address);
    const blob = await client.textToImage({ inputs: PROMPT, parameters: { num_inference_steps: 3, seed: 7 } }, { outputType: 'blob' });
    const picture = await open(await blob.arrayBuffer());
    assert.ok(picture.data.every((byte, i) => Math.abs(byte - expected[i]) <= 2));
  });

  describe('jobs', () => {
    it('tell of each step, and then give their pictures', async () => {
      const response = await post('/jobs', { prompt: PROMPT, seed: 7, steps: 3 });
      assert.equal(response.status, 202);
      const { id, state } = await response.json() as { id: string; state: string };
      assert.ok(['waiting', 'running'].includes(state));
      const events = await (await fetch(`${address}/jobs/${id}/events`)).text();
      const told = events.trim().split('\n\n').map(line => JSON.parse(line.replace('data: ', '')) as { state: string; step: number; pictures: Array<{ url: string }> });
      assert.equal(told.at(-1)!.state, 'done');
      assert.deepEqual([...new Set(told.map(({ step }) => step))].at(-1), 4); // PNDM takes one step twice
      const picture = await open(await (await fetch(address + told.at(-1)!.pictures[0].url)).arrayBuffer());
      assert.ok(picture.data.every((byte, i) => Math.abs(byte - expected[i]) <= 2));
      assert.equal((await fetch(`${address}/jobs/${id}/pictures/1`)).status, 404);
      assert.equal((await fetch(`${address}/jobs/none`)).status, 404);
    });

    it('wait in turn, are refused when too many do, and are cancelled', async () => {
      const ids: string[] = [];
      const refused: Response[] = [];
      for (let i = 0; i < 7; i++) {
        const response = await post('/jobs', { prompt: PROMPT, steps: 50 });
        if (response.status === 202) ids.push((await response.json() as { id: string }).id);
        else refused.push(response);
      }
      assert.ok(refused.length >= 2);
      assert.equal(refused[0].status, 429);
      assert.ok(Number(refused[0].headers.get('retry-after')) >= 1);
      assert.match(JSON.stringify(await refused[0].json()), /3 requests wait already/);
      for (const id of ids) assert.equal((await fetch(`${address}/jobs/${id}`, { method: 'DELETE' })).status, 204);
      const states = await Promise.all(ids.map(async id => (await finished(id)).state));
      assert.ok(states.filter(state => state === 'cancelled').length >= ids.length - 1);
    });

    it('of one model give way to those of another', async () => {
      for (const model of ['other', 'shapes']) {
        const { id } = await (await post('/jobs', { prompt: PROMPT, model, steps: 1 })).json() as { id: string };
        const { state, pictures } = await finished(id) as unknown as { state: string; pictures: Array<{ width: number }> };
        assert.deepEqual([state, pictures[0].width], ['done', model === 'shapes' ? 64 : 16]);
      }
    });

    it('begin from no picture that is larger than what may be drawn, and unpack none', async () => {
      const large = await new Image(new Uint8Array(3 * 2048 * 1032), 2048, 1032).toPng(); // a row of latents too many
      const { id } = await (await post('/jobs', { prompt: PROMPT, image: Buffer.from(large).toString('base64'), steps: 1 })).json() as { id: string };
      const { state, error } = await finished(id);
      assert.deepEqual([state, error], ['failed', 'image: PNG: has 2048 x 1032 pixels, takes from 1 to 2097152']);
    });

    it('say what is wrong with a request that fails on the way', async () => {
      const { id } = await (await post('/jobs', { prompt: PROMPT, image: Buffer.from('no picture').toString('base64') })).json() as { id: string };
      const { state, error } = await finished(id);
      assert.deepEqual([state, /^image: begins with 'no picture', as no picture does/.test(error as string)], ['failed', true]);
    });
  });

  it('ends a picture whose client has gone', async () => {
    const gone = new AbortController();
    const request = post('/v1/images/generations', { prompt: PROMPT, steps: 50, n: 4 }, { signal: gone.signal });
    setTimeout(() => gone.abort(), 300);
    await assert.rejects(request, { name: 'AbortError' });
    const { id } = await (await post('/jobs', { prompt: PROMPT, steps: 1 })).json() as { id: string };
    assert.equal((await finished(id)).state, 'done');
  });

  it('refuses what is no request, in one clear line', async () => {
    const cases: Array<[string, unknown, number, RegExp]> = [
      ['/jobs', '{', 400, /./], ['/jobs', [], 400, /./], ['/jobs', {}, 400, /prompt/], ['/jobs', { prompt: 1 }, 400, /prompt: must be string/],
      ['/jobs', { prompt: 'a', steps: 51 }, 400, /steps: must be <= 50/], ['/jobs', { prompt: 'a', scheduler: 'x' }, 400, /^scheduler: takes .*DDIMScheduler, /], ['/jobs', { prompt: 'a', width: 60 }, 400, /width: got 60, takes a multiple of 8/],
      ['/jobs', { prompt: 'a', width: 8192, height: 8192 }, 400, /takes up to 2097152 pixels/], ['/jobs', { prompt: 'a', mask: 'AAAA' }, 400, /mask: takes an image too/],
      ['/jobs', { prompt: 'a', loras: [{ name: '../../etc' }] }, 400, /loras/], ['/jobs', { prompt: 'a', path: 1 }, 400, /there is no field "path"/],
      ['/', 'null', 400, /takes a JSON object/], ['/v1/images/generations', 'null', 400, /takes a JSON object/], ['/v1/images/edits', {}, 415, /./],
      ['/none', {}, 404, /there is no such route/], ['/jobs', `{"prompt":"${'a'.repeat(5000)}"}`, 400, /prompt/],
    ];
    for (const [path, body, status, message] of cases) {
      const response = await post(path, body);
      const { error = { message: 'taken' } } = await response.json() as { error?: { message: string } };
      assert.equal(response.status, status, `${path} ${JSON.stringify(body)}: ${error.message}`);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /\n|node_modules|\.js:/);
    }
  });

  it('answers of itself', async () => {
    assert.deepEqual(await json('/healthz'), { ok: true });
    assert.deepEqual(await json('/readyz'), { ok: true });
    const metrics = await (await fetch(`${address}/metrics`)).text();
    assert.match(metrics, /^diffusers_queue_length 0$/m);
    assert.match(metrics, /^diffusers_requests_total\{route="\/jobs",status="202"\} \d+$/m);
    const { paths, info } = await json('/openapi.json') as { paths: object; info: { title: string } };
    assert.equal(info.title, 'tfjs-diffusers');
    assert.ok('/v1/images/generations' in paths && '/jobs/{id}' in paths);
  });
});

describe('A server that checks pictures', () => {
  const temporary = temporaryFolder();

  it('gives those black that its safety checker detects, says so, and shows none before', async () => {
    const server = await createServer({ models: { checked: checkedModel(temporary()) }, load: { device: 'wasm', safetyChecker: true } });
    const post = async (url: string, body: object) => (await server.inject({ method: 'POST', url, payload: body })).json();
    const { id } = await post('/jobs', { prompt: 'a red circle', seed: 0, steps: 3, count: 4, previews: 2 }) as { id: string };
    const job = await until(async () => {
      const now = (await server.inject(`/jobs/${id}`)).json() as { state: string; previews: string[]; pictures: Array<{ url: string; nsfwContentDetected: boolean }> };
      return !['waiting', 'running'].includes(now.state) && now;
    }, 'the job is over');
    assert.deepEqual(job.pictures.map(picture => picture.nsfwContentDetected), [false, true, false, true]);
    assert.deepEqual(job.previews, []);
    for (const { url, nsfwContentDetected } of job.pictures) {
      const { data } = await Image.fromBytes(new Uint8Array((await server.inject(url)).rawPayload));
      assert.equal(data.every(byte => byte === 0), nsfwContentDetected, url);
    }
    const { data } = await post('/v1/images/generations', { prompt: 'a red circle', seed: 1, steps: 3 }) as { data: Array<Record<string, unknown>> };
    assert.equal(data[0].nsfw_content_detected, true);
    const { info } = await post('/sdapi/v1/txt2img', { prompt: 'a red circle', seed: 0, steps: 3, width: 16, height: 16 }) as { info: string };
    assert.deepEqual(JSON.parse(info).nsfw_content_detected, [false]);
    await server.close();
  });

  it('draws nothing with a model that has no safety checker', async () => {
    await assert.rejects(createServer({ models: { plain: resolve('spec/golden/pipelines/tiny') }, load: { device: 'wasm', safetyChecker: true } }),
      /safety_checker: there is none/);
  });
});

describe('A server with keys', () => {
  it('asks for one of them, but for its health', async () => {
    const server = await createServer({ models: { shapes: resolve(DEMO_MODEL) }, load: { device: 'wasm' }, apiKeys: ['first', 'second'] });
    const status = async (url: string, key?: string) => (await server.inject({ url, headers: key ? { authorization: `Bearer ${key}` } : {} })).statusCode;
    assert.deepEqual([await status('/v1/models'), await status('/v1/models', 'third'), await status('/v1/models', 'second')], [401, 401, 200]);
    assert.deepEqual([await status('/healthz'), await status('/none')], [200, 401]);
    await server.close();
  });

  it('does not begin without a model', async () => {
    await assert.rejects(createServer({ models: {} }), /^TypeError: models: got none/);
    await assert.rejects(createServer({ models: { none: 'none/at/all/there' } }), /none\/at\/all\/there/);
  });
});
