import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readCheckpoint } from '../../lib/checkpoints/checkpoint.js';
import { readGguf } from '../../lib/checkpoints/gguf.js';
import { blockFormats, decodeBlocks, widenBlocks } from '../../lib/checkpoints/gguf_blocks.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { readSafetensors } from '../../lib/weights/safetensors.js';
import { convertModel } from '../../weights-converter/convert.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { blocks, BLOCK_TYPES, digest, gguf, ggufFile, ggufGolden, type TensorOfGguf } from '../support/gguf.js';
import { bytesSource } from '../support/memory_folder.js';
import { seeded } from '../support/tiny_pipeline.js';

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => new Uint8Array(buffer, byteOffset, byteLength);

describe('blocks of GGUF', () => {
  it('are of the types that are read', () => assert.deepEqual([...blockFormats.keys()].sort(), [...BLOCK_TYPES].sort()));

  for (const [number, type] of BLOCK_TYPES.entries()) {
    it(`${type}: stand for the numbers that gguf gives, to the last bit`, () => {
      const format = blockFormats.get(type)!;
      const wide = widenBlocks(decodeBlocks(blocks(number, type, 2048), format), format);
      assert.deepEqual([...wide.subarray(0, 40)], ggufGolden.blocks[type].first);
      assert.equal(digest(bytesOf(wide)), ggufGolden.blocks[type].digest);
    });
  }
});

