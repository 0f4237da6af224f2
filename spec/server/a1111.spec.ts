import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { Generator } from '../../lib/core/random.js';
import { Image } from '../../lib/image/image.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/index.js';
import { encodeWeightedPrompt } from '../../lib/pipelines/weighted_prompt.js';
import { schedulerClass } from '../../lib/schedulers/index.js';
import { toRequest } from '../../lib/server/a1111/request.js';
import { toScheduler } from '../../lib/server/a1111/scheduler.js';
import { createServer } from '../../lib/server/create_server.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { TINY } from '../support/tiny_pipeline.js';
import { until } from '../support/until.js';

const PROMPT = 'a red circle on a blue background';

/** What node-sd-webui gives, whose package names no types for modules. */
interface Client {
  txt2img(options: object): Promise<Answer>;
  img2img(options: object): Promise<Answer>;
  pngInfo(options: object): Promise<Record<string, unknown>>;
}
interface Answer { images: string[]; parameters: Record<string, unknown>; info: string }

describe('The server for clients of AUTOMATIC1111\'s web UI', () => {
  let server: FastifyInstance;
  let address: string;
  let client: Client;
  let expected: Image;
  let weighted: Image;

  before(async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(DEMO_MODEL);
    pipe.setProgressBarConfig({ disable: true });
    pipe.scheduler = schedulerClass('EulerAncestralDiscreteScheduler').fromConfig(pipe.scheduler.config);
    const draw = async (prompt: string) => {
      const { promptEmbeds, negativePromptEmbeds } = encodeWeightedPrompt(pipe, prompt);
      const { images: [image] } = await pipe.generate(undefined, {
        promptEmbeds, negativePromptEmbeds, numInferenceSteps: 4, guidanceScale: 5, generator: new Generator().manualSeed(7),
      });
      promptEmbeds.dispose();
      negativePromptEmbeds.dispose();
      return image;
    };
    const { images: [plain] } = await pipe.generate(PROMPT, { numInferenceSteps: 4, guidanceScale: 5, generator: new Generator().manualSeed(7) });
    expected = plain;
    weighted = await draw('a (red:1.4) [circle] BREAK on a blue background');
    pipe.dispose();
    server = await createServer({ models: { shapes: resolve(DEMO_MODEL), tiny: resolve(TINY) }, limits: { maxSteps: 100 } });
    address = await server.listen({ port: 0 });
    const { default: sdwebui } = await import('node-sd-webui' as string) as { default: (options: { apiUrl: string }) => Client };
    client = sdwebui({ apiUrl: address });
  });
  after(() => server.close());

  const post = async (path: string, body: object = {}) => {
    const response = await fetch(`${address}/sdapi/v1/${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    return { status: response.status, body: await response.json() as Record<string, unknown> };
  };
  const get = async <T = Record<string, unknown>>(path: string) => (await fetch(`${address}/sdapi/v1/${path}`)).json() as Promise<T>;
  const open = (base64: string) => Image.fromBytes(Buffer.from(base64, 'base64'));
  const isSame = ({ data }: Image, other: Image) => data.length === other.data.length && data.every((byte, i) => Math.abs(byte - other.data[i]) <= 2);
  const change = ({ data }: Image, { data: other }: Image, from = 0, to = data.length) =>
    data.slice(from, to).reduce((sum, byte, i) => sum + Math.abs(byte - other[from + i]), 0) / (to - from);
  const BASIC = { prompt: PROMPT, seed: 7, steps: 4, cfg_scale: 5, sampler_name: 'Euler a' };

  it('makes the picture that the pipeline makes, and says how', async () => {
    const answer = await client.txt2img({ prompt: PROMPT, seed: 7, steps: 4, cfgScale: 5, samplingMethod: 'Euler a', batchSize: 2, width: 64, height: 64 });
    assert.equal(answer.images.length, 2);
    const [first, second] = await Promise.all(answer.images.map(open));
    assert.ok(isSame(first, expected));
    assert.notDeepEqual(second.data, first.data);
    assert.equal(answer.parameters.prompt, PROMPT);
    const { infotexts, job_timestamp: time, ...info } = JSON.parse(answer.info) as Record<string, unknown>;
    assert.deepEqual([info.seed, info.all_seeds, info.all_prompts, info.sampler_name, info.steps, info.cfg_scale, info.width, info.height, info.sd_model_name, info.clip_skip],
      [7, [7, 8], [PROMPT, PROMPT], 'Euler a', 4, 5, 64, 64, 'shapes', 1]);
    assert.match(time as string, /^\d{14}$/);
    assert.equal((infotexts as string[])[0], `${PROMPT}\nSteps: 4, Sampler: Euler a, CFG scale: 5, Seed: 7, Size: 64x64, Model: shapes`);
    assert.deepEqual((await Promise.all(answer.images.map(open))).map(({ text }) => text.parameters), infotexts);
  });

  it('heeds weights and BREAK in prompts', async () => {
    const { body } = await post('txt2img', { ...BASIC, prompt: 'a (red:1.4) [circle] BREAK on a blue background' });
    const image = await open((body as unknown as Answer).images[0]);
    assert.ok(isSame(image, weighted));
    assert.ok(!isSame(image, expected));
  });

  it('begins from a picture, of any size', async () => {
    const source = Buffer.from(await expected.resize(96, 80).toPng()).toString('base64');
    const answer = await client.img2img({ imageData: [source], prompt: 'a yellow star', seed: 1, steps: 4, width: 64, height: 64 });
    const image = await open(answer.images[0]);
    assert.deepEqual([image.width, image.height, change(image, expected) > 5], [64, 64, true]);
    assert.match(image.text.parameters, /Denoising strength: 0\.75/);
    assert.ok(!('init_images' in answer.parameters));
    const { body } = await post('img2img', { ...BASIC, init_images: [`data:image/png;base64,${source}`], denoising_strength: 0.3, resize_mode: 1 });
    const own = await open((body as unknown as Answer).images[0]);
    assert.deepEqual([own.width, own.height], [96, 80]);
  });

  it('paints a masked part, all of the picture at once or that part alone, and leaves the rest as it is', async () => {
    const source = Buffer.from(await expected.toPng()).toString('base64');
    const half = (from: number) => new Image(new Uint8Array(64 * 64 * 3).map((_, i) => i >= from && i < from + 64 * 32 * 3 ? 255 : 0), 64, 64).toPng();
    const [upper, lower] = (await Promise.all([half(0), half(64 * 32 * 3)])).map(png => Buffer.from(png).toString('base64'));
    for (const more of [
      { inpaint_full_res: false, mask: upper }, { inpaint_full_res: true, inpaint_full_res_padding: 4, mask: upper, width: 64, height: 32 },
      { inpaint_full_res: false, mask: lower, inpainting_mask_invert: 1, inpainting_fill: 1 },
    ]) {
      const { body, status } = await post('img2img', { ...BASIC, prompt: 'a yellow star', init_images: [source], mask_blur: 2, denoising_strength: 0.9, ...more });
      assert.equal(status, 200, JSON.stringify(body));
      const image = await open((body as unknown as Answer).images[0]);
      const [above, below] = [change(image, expected, 0, 64 * 28 * 3), change(image, expected, 64 * 40 * 3)];
      assert.ok(above > 5 && below < 0.5, `${JSON.stringify(more).slice(-100)}: ${above}, ${below}`);
    }
  });

  it('reads what a picture says of how it was made', async () => {
    const { images: [image] } = await client.txt2img({ prompt: PROMPT, negativePrompt: 'a star', seed: 7, steps: 4, samplingMethod: 'DPM++ 2M', width: 64, height: 64 });
    const { prompt, negativePrompt, steps, samplingMethod, seed, width, height } = await client.pngInfo({ imageData: image });
    assert.deepEqual([prompt, negativePrompt, steps, samplingMethod, seed, width, height], [PROMPT, 'a star', 4, 'DPM++ 2M', 7, 64, 64]);
    const { body: { info, items, parameters } } = await post('png-info', { image: `data:image/png;base64,${image}` });
    assert.match(info as string, /Schedule type: Karras$/); // what the web UI takes for this sampler
    assert.deepEqual(items, {});
    assert.deepEqual(parameters, {
      'Prompt': PROMPT, 'Negative prompt': 'a star', 'Steps': '4', 'Sampler': 'DPM++ 2M', 'CFG scale': '7.5', 'Seed': '7', 'Model': 'shapes', 'Schedule type': 'Karras',
      'Size-1': '64', 'Size-2': '64',
    });
    const plain = Buffer.from(await new Image(new Uint8Array(3), 1, 1).toPng({ Comment: 'a' })).toString('base64');
    assert.deepEqual((await post('png-info', { image: plain })).body, { info: '', items: { Comment: 'a' }, parameters: {} });
    assert.match((await post('png-info', { image: 'AAAA' })).body.detail as string, /^image: PNG: is no PNG file$/);
  });

  it('tells how far it is, and is interrupted', async () => {
    assert.deepEqual((({ progress, eta_relative: eta, state, current_image: image }) => [progress, eta, (state as { job_count: number }).job_count, image])(await get('progress')), [0, 0, 0, null]);
    const drawn = post('txt2img', { ...BASIC, steps: 100, batch_size: 2 });
    const seen = (isEnough: (told: Record<string, unknown>) => boolean, query = '') => until(async () => {
      const told = await get(`progress${query}`);
      return isEnough(told) && told;
    }, 'it is so far');
    const { progress, state, eta_relative: eta } = await seen(({ progress }) => progress as number > 0, '?skip_current_image=true') as { progress: number; state: Record<string, unknown>; eta_relative: number };
    assert.ok(progress < 1 && eta > 0);
    assert.deepEqual([state.job, state.sampling_steps, state.job_count], ['scripts_txt2img', 100, 1]);
    const { current_image: current } = await seen(({ current_image: image }) => image !== null);
    assert.equal((await open(current as string)).width, 64);
    assert.equal((await post('interrupt')).status, 200);
    const { status, body } = await drawn;
    assert.deepEqual([status, body.detail], [409, 'interrupted']);
    assert.equal(((await get('progress')).state as { job_count: number }).job_count, 0);
    assert.equal((await post('skip')).status, 200);
  });

  it('takes another model, for one picture or for those that come', async () => {
    const model = async (more: object = {}) => JSON.parse((await post('txt2img', { prompt: 'a star', steps: 1, ...more })).body.info as string) as { sd_model_name: string; clip_skip: number };
    const tiny = await model({ override_settings: { sd_model_checkpoint: 'tiny', CLIP_stop_at_last_layers: 2 } });
    assert.deepEqual([tiny.sd_model_name, tiny.clip_skip], ['tiny', 2]);
    assert.equal((await model()).sd_model_name, 'shapes');
    const options = await get('options');
    assert.deepEqual([options.sd_model_checkpoint, options.CLIP_stop_at_last_layers], ['shapes', 1]);
    assert.equal((await post('options', { ...options, sd_model_checkpoint: 'tiny' })).status, 200); // as clients do it
    assert.equal((await get('options')).sd_model_checkpoint, 'tiny');
    assert.equal((await model()).sd_model_name, 'tiny');
    await post('options', { sd_model_checkpoint: 'shapes' });
  });

  it('lists what clients ask for at their start', async () => {
    const names = async (path: string, key = 'name') => (await get<Array<Record<string, unknown>>>(path)).map(each => each[key]);
    assert.deepEqual(await get('sd-models'), ['shapes', 'tiny'].map(name => ({ title: name, model_name: name, hash: null, sha256: null, filename: name, config: null })));
    assert.ok((await names('samplers')).includes('DPM++ 2M SDE'));
    assert.ok((await names('schedulers', 'label')).includes('SGM Uniform'));
    for (const path of ['loras', 'upscalers', 'sd-vae', 'prompt-styles', 'hypernetworks']) assert.deepEqual(await get(path), []);
    assert.deepEqual(await get('embeddings'), { loaded: {}, skipped: {} });
    assert.deepEqual((await get('none')).detail, 'there is no such route');
  });

  it('refuses in one line what is not here', async () => {
    const deep = JSON.parse('['.repeat(1000) + ']'.repeat(1000)) as unknown;
    const cases: Array<[string, object, RegExp]> = [
      ['txt2img', { sampler_name: 'Restart' }, /^sampler_name: got "Restart", takes DPM\+\+ 2M, DPM\+\+ SDE, /], ['txt2img', { scheduler: 'KL Optimal' }, /^scheduler: got "KL Optimal", takes Automatic, Uniform,/],
      ['txt2img', { prompt: 'a <lora:none:1>' }, /^loras: there is none called "none"; takes none at all/], ['txt2img', { prompt: 'a <lora:x:1:0.5>' }, /takes one weight/],
      ['txt2img', { prompt: 'a <hypernet:x:1>' }, /^prompt: "<hypernet:x:1>": takes <lora/], ['txt2img', { enable_hr: true }, /^enable_hr: got true, which is not here; takes false/],
      ['txt2img', { alwayson_scripts: { ADetailer: { args: [true] } } }, /^alwayson_scripts: there is no "ADetailer" here/], ['txt2img', { restore_faces: true }, /^restore_faces/],
      ['txt2img', { override_settings: { sd_model_checkpoint: '/etc/passwd' } }, /^sd_model_checkpoint: there is none called .* takes shapes, tiny/],
      ['txt2img', { override_settings: { sd_vae: 'x' } }, /^override_settings: sd_vae: takes "Automatic" alone/], ['txt2img', { steps: 1000 }, /^steps/], ['txt2img', { batch_size: 0 }, /^batch_size/],
      ['txt2img', { n_iter: 100 }, /^count/], ['txt2img', { styles: ['x'] }, /^styles/], ['img2img', {}, /^init_images: got none/], ['img2img', { init_images: ['http://127.0.0.1/x.png'] }, /^init_images: begins with/],
      ['img2img', { init_images: ['a', 'b'] }, /^init_images: got 2, takes one/], ['txt2img', { styles: deep }, /^the request: takes up to 32 levels/], ['txt2img', { unknown: deep }, /^the request: takes up to 32 levels/],
      ['options', { samples_format: 'jpg' }, /^options: samples_format: takes "png" alone/], ['options', { outdir_samples: '/tmp' }, /there is no setting "outdir_samples" here/],
    ];
    for (const [path, body, message] of cases) {
      const { status, body: { error, detail } } = await post(path, path === 'options' ? body : { prompt: 'a star', steps: 1, ...body });
      assert.deepEqual([status, error], [400, 'HTTPException'], `${JSON.stringify(body)} ${String(detail)}`);
      assert.match(detail as string, message);
    }
  });

  it('takes what changes nothing', async () => {
    const { status, body } = await post('txt2img', {
      ...BASIC, seed: -1, steps: '1', enable_hr: false, hr_scale: 2, denoising_strength: 0.7, restore_faces: false, tiling: null, subseed: -1, subseed_strength: 0, styles: [], script_args: [],
      script_name: null, alwayson_scripts: {}, save_images: true, send_images: false, override_settings: {}, negative_prompt: '', refiner_checkpoint: '', distilled_cfg_scale: 3.5,
    });
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(body.images, []);
    assert.ok((JSON.parse(body.info as string) as { seed: number }).seed >= 0);
  });
});

describe('Names of the web UI\'s samplers', () => {
  const karras = { use_karras_sigmas: true };

  it('stand for the sampler with its usual schedule, or with another', () => {
    const scheduler = 'DPMSolverMultistepScheduler';
    for (const [fields, expected] of [
      [{}, {}], [{ sampler_name: 'DPM++ 2M' }, { scheduler, schedulerOptions: karras }], [{ sampler_name: 'DPM++ 2M', scheduler: 'automatic' }, { scheduler, schedulerOptions: karras }],
      [{ sampler_name: 'DPM++ 2M', scheduler: 'Uniform' }, { scheduler, schedulerOptions: { timestep_spacing: 'linspace' } }],
      [{ sampler_name: 'DPM++ 2M Karras', scheduler: 'Uniform' }, { scheduler, schedulerOptions: karras }],
      [{ sampler_index: 'DPM++ 2M', scheduler: 'sgm_uniform' }, { scheduler, schedulerOptions: { timestep_spacing: 'trailing' } }],
      [{ sampler_name: 'Euler' }, { scheduler: 'EulerDiscreteScheduler', schedulerOptions: {} }], [{ sampler_name: 'Euler Automatic' }, { scheduler: 'EulerDiscreteScheduler', schedulerOptions: {} }],
      [{ sampler_name: 'DPM++ SDE', scheduler: 'Normal' }, { scheduler: 'DPMSolverSinglestepScheduler', schedulerOptions: { algorithm_type: 'sde-dpmsolver++' } }],
      [{ sampler_name: 'DDIM', scheduler: 'Karras' }, { scheduler: 'DDIMScheduler', schedulerOptions: {} }], [{ scheduler: 'Beta' }, { schedulerOptions: { use_beta_sigmas: true } }],
    ] as const) assert.deepEqual(toScheduler(fields), expected, JSON.stringify(fields));
    assert.throws(() => toScheduler({ sampler_name: 'LCM', scheduler: 'Karras' }), /^RequestError: scheduler: "LCM Karras" is not here/);
    assert.throws(() => toScheduler({ sampler_name: 'Euler a Karras' }), /^RequestError: scheduler: "Euler a Karras" is not here/);
    assert.throws(() => toScheduler({ sampler_name: 'DPM++ SDE SGM Uniform' }), /^RequestError: scheduler: "DPM\+\+ SDE SGM Uniform" is not here/);
    assert.throws(() => toScheduler({ sampler_name: 5 }), /^RequestError: sampler_name: must be string/);
  });

  it('come with LoRAs in the prompt', () => {
    const read = (prompt: string, more = {}) => {
      const { prompt: text, loras } = toRequest({ prompt, ...more }, {});
      return [text, loras];
    };
    assert.deepEqual(read('a star <lora:ink:0.8> <lora:wood>, big'), ['a star  , big', [{ name: 'ink', scale: 0.8 }, { name: 'wood', scale: 1 }]]);
    assert.deepEqual(read('<lora:ink:0.5:0.5><lyco:ink:te=1:unet=1>'), ['', [{ name: 'ink', scale: 1.5 }]]);
    assert.deepEqual(read('1 < 2 > 0 <b>'), ['1 < 2 > 0 <b>', undefined]);
    assert.deepEqual(read('<lora:ink:1>', { disable_extra_networks: true }), ['<lora:ink:1>', undefined]);
  });
});

describe('A server with keys and LoRAs, for clients of AUTOMATIC1111\'s web UI', () => {
  it('takes a key as a password, keeps the settings of each apart, and LoRAs from prompts', async () => {
    const models = { tiny: resolve(TINY), other: resolve(TINY) };
    const loras = { ink: resolve('spec/golden/lora/pytorch_lora_weights.safetensors') };
    const server = await createServer({ models, loras, load: { device: 'wasm' }, apiKeys: ['first', 'second'] });
    const as = (key: string) => ({ authorization: `Basic ${Buffer.from(`anybody:${key}`).toString('base64')}` });
    const get = async (path: string, key = 'first') => (await server.inject({ url: `/sdapi/v1/${path}`, headers: as(key) })).json() as Record<string, unknown>;
    const post = (path: string, payload: object) => server.inject({ method: 'POST', url: `/sdapi/v1/${path}`, headers: as('first'), payload });
    assert.equal((await post('options', { sd_model_checkpoint: 'other' })).statusCode, 200);
    assert.deepEqual([(await get('options')).sd_model_checkpoint, (await get('options', 'second')).sd_model_checkpoint], ['other', 'tiny']);
    assert.equal((await get('options', 'third')).detail, 'takes a key: Authorization: Bearer ...');
    assert.deepEqual(await get('loras'), [{ name: 'ink', alias: 'ink', path: 'ink', metadata: {} }]);
    const draw = async (prompt: string) => (await post('txt2img', { prompt, steps: 2, seed: 1 })).json() as Answer;
    const [plain, inked] = [await draw('a star'), await draw('a star <lora:ink:0.5>')];
    const [{ data: before }, { data: after, text }] = await Promise.all([plain, inked].map(({ images: [image] }) => Image.fromBytes(Buffer.from(image, 'base64'))));
    assert.notDeepEqual(after, before);
    assert.match(text.parameters, /^a star <lora:ink:0\.5>\nSteps: 2, .*Model: other/);
    await server.close();
  });
});
