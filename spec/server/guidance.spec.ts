import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { Generator } from '../../lib/core/random.js';
import { Image } from '../../lib/image/image.js';
import { AutoPipelineForText2Image } from '../../lib/pipelines/index.js';
import { createServer } from '../../lib/server/create_server.js';
import { TINY, TINY_SD3 } from '../support/tiny_pipeline.js';

const PAG = { pagScale: 2, pagAdaptiveScale: 0.001, pagAppliedLayers: ['mid', 'up_blocks.1'] };
const SKIPPED = { skipGuidanceLayers: [0, 1], skipLayerGuidanceScale: 3, skipLayerGuidanceStart: 0.1, skipLayerGuidanceStop: 0.9 };

describe('Requests to the server', () => {
  let server: FastifyInstance;
  before(async () => {
    server = await createServer({ models: { tiny: resolve(TINY), sd3: resolve(TINY_SD3) }, maxBatch: 4, maxMemory: 1e9 });
  });
  after(() => server.close());

  const post = async (url: string, payload: object) => {
    const { statusCode, json, rawPayload } = await server.inject({ method: 'POST', url, payload });
    return { statusCode, json, rawPayload };
  };
  const snakeCase = (options: object) => Object.fromEntries(Object.entries(options).map(([name, value]) => (
    [name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`), value]
  )));
  const generate = async (options: object) => {
    const { statusCode, json } = await post('/v1/images/generations', { prompt: 'a star', seed: 5, steps: 3, ...options });
    assert.equal(statusCode, 200);
    return (await Image.fromBytes(Buffer.from(json().data[0].b64_json, 'base64'))).toRgb().data;
  };

  const families: Array<[string, string, object]> = [['tiny', TINY, PAG], ['sd3', TINY_SD3, SKIPPED]];
  for (const [model, folder, options] of families) {
    it(`guide as the pipeline does, and none of a batch with another's guidance: ${model}`, async () => {
      const pipe = await AutoPipelineForText2Image.fromPretrained(folder);
      const draw = async (options: object) =>
        (await pipe.generate('a star', { numInferenceSteps: 3, generator: new Generator().manualSeed(5), ...options })).images[0].data;
      const [plain, guided] = [await draw({}), await draw(options)];
      pipe.dispose();
      const near = (a: Uint8Array, b: Uint8Array) => a.every((byte, i) => Math.abs(byte - b[i]) <= 2);
      assert.ok(!near(plain, guided));
      const [first, second, third] = await Promise.all([generate({ model }), generate({ model, ...snakeCase(options) }), generate({ model })]);
      assert.ok(near(first, plain) && near(second, guided) && near(third, plain));
      const parameters = { num_inference_steps: 3, seed: 5, ...snakeCase(options) };
      const { rawPayload } = await post(`/models/${model}`, { inputs: 'a star', parameters });
      assert.ok(near((await Image.fromBytes(rawPayload)).toRgb().data, guided));
    });
  }

  const refused: Array<[string, object, RegExp]> = [
    ['perturbed attention of a transformer', { model: 'sd3', pag_scale: 3 }, /^pagScale: takes a model with a UNet$/],
    ['skipped layers of a UNet', { skip_guidance_layers: [7] }, /^skipGuidanceLayers: takes a model of Stable Diffusion 3$/],
    ['layers that are not there', { model: 'sd3', skip_guidance_layers: [7] }, /^skipGuidanceLayers: got 7, takes a whole number, from 0 to 2$/],
    ['a pattern that is nowhere', { pag_scale: 3, pag_applied_layers: 'mild' }, /^pagAppliedLayers: got 'mild', takes what is found in the path/],
    ['a pattern that takes long', { pag_scale: 3, pag_applied_layers: '((\\w*)*)*x' }, /^pagAppliedLayers: /],
    ['many patterns', { pag_scale: 3, pag_applied_layers: Array<string>(9).fill('mid') }, /^pagAppliedLayers: must not have more than 8 items$/],
    ['where to, and not how strongly', { pag_applied_layers: 'mid' }, /^pagAppliedLayers: takes a pagScale too$/],
    ['how strongly, and not without what', { skip_layer_guidance_scale: 1 }, /^skipLayerGuidanceScale: takes a skipGuidanceLayers too$/],
    ['too much', { pag_scale: 1e9 }, /^pagScale: must be <= 100$/],
  ];
  for (const [what, options, message] of refused) {
    it(`are refused for ${what}`, async () => {
      const { statusCode, json } = await post('/v1/images/generations', { prompt: 'a star', steps: 1, ...options });
      assert.match(json().error.message, message);
      assert.equal(statusCode, 400);
    });
  }

  it('skip no layers beside a picture to begin from', async () => {
    const image = Buffer.from(await new Image(new Uint8Array(16 * 16 * 3), 16, 16).toPng()).toString('base64');
    const { statusCode, json } = await post('/jobs', { prompt: 'a star', image, skipGuidanceLayers: [0] });
    assert.equal(statusCode, 400);
    assert.equal(json().error.message, 'skipGuidanceLayers: takes no image beside it');
  });
});
