import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canCompile } from '../../lib/core/graph.js';
import { dequantize, matrixOf } from '../../lib/core/quantized.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import type { FromPretrainedOptions } from '../../lib/pipelines/components/load_components.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import type { FoundWeight } from '../../lib/weights/found_weight.js';
import { readSafetensors, readSafetensorsHeader, writeSafetensors, type TensorToWrite } from '../../lib/weights/safetensors.js';
import { convertModel } from '../../weights-converter/convert.js';
import { encodeWeight, encodings } from '../../weights-converter/encode.js';
import { isQuantizable, quantize } from '../../weights-converter/quantize.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { bytesSource, MemoryFolder } from '../support/memory_folder.js';
import { seeded } from '../support/tiny_pipeline.js';

const KINDS = ['int8', 'int4'] as const;
const UNET = 'unet/diffusion_pytorch_model.safetensors';
const LAYER = 'mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight';
const PROMPT = 'a red circle';

describe('The weights in fewer bits', () => {
  /** What weights of 512 * 512 numbers become. */
  const dtypes = (className: string, paths: readonly string[]) => paths.map(path => {
    const info = { dtype: 'F32', shape: [512, 512], offset: 0, byteLength: 2 ** 20 } as const;
    const weight: FoundWeight = { path, spec: { shape: [512, 512], layout: 'linear' }, info, layout: 'torch', file: { name: '', source: bytesSource(new Uint8Array()) } };
    return encodeWeight(weight, encodings('int8')(className)).tensors[0].dtype;
  });

  it('are those of UNets and ControlNets, of the blocks of SD3\'s transformer and of T5', () => {
    const blocks = ['transformer_blocks.0.attn.add_q_proj.weight', 'transformer_blocks.23.norm1.linear.weight'];
    const ends = ['pos_embed.proj.weight', 'context_embedder.weight', 'norm_out.linear.weight', 'proj_out.weight', 'time_text_embed.text_embedder.linear_1.weight'];
    assert.deepEqual(dtypes('SD3Transformer2DModel', [...blocks, ...ends]), [...blocks.map(() => 'I8'), ...ends.map(() => 'F16')]);
    assert.deepEqual(dtypes('T5EncoderModel', ['encoder.block.0.layer.1.DenseReluDense.wo.weight', 'shared.weight']), ['I8', 'F16']);
    assert.deepEqual(dtypes('UNet2DConditionModel', ['conv_out.weight']), ['I8']);
    assert.deepEqual(dtypes('CLIPTextModelWithProjection', ['text_projection.weight']), ['F16']);
  });
});

describe('quantize', () => {
  const values = Float32Array.from({ length: 70 * 8 }, (_, i) => Math.sin(i * i) * (1 + i % 8));
  const largest = (of: ArrayLike<number>) => Array.from(of).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

  const squares = (of: Float32Array) => of.reduce((sum, value, i) => sum + (value - values[i]) ** 2, 0);
  /** In groups of 32, of which the largest becomes -8. */
  const rounded = (of: Float32Array) => of.map((value, i) => {
    const group = of.filter((_, j) => j % 8 === i % 8 && j >> 8 === i >> 8);
    const scale = group.reduce((most, each) => Math.abs(each) > Math.abs(most) ? each : most) / -8;
    return Math.max(-8, Math.min(7, Math.round(value / scale))) * scale;
  });

  for (const bits of [8, 4] as const) {
    it(`rounds to the nearest number of ${bits} bits`, () => {
      const matrix = quantize('x', values, [70, 8], bits);
      const { columns } = matrixOf(matrix.shape);
      assert.equal(matrix.scales.length, bits === 8 ? 8 : 3 * 8);
      dequantize(matrix).forEach((value, i) => {
        const scale = matrix.scales[Math.floor(Math.floor(i / columns) / matrix.groupSize) * columns + i % columns];
        const isCut = bits === 4 && [-8, 7].includes(Math.round(value / scale)) && Math.abs(values[i]) > Math.abs(value);
        assert.ok(isCut || Math.abs(value - values[i]) <= Math.abs(scale) * 0.5001, `${i}: ${value}, ${values[i]}`);
      });
      if (bits === 8) assert.equal(largest(matrix.values), 127);
      else assert.ok(squares(dequantize(matrix)) <= squares(rounded(values)), 'no worse than with scales that cut nothing off');
    });

    it(`keeps zeros and what is the same everywhere, in ${bits} bits`, () => {
      assert.ok(dequantize(quantize('x', new Float32Array(256), [32, 8], bits)).every(value => value === 0));
      dequantize(quantize('x', new Float32Array(256).fill(-0.75), [32, 8], bits)).forEach(value => assert.ok(Math.abs(value + 0.75) < 1e-6));
    });

    it(`refuses what no number is, in ${bits} bits`, () => {
      for (const bad of [NaN, Infinity]) {
        assert.throws(() => quantize('a.weight', new Float32Array(256).fill(bad), [32, 8], bits),
          { name: 'RangeError', message: `a.weight: its value ${bad} cannot be had in ${bits} bits; use float16 or float32` });
      }
    });
  }

  it('refuses scales beyond float16 in 4 bits', () => {
    assert.throws(() => quantize('a.weight', Float32Array.from({ length: 256 }, (_, i) => i * 1e6), [32, 8], 4), /^RangeError: a\.weight: its values are beyond float16/);
  });
});