describe('a GGUF file', () => {
  const matrix = (shape: number[], type: string, name = 'a.weight'): TensorOfGguf => {
    const count = shape.reduce((product, size) => product * size, 1);
    return { name, shape, type, bytes: blocks(1, type, count) };
  };
  const read = (tensors: TensorOfGguf[], values?: Parameters<typeof gguf>[1]) => readGguf(bytesSource(gguf(tensors, values)));

  it('keeps matrices in their bits, if their outputs are whole words, and widens all else', async () => {
    const cases: Array<[shape: number[], type: string, dtype: string, scales?: number[], groupSize?: number]> = [
      [[8, 64], 'Q4_0', 'U8', [8, 2], 32], [[12, 64], 'Q4_0', 'F32'], [[12, 64], 'Q8_0', 'I8', [12, 2], 32], [[6, 64], 'Q8_0', 'F32'],
      [[8, 256], 'Q6_K', 'I8', [8, 16], 16], [[8, 256], 'Q4_K', 'U8', [8, 8], 32], [[8, 2, 3, 32], 'Q8_0', 'F32'], [[64], 'Q8_0', 'F32'],
    ];
    for (const [shape, type, dtype, scales, groupSize] of cases) {
      const tensor = matrix(shape, type);
      const file = gguf([tensor]);
      const { tensors } = await readGguf(bytesSource(file));
      const found = tensors.get('a.weight')!;
      assert.deepEqual([found.dtype, found.shape, found.quantized?.scales.shape, found.quantized?.groupSize], [dtype, shape, scales, groupSize], type);
      const format = blockFormats.get(type)!;
      const expected = bytesOf(widenBlocks(decodeBlocks(tensor.bytes, format), format));
      assert.deepEqual(await (found.quantized?.widened ?? found).read(bytesSource(file)), expected);
    }
  });

  it('is read again where that failed once', async () => {
    const file = gguf([matrix([8, 64], 'Q4_0')]);
    const found = (await readGguf(bytesSource(file))).tensors.get('a.weight')!;
    const failing = { ...bytesSource(file), read: () => Promise.reject(new Error('EIO')) };
    await assert.rejects(found.read(failing), /EIO/);
    assert.deepEqual(await found.read(bytesSource(file)), await (await readGguf(bytesSource(file))).tensors.get('a.weight')!.read(bytesSource(file)));
  });

  const text = (value: string) => Buffer.concat([Buffer.from(new BigUint64Array([BigInt(value.length)]).buffer), Buffer.from(value)]);
  const uint32 = (...values: number[]) => bytesOf(Uint32Array.from(values));

  it('may have values of all types beside its tensors, which are passed over', async () => {
    const array = (type: number, count: bigint, bytes: Uint8Array) => Buffer.concat([uint32(type), bytesOf(new BigUint64Array([count])), bytes]);
    const values = [
      ...[0, 1, 7].map(type => ['byte', type, Uint8Array.of(1)] as const), ...[2, 3].map(type => ['short', type, Uint8Array.of(1, 2)] as const),
      ...[4, 5, 6].map(type => ['word', type, uint32(7)] as const), ...[10, 11, 12].map(type => ['long', type, uint32(7, 0)] as const),
      ['text', 8, text('a')] as const, ['texts', 9, array(8, 2n, Buffer.concat([text('a'), text('bc')]))] as const,
      ['numbers', 9, array(6, 3n, uint32(1, 2, 3))] as const, ['lists', 9, array(9, 1n, array(4, 2n, uint32(1, 2)))] as const,
      ['general.alignment', 4, uint32(32)] as const,
    ];
    const { tensors } = await read([matrix([4, 32], 'Q8_0')], values);
    assert.deepEqual([...tensors.keys()], ['a.weight']);
  });

  const change = (bytes: Uint8Array, at: number, ...to: number[]) => {
    const changed = bytes.slice();
    changed.set(to, at);
    return changed;
  };
  const good = gguf([matrix([4, 32], 'Q8_0'), matrix([4, 32], 'Q8_0', 'b.weight')]);
  const nameAt = 24 + 8; // of the first tensor
  const axesAt = nameAt + 8;
  const refused: Array<[string, Uint8Array, RegExp]> = [
    ['another file', change(good, 0, 0x47, 0x47, 0x4d, 0x4c), /^GgufError: .*is no GGUF file: it does not begin with GGUF$/],
    ['an older version', change(good, 4, 1), /is of GGUF's version 1, takes 2, 3$/],
    ['a big-endian file', change(good, 4, 0, 0, 0, 3), /is of GGUF's version 50331648, takes 2, 3$/],
    ['more tensors than can be', change(good, 8, 0, 0, 0, 0, 1), /has 4294967296 tensors, takes up to 100000$/],
    ['more values than can be', change(good, 16, 0, 0, 0, 0, 1), /has 4294967296 values, takes up to 100000$/],
    ['an endless name', change(good, 24, 255, 255), /has the name of a tensor of 65535 bytes, takes up to 1000$/],
    ['a name that is not UTF-8', change(good, nameAt, 0xff), /has the name of a tensor that is not UTF-8$/],
    ['too many axes', change(good, axesAt, 5), /a\.weight: has 5 axes, takes up to 4$/],
    ['a shape without end', change(good, axesAt + 4, 0, 0, 0, 0, 0, 0, 255), /a\.weight: shape \[.*\] is too large$/],
    ['rows that are no blocks', change(good, axesAt + 4, 16), /a\.weight: its rows of 16 numbers are no whole blocks of Q8_0, which have 32$/],
    ['a type that is not read', change(good, axesAt + 20, 20), /a\.weight: is of type IQ4_NL, takes F32, F16, BF16, .*Q6_K$/],
    ['a type that nobody knows', change(good, axesAt + 20, 99), /a\.weight: is of type 99, takes F32/],
    ['tensors that overlap', change(good, axesAt + 24 + 8 + 8 + 8 + 4 + 16 + 4, 0), /b?.*its data begins at 0, takes 160, behind the tensor before$/],
    ['two tensors of one name', change(good, axesAt + 24 + 8 + 8, 0x61), /has two tensors of one name$/],
    ['a file that is cut off', good.subarray(0, good.length - 64), /is cut off: its tensors end at byte \d+, the file at \d+$/],
    ['a header that is cut off', good.subarray(0, 60), /is cut off in its header$/],
    ['nothing', new Uint8Array(), /is cut off in its header$/],
    ['a value without a type', gguf([], [['x', 13, new Uint8Array(8)]]), /x: is a value of type 13, takes 0 to 12/],
    ['lists without end', gguf([], [['x', 9, uint32(...Array.from({ length: 8 }, () => [9, 1, 0]).flat())]]), /x: is a value of type 9, takes 0 to 12, and arrays of up to 4 levels/],
    ['no alignment', gguf([], [['general.alignment', 4, uint32(0)]]), /general\.alignment: got 0, takes a multiple of 8/],
    ['another shape of other numbers', gguf([matrix([4, 32], 'Q8_0')], [['comfy.gguf.orig_shape.a.weight', 9, uint32(5, 2, 0, 4, 31)]]), /a\.weight: has 128 numbers, and was of the shape \[4, 31\]$/],
  ];
  for (const [what, bytes, message] of refused) {
    it(`is refused: ${what}`, () => assert.rejects(readCheckpoint('model.gguf', async () => bytesSource(bytes)), message));
  }
});

describeOnDevices('a model in a GGUF file', device => {
  const files = { model: ggufFile('model'), unet: ggufFile('unet') };
  let folder: string;
  const file = (name: string) => join(folder, `${name}.gguf`);
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'gguf-'));
    for (const [name, bytes] of Object.entries(files)) writeFileSync(file(name), bytes);
  });
  after(() => rmSync(folder, { recursive: true }));

  const { inputs, outputs } = ggufGolden;
  const close = { atol: 2e-4, rtol: 2e-4 };
  const checkUnet = (unet: UNet2DConditionModel, expected: number[]) => tf.tidy(() => {
    const out = unet.forward(tf.tensor(inputs.sample, [2, 8, 8, 4]), 500, { encoderHiddenStates: tf.tensor(inputs.states, [2, 7, 64]) });
    expectClose(out, { shape: [2, 8, 8, 4], data: expected }, close);
  });
  const QUANTIZED = 'down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight';

  it('is the one that gguf wrote, to the last byte', () => {
    for (const name of ['model', 'unet'] as const) assert.equal(digest(files[name]), ggufGolden.files[name].digest);
  });

  it('in the names of stable-diffusion.cpp gives what diffusers gives of the same weights', () => expectNoLeak(async () => {
    const unet = await UNet2DConditionModel.fromSingleFile(file('model'));
    checkUnet(unet, outputs.unet);
    assert.ok(!unet.isAllocated(QUANTIZED), 'it stays in its bits');
    unet.dispose();
    const vae = await AutoencoderKL.fromSingleFile(file('model'));
    tf.tidy(() => expectClose(vae.decode(tf.tensor(inputs.latents, [1, 4, 4, 4])), { shape: [1, 8, 8, 3], data: outputs.vae }, close));
    vae.dispose();
    const text = await CLIPTextModel.fromSingleFile(file('model'));
    const { lastHiddenState, ...others } = text.forward(ggufGolden.ids);
    expectClose(lastHiddenState, { shape: [2, 5, 64], data: outputs.text }, close);
    tf.dispose([lastHiddenState, { ...others }]);
    text.dispose();
    return [];
  }));

  it('can be a UNet alone, in rows of 256 as files for ComfyUI have it', () => expectNoLeak(async () => {
    const unet = await UNet2DConditionModel.fromSingleFile(file('unet'));
    checkUnet(unet, outputs.single);
    assert.ok(!unet.isAllocated(QUANTIZED));
    unet.dispose();
    return [];
  }));

  it('is a whole pipeline, which is offloaded, and converted in the bits that it has', async () => {
    const draw = async (source: string, options: object = {}) => {
      const pipe = await StableDiffusionPipeline.fromPretrained(source, { device, compile: false, ...options });
      const { images } = await pipe.generate('a hat', { numInferenceSteps: 1, height: 64, width: 64, generator: seeded(0), outputType: 'latent' });
      const values = await images.data();
      images.dispose();
      pipe.dispose();
      return values;
    };
    const expected = await draw(file('model'));
    const near = (actual: ArrayLike<number>, tolerance: number) => expected.forEach((value, i) => assert.ok(Math.abs(value - actual[i]) <= tolerance, `${value}, ${actual[i]}`));
    near(await draw(file('model'), { cpuOffload: 'sequential' }), 1e-4);
    await convertModel(file('model'), join(folder, 'out'), { verify: true });
    near(await draw(join(folder, 'out')), 1e-4);
    const { tensors } = readSafetensors(readFileSync(join(folder, 'out/unet/diffusion_pytorch_model.safetensors')));
    assert.ok(['I8', 'U8'].includes(tensors[QUANTIZED].dtype));
  });
});