describeOnDevices('a model in fewer bits', device => {
  let root: string;
  const place = (name: string) => join(root, name);
  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'quantize-'));
    for (const dtype of KINDS) {
      await convertModel(DEMO_MODEL, place(dtype), { dtype, verify: true });
      await convertModel(place(dtype), place(`${dtype}-wide`), { dtype: 'float32' });
    }
  });
  after(() => rmSync(root, { recursive: true }));

  const load = (name: string, options: FromPretrainedOptions = {}) => StableDiffusionPipeline.fromPretrained(place(name), { device, compile: false, ...options });
  const draw = async (pipe: StableDiffusionPipeline, prompt = PROMPT) => {
    const { images } = await pipe.generate(prompt, { numInferenceSteps: 2, generator: seeded(1), outputType: 'latent' });
    const values = await images.data();
    images.dispose();
    return values;
  };
  const expectNear = (actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-3) => {
    assert.equal(actual.length, expected.length);
    for (let i = 0; i < actual.length; i++) assert.ok(Math.abs(actual[i] - expected[i]) <= tolerance, `${actual[i]}, ${expected[i]}`);
  };

  for (const dtype of KINDS) {
    it(`${dtype}: has its large matrices and kernels so in the UNet, all else in float16, and is as much smaller`, async () => {
      const { tensors } = readSafetensors(readFileSync(join(place(dtype), UNET)));
      const specs = new UNet2DConditionModel(JSON.parse(readFileSync(join(DEMO_MODEL, 'unet/config.json'), 'utf8'))).parameterSpecs();
      for (const [path, spec] of specs) {
        const stays = !isQuantizable(spec, dtype === 'int8' ? 8 : 4);
        assert.equal(tensors[path].dtype, stays ? 'F16' : dtype === 'int8' ? 'I8' : 'U8', path);
        assert.equal(`${path}.scales` in tensors, !stays);
        assert.ok(!(`${path}.minimums` in tensors));
      }
      assert.equal(tensors['conv_in.weight'].dtype, 'F16');
      const [before, after] = [DEMO_MODEL, place(dtype)].map(folder => statSync(join(folder, UNET)).size);
      assert.ok(after < before * (dtype === 'int8' ? 0.52 : 0.33), `${after} of ${before}`);
      for (const file of ['vae/diffusion_pytorch_model.safetensors', 'text_encoder/model.safetensors']) {
        assert.ok(Object.values(readSafetensors(readFileSync(join(place(dtype), file))).tensors).every(tensor => tensor.dtype === 'F16'));
      }
    });

    it(`${dtype}: gives what its widened values give, with model and sequential offloading, and holds none on the device`, () => expectNoLeak(async () => {
      const wide = await load(`${dtype}-wide`);
      const expected = await draw(wide);
      for (const cpuOffload of [undefined, 'model', 'sequential'] as const) {
        const pipe = await load(dtype, { cpuOffload });
        expectNear(await draw(pipe), expected);
        assert.ok(!pipe.unet.isAllocated(LAYER));
        assert.equal(pipe.unet.numParameters, wide.unet.numParameters);
        const share = pipe.unet.numBytes / wide.unet.numBytes;
        assert.ok(share > (dtype === 'int8' ? 0.25 : 0.125) && share < (dtype === 'int8' ? 0.27 : 0.18), `${share} of the bytes`);
        pipe.dispose();
      }
      wide.dispose();
      return [];
    }));

    it(`${dtype}: takes a LoRA, for the moment and merged, and learned words`, () => expectNoLeak(async () => {
      const folder = await adapters();
      const results: Float32Array[][] = [];
      for (const name of [`${dtype}-wide`, dtype]) {
        const pipe = await load(name);
        const drawn = [await draw(pipe)];
        await pipe.loadLoraWeights(folder);
        drawn.push(await draw(pipe));
        await pipe.fuseLora();
        drawn.push(await draw(pipe));
        await pipe.loadTextualInversion(folder, { weightName: 'word.safetensors', token: '<word>' });
        drawn.push(await draw(pipe, `${PROMPT} <word>`));
        results.push(drawn as Float32Array[]);
        if (name === dtype) assert.ok(!pipe.unet.isAllocated(LAYER));
        pipe.dispose();
      }
      results[0].forEach((expected, i) => expectNear(results[1][i], expected));
      assert.ok(results[0][0].some((value, i) => Math.abs(value - results[0][1][i]) > 0.01), 'the LoRA does nothing');
      assert.ok(results[0][2].some((value, i) => Math.abs(value - results[0][3][i]) > 0.01), 'the word does nothing');
      return [];
    }));

    it(`${dtype}: is computed in halves where there are such`, () => expectNoLeak(async () => {
      const wide = await load(`${dtype}-wide`);
      const pipe = await load(dtype, { dtype: 'bfloat16' });
      expectNear(await draw(pipe), await draw(wide), 0.5);
      [wide, pipe].forEach(each => each.dispose());
      return [];
    }));

    it(`${dtype}: is compiled with all its weights on the device`, async () => {
      const pipe = await load(dtype);
      const expected = await draw(pipe);
      pipe.compile();
      for (let i = 0; i < 2; i++) expectNear(await draw(pipe), expected);
      assert.equal(pipe.unet.isAllocated(LAYER), canCompile());
      pipe.enableModelCpuOffload();
      expectNear(await draw(pipe), expected);
      assert.ok(!pipe.unet.isAllocated(LAYER));
      pipe.dispose();
    });

    it(`${dtype}: is converted again to the same bytes, also in shards, which have all of a weight`, async () => {
      await convertModel(place(dtype), place(`${dtype}-again`), { verify: true });
      assert.deepEqual(readFileSync(join(place(`${dtype}-again`), UNET)), readFileSync(join(place(dtype), UNET)));
      await convertModel(DEMO_MODEL, place(`${dtype}-shards`), { dtype, maxShardSize: 1e6, verify: true });
      const shards = readdirSync(join(place(`${dtype}-shards`), 'unet')).filter(name => name.endsWith('.safetensors'));
      assert.ok(shards.length > 2);
      const [whole, split] = await Promise.all([dtype, `${dtype}-shards`].map(name => load(name)));
      expectNear(await draw(split), await draw(whole), 0);
      [whole, split].forEach(pipe => pipe.dispose());
    });
  }

  it('moves to another backend and back', async () => {
    const pipe = await load('int8');
    const expected = await draw(pipe);
    await pipe.to('wasm');
    expectNear(await draw(pipe), expected);
    await pipe.to(device);
    expectNear(await draw(pipe), expected);
    pipe.dispose();
  });

  const spoil: Array<[string, (metadata: Record<string, string>, tensors: Map<string, TensorToWrite>) => void, RegExp]> = [
    ['a list of quantized weights that is none', metadata => { metadata.quantized = '[1]'; }, /^SafetensorsError: .*__metadata__\.quantized: got \[1\], takes an object of group sizes$/],
    ['a broken list', metadata => { metadata.quantized = '{'; }, /^SafetensorsError: .*__metadata__\.quantized/],
    ['a group of nothing', metadata => { metadata.quantized = metadata.quantized.replace(`"${LAYER}":128`, `"${LAYER}":0`); }, /to_q\.weight: its groups are of 0, takes a size from 1 on$/],
    ['groups larger than the weight', metadata => { metadata.quantized = metadata.quantized.replace(`"${LAYER}":128`, `"${LAYER}":129`); }, /to_q\.weight is quantized in groups of 129, takes up to 128/],
    ['scales for other groups', metadata => { metadata.quantized = metadata.quantized.replace(`"${LAYER}":128`, `"${LAYER}":64`); }, /to_q\.weight has scales or minimums of the shape \[1, 128\], takes \[2, 128\]/],
    ['a weight that is not there', metadata => { metadata.quantized = metadata.quantized.replace(LAYER, 'other.weight'); }, /^SafetensorsError: .*other\.weight: is listed as quantized and not there$/],
    ['a float that is listed', metadata => { metadata.quantized = metadata.quantized.replace(LAYER, 'conv_in.weight'); }, /conv_in\.weight: is listed as quantized and of dtype F16, takes I8, U8$/],
    ['numbers without a list', metadata => { delete metadata.quantized; }, /has dtype I8, takes F64, F32/],
    ['a weight without scales', (_, tensors) => { tensors.delete(`${LAYER}.scales`); }, /to_q\.weight: is listed as quantized and has no \.scales$/],
    ['scales that are no floats', (_, tensors) => change(tensors, `${LAYER}.scales`, { dtype: 'I32' }), /to_q\.weight\.scales: has dtype I32, takes F32, F16$/],
    ['scales of another shape', (_, tensors) => change(tensors, `${LAYER}.scales`, { shape: [128, 1] }), /to_q\.weight has scales or minimums of the shape \[128, 1\], takes \[1, 128\]/],
    ['numbers of another shape', (_, tensors) => change(tensors, LAYER, { shape: [64, 256] }), /to_q\.weight has shape \[64, 256\], takes \[128, 128\]/],
    ['bytes in the place of halves', (_, tensors) => change(tensors, LAYER, { dtype: 'U8' }), /to_q\.weight has shape \[128, 256\], takes \[128, 128\]/],
  ];
  for (const [what, how, message] of spoil) {
    it(`refuses ${what}`, async () => {
      const bytes = new Uint8Array(readFileSync(join(place('int8'), UNET)));
      const { metadata, tensors } = await readSafetensorsHeader(bytesSource(bytes));
      const entries = new Map([...tensors].map(([name, { dtype, shape, offset, byteLength }]): [string, TensorToWrite] =>
        [name, { name, dtype, shape, bytes: () => bytes.subarray(offset, offset + byteLength) }]));
      how(metadata, entries);
      const folder = new MemoryFolder({
        'config.json': readFileSync(join(DEMO_MODEL, 'unet/config.json'), 'utf8'), 'diffusion_pytorch_model.safetensors': await write(entries.values(), metadata),
      });
      const before = tf.memory().numTensors;
      await assert.rejects(UNet2DConditionModel.fromPretrained(folder), message);
      assert.equal(tf.memory().numTensors, before);
    });
  }

  it('refuses a file that is cut off', async () => {
    const bytes = readFileSync(join(place('int4'), UNET));
    writeFileSync(place('cut.safetensors'), bytes.subarray(0, bytes.length - 1));
    const folder = new MemoryFolder({ 'config.json': '{}', 'diffusion_pytorch_model.safetensors': bytes.subarray(0, bytes.length - 1) });
    await assert.rejects(UNet2DConditionModel.fromPretrained(folder), /^SafetensorsError: .*is cut off/);
  });
});

function change(tensors: Map<string, TensorToWrite>, name: string, to: Partial<TensorToWrite>): void {
  tensors.set(name, { ...tensors.get(name)!, ...to });
}

async function write(tensors: Iterable<TensorToWrite>, metadata: Record<string, string>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeSafetensors(tensors, metadata)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A LoRA of one layer of the bundled UNet, and a learned word. */
async function adapters(): Promise<MemoryFolder> {
  const tensor = (name: string, shape: number[], scale: number): TensorToWrite => ({
    name, dtype: 'F32', shape,
    bytes: () => new Uint8Array(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => scale * Math.sin(i * i)).buffer),
  });
  const layer = `unet.${LAYER.replace(/\.weight$/, '')}`;
  return new MemoryFolder({
    'pytorch_lora_weights.safetensors': await write([tensor(`${layer}.lora_A.weight`, [4, 128], 1), tensor(`${layer}.lora_B.weight`, [128, 4], 1)], { format: 'pt' }),
    'word.safetensors': await write([tensor('emb_params', [2, 128], 2)], {}),
  });
}
