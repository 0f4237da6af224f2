import * as tf from '@tensorflow/tfjs';
import type { TensorInfo } from '@tensorflow/tfjs';
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Block } from '../../../lib/core/block.js';
import { decodeFloat16, encodeBfloat16, encodeFloat16, roundTo } from '../../../lib/core/float16.js';
import { kernels, type Conv2dGeometry } from '../../../lib/core/kernels.js';
import { packings, type PackedFormat } from '../../../lib/core/packed_tensor.js';
import { dequantize, matrixOf, packNibbles, type QuantizedMatrix } from '../../../lib/core/quantized.js';
import { StoredHalves } from '../../../lib/core/stored_halves.js';
import { StoredQuantized } from '../../../lib/core/stored_quantized.js';
import type { StoredValue } from '../../../lib/core/stored_value.js';
import { Conv2d } from '../../../lib/layers/conv2d.js';
import { Linear } from '../../../lib/layers/linear.js';
import { UNet2DConditionModel } from '../../../lib/models/unet_2d_condition_model.js';
import { StableDiffusionPipeline } from '../../../lib/pipelines/index.js';
import { useDevice } from '../../../lib/runtime/devices.js';
import { convolution, linearProduct } from '../../../lib/runtime/webgpu/product.js';
import { TILES } from '../../../lib/runtime/webgpu/tiles.js';
import { quantize } from '../../../weights-converter/quantize.js';
import { describeOnDevices, expectNoLeak } from '../../support/backends.js';
import { expectValues, type Values } from '../../support/close.js';
import { loadGolden } from '../../support/golden.js';
import { seeded, TINY } from '../../support/tiny_pipeline.js';

const FORMATS: PackedFormat[] = ['float16', 'bfloat16', 'int8', 'uint4'];
const GEOMETRIES: Conv2dGeometry[] = [{ stride: 1, padding: [1, 1, 1, 1] }, { stride: 2, padding: [0, 1, 0, 1] }];

const randomValues = (count: number, seed: number) => seeded(seed).randn(count);

/** How whole numbers have scales: with minimums, in halves. */
type Scales = Partial<Record<'minimums' | 'halves', boolean>>;

const FORMS: Array<[PackedFormat, Scales]> = [
  ['float16', {}], ['bfloat16', {}], ['int8', {}], ['int8', { minimums: true, halves: true }],
  ['uint4', {}], ['uint4', { halves: true }], ['uint4', { minimums: true }],
];

/** A weight in a format, in groups of 32 rows where it is of 4 bits, and its values. */
function weightOf(format: PackedFormat, shape: number[], seed: number, { minimums, halves }: Scales = {}): { stored: StoredValue; values: Float32Array } {
  const { depth, columns } = matrixOf(shape);
  const wide = randomValues(depth * columns, seed);
  if (format === 'float16' || format === 'bfloat16') return { stored: StoredHalves.of(wide, shape, format), values: roundTo(format, wide) };
  const groupSize = format === 'int8' ? depth : 32;
  const numberOfScales = Math.ceil(depth / groupSize) * columns;
  const floats = (values: Float32Array) => halves ? roundTo('float16', values) : values;
  const scales = floats(randomValues(numberOfScales, seed + 1).map(value => (Math.abs(value) + 0.1) / (format === 'int8' ? 127 : 15)));
  const more = { scales, halfScales: halves, minimums: minimums ? floats(randomValues(numberOfScales, seed + 2)) : undefined };
  const matrix: QuantizedMatrix = format === 'int8'
    ? { bits: 8, shape, groupSize, values: Int8Array.from(wide, value => Math.max(-128, Math.round(value * 100))), ...more }
    : { bits: 4, shape, groupSize, values: packNibbles(Uint8Array.from(wide, value => Math.abs(Math.round(value * 100)) % 16)), ...more };
  return { stored: new StoredQuantized(matrix, 'float32'), values: dequantize(matrix) };
}

/** How close products are: float16 weights are multiplied as such, where the GPU does that. */
const closeness = (format: PackedFormat) => {
  const inHalves = format === 'float16' && (tf.backend() as WebGPUBackend).device.features.has('shader-f16');
  return inHalves ? { atol: 2e-2, rtol: 1e-2 } : { atol: 1e-5, rtol: 1e-5 };
};

/** Of WebGPU alone: weights that stay packed in the GPU's memory. */
describeOnDevices('packed weights', device => {
  after(() => useDevice('wasm')); // for specs after this one that read at once

  for (const [format, scales] of FORMS) {
    const named = [format, ...Object.keys(scales)].join(', ');
    it(`of ${named} are widened on the device`, () => expectNoLeak(async () => {
      for (const shape of [[20, 40], [3, 3, 12, 8], ...format.includes('float') ? [[5, 3], [7]] : [[65, 8]]]) {
        const { stored, values } = weightOf(format, shape, 1, scales);
        const [packed, read] = [stored.pack!(), stored.read()];
        const unpacked = packings.current!.unpack(packed);
        const close = format.includes('float') ? { atol: 1e-30, rtol: 0 } : { atol: 1e-6, rtol: 1e-6 };
        await expectValues(unpacked, { shape, data: values }, close);
        await expectValues(read, { shape, data: values }, close);
        packed.dispose();
        tf.dispose([unpacked, read]);
      }
      return [];
    }));

    it(`of ${named} are multiplied, with edges in all directions`, () => expectNoLeak(async () => {
      for (const [rows, depth, columns] of [[5, 4, 8], [37, 20, 72], [130, 36, 136]]) {
        const { stored, values } = weightOf(format, [depth, columns], rows, scales);
        const [x, bias, addend] = [rows * depth, columns, rows * columns].map((size, i) => randomValues(size, i + 7));
        const packed = stored.pack!();
        const [xs, biases, addends] = [tf.tensor(x, [1, rows, depth]), tf.tensor(bias), tf.tensor(addend, [1, rows, columns])];
        const [plain, full] = [kernels().linear!(xs, packed)!, kernels().linear!(xs, packed, biases, () => addends)!];
        const product = productOf(x, values, [rows, depth, columns]);
        await expectValues(plain, { shape: [1, rows, columns], data: product }, closeness(format));
        const all = product.map((value, i) => value + bias[i % columns] + addend[i]);
        await expectValues(full, { shape: [1, rows, columns], data: all }, closeness(format));
        packed.dispose();
        tf.dispose([xs, biases, addends, plain, full]);
      }
      return [];
    }));

    it(`of ${named} are convolved, with steps of 1 and 2`, () => expectNoLeak(async () => {
      for (const [kernel, channels, columns] of [[3, 4, 8], [1, 20, 72], [3, 12, 40]]) {
        const { stored, values } = weightOf(format, [kernel, kernel, channels, columns], kernel, scales);
        const shape = [2, 7, 9, channels];
        const x = randomValues(2 * 7 * 9 * channels, 3);
        const packed = stored.pack!();
        const xs = tf.tensor(x, shape);
        for (const geometry of GEOMETRIES) {
          const out = kernels().conv2d!(xs, packed, undefined, geometry)!;
          await expectValues(out, convolutionOf({ shape, data: x }, { shape: [...packed.shape], data: values }, geometry), closeness(format));
          out.dispose();
        }
        packed.dispose();
        xs.dispose();
      }
      return [];
    }));
  }

  it('become halves on the device as on the host, to the last bit', () => expectNoLeak(async () => {
    const special = [0, -0, 1, 65504, 65519.99, 65520, -1e6, Infinity, NaN, 6e-8, 2.9e-8, 3e-8, -5.96e-8, 6.1e-5, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 1e-40];
    const values = Float32Array.from([...special, ...randomValues(84, 1)]); // an odd number of them
    for (const [format, encode] of [['float16', encodeFloat16], ['bfloat16', encodeBfloat16]] as const) {
      const x = tf.tensor1d(values);
      const packed = packings.current!.pack(x, format);
      assert.deepEqual([packed.format, packed.dtype, packed.shape], [format, format, [values.length]]);
      const words = await packed.words.data<'int32'>();
      const bits = new Uint16Array(words.buffer, words.byteOffset, values.length);
      const expected = encode(values);
      const flushed = format === 'bfloat16' ? [] : [special.indexOf(6e-8), special.indexOf(-5.96e-8), special.indexOf(3e-8)];
      bits.forEach((each, i) => assert.ok(each === expected[i] || (flushed.includes(i) && each % 0x8000 === 0), `${values[i]}: ${each}, not ${expected[i]}`));
      packed.dispose();
      x.dispose();
    }
    return [];
  }));

  for (const [name, tile] of Object.entries(TILES)) {
    it(`and float32 are multiplied in tiles of ${name}`, () => expectNoLeak(async () => {
      const backend = tf.backend() as WebGPUBackend;
      const [rows, depth, columns] = [150, 36, 136];
      const x = randomValues(rows * depth, 1);
      const { stored, values } = weightOf('float16', [depth, columns], 2);
      const [xs, plain, packed] = [tf.tensor2d(x, [rows, depth]), tf.tensor2d(values, [depth, columns]), stored.pack!()];
      const wide = { format: 'float32', dtype: 'float32', shape: plain.shape } as const;
      const expected = { shape: [rows, columns], data: productOf(x, values, [rows, depth, columns]) };
      const made = [
        linearProduct(backend, { x: xs, weight: plain }, wide, tile),
        linearProduct(backend, { x: xs, weight: packed.words }, { format: 'float16', dtype: 'float32', shape: plain.shape }, tile),
      ].map(asTensor);
      for (const out of made) await expectValues(out, expected);

      const picture = { shape: [1, 11, 13, 8], data: randomValues(11 * 13 * 8, 3) };
      const kernel = { shape: [3, 3, 8, 12], data: randomValues(9 * 8 * 12, 4) };
      const [pixels, weight] = [picture, kernel].map(({ data, shape }) => tf.tensor(data, shape));
      const convolved = asTensor(convolution(backend, { x: pixels, weight }, { ...wide, shape: kernel.shape }, GEOMETRIES[1], tile));
      await expectValues(convolved, convolutionOf(picture, kernel, GEOMETRIES[1]));
      packed.dispose();
      return [xs, plain, pixels, weight, convolved, ...made];
    }));
  }

  it('take as many bytes as they have, and nothing is left of them', () => expectNoLeak(async () => {
    const layer = new Linear(64, 32);
    layer.storeParameter('weight', weightOf('float16', [64, 32], 1).stored);
    const before = tf.memory();
    const run = () => tf.tidy(() => void layer.forward(tf.ones([4, 64])));
    run();
    assert.ok(layer.isAllocated('weight'));
    assert.equal(tf.memory().numBytes - before.numBytes, 64 * 32 * 2 + 32 * 4);
    const { numTensors } = tf.memory();
    run();
    assert.equal(layer.getParameter('weight').dtype, 'float32'); // who asks for it from outside finds a tensor, until the layer runs
    run();
    assert.equal(tf.memory().numTensors, numTensors);
    layer.release();
    assert.ok(!layer.isAllocated('weight'));
    layer.releaseAfterUse(true);
    run();
    assert.ok(!layer.isAllocated('weight'));
    layer.dispose();
    return [];
  }));

  it('change, and are what they were without the change; a change that lasts is rounded to halves', () => expectNoLeak(async () => {
    for (const format of FORMATS) {
      const layer = new Linear(20, 24, { bias: false });
      const { stored, values } = weightOf(format, [20, 24], 1);
      layer.setParameter('weight', stored.pack!());
      const x = tf.tensor2d(randomValues(3 * 20, 2), [3, 20]);
      const delta = tf.tensor2d(randomValues(20 * 24, 3), [20, 24]);
      const expectRun = async (weight: Float32Array) => {
        const out = layer.forward(x);
        await expectValues(out, { shape: [3, 24], data: productOf(await x.data<'float32'>(), weight, [3, 20, 24]) }, closeness(format));
        out.dispose();
      };
      const deltas = await delta.data<'float32'>();
      const added = values.map((value, i) => value + deltas[i]);
      await expectRun(values);
      const { numTensors } = tf.memory();
      layer.changeParameter('weight', base => tf.add(base, delta));
      await expectRun(added);
      assert.equal(tf.memory().numTensors, numTensors);
      layer.changeParameter('weight');
      await expectRun(values);
      layer.changeParameter('weight', base => tf.add(base, delta));
      layer.mergeChanges();
      layer.changeParameter('weight');
      await expectRun(format === 'float16' || format === 'bfloat16' ? roundTo(format, added) : added);
      layer.dispose();
      tf.dispose([x, delta]);
    }
    return [];
  }));

  it('come back after they were offloaded, as they were', () => expectNoLeak(async () => {
    for (const [format, scales] of FORMS) {
      const layer = new Conv2d(4, 8, { bias: false });
      layer.setParameter('weight', weightOf(format, [3, 3, 4, 8], 1, scales).stored.pack!());
      const x = tf.tensor4d(randomValues(5 * 6 * 4, 2), [1, 5, 6, 4]);
      const run = async () => {
        const out = layer.forward(x);
        const values = await out.data();
        out.dispose();
        return values;
      };
      const before = await run();
      const { numBytes } = tf.memory();
      await layer.offload();
      assert.ok(!layer.isAllocated('weight'));
      assert.deepEqual(await run(), before);
      assert.equal(tf.memory().numBytes, numBytes);
      layer.release();
      assert.deepEqual(await run(), before);
      layer.dispose();
      x.dispose();
    }
    return [];
  }));

  it('move to another device and back', () => expectNoLeak(async () => {
    for (const [format, scales] of FORMS) {
      const layer = new Linear(20, 24);
      const { stored, values } = weightOf(format, [20, 24], 1, scales);
      layer.setParameter('weight', stored.pack!());
      layer.setParameter('bias', tf.tensor1d(randomValues(24, 2)));
      const dtype = format === 'bfloat16' ? format : 'float16';
      await useDevice('wasm');
      assert.throws(() => tf.tidy(() => layer.forward(tf.ones([1, 20]))), /^Error: the weights lie packed on another device than wasm: `await pipe\.to\(device\)` first$/);
      await layer.move(dtype);
      const there = tf.tidy(() => layer.forward(tf.eye(20)).sub(layer.getParameter('bias')).dataSync());
      values.forEach((value, i) => assert.ok(Math.abs(value - there[i]) < 1e-5));
      await useDevice(device);
      await layer.move(dtype);
      assert.ok(layer.isAllocated('weight'));
      const here = tf.tidy(() => layer.forward(tf.eye(20)).sub(layer.getParameter('bias')));
      await expectValues(here, { shape: [20, 24], data: values }, closeness(format));
      layer.dispose();
      here.dispose();
    }
    return [];
  }));

  it('take a LoRA, and keep it in halves', () => expectNoLeak(async () => {
    const { tensors } = loadGolden('lora/out');
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device, dtype: 'float16' });
    pipe.setProgressBarConfig({ disable: true });
    await pipe.loadLoraWeights('spec/golden/lora');
    await pipe.fuseLora({ loraScale: 0.6 });
    for (const isMerged of [false, true]) {
      if (isMerged) await pipe.unloadLoraWeights();
      const { images } = await pipe.generate('a road and a tree on it', { numInferenceSteps: 2, generator: seeded(0), outputType: 'latent' });
      await expectValues(images, tensors['peft fused'], { atol: 2e-2 });
      images.dispose();
    }
    pipe.dispose();
    return [];
  }));

  it('are offloaded with their networks, or with their layers', () => expectNoLeak(async () => {
    const made: ArrayLike<number>[] = [];
    for (const cpuOffload of [undefined, 'model', 'sequential'] as const) {
      const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device, dtype: 'float16', cpuOffload });
      pipe.setProgressBarConfig({ disable: true });
      const path = 'mid_block.attentions.0.proj_in.weight';
      for (let run = 0; run < 2; run++) {
        const { images } = await pipe.generate('a road', { numInferenceSteps: 2, generator: seeded(0), outputType: 'latent' });
        made.push(await images.data());
        images.dispose();
        assert.equal(pipe.unet.isAllocated(path), cpuOffload === undefined);
      }
      pipe.dispose();
    }
    made.forEach(values => assert.deepEqual(values, made[0]));
    return [];
  }));

  it('make the same of a UNet as its widened ones, and no step uploads them', () => expectNoLeak(async () => {
    const load = (options: object) => UNet2DConditionModel.fromPretrained(`${TINY}/unet`, options);
    const halves = await load({ dtype: 'float16' });
    const offloaded = await load({ dtype: 'float16', offload: true });
    const wide = await load({});
    for (const [path] of wide.parameterSpecs()) await roundParameter(wide, path);
    const { in_channels: channels, cross_attention_dim: features } = JSON.parse(readFileSync(`${TINY}/unet/config.json`, 'utf8'));
    const sample = tf.tensor(randomValues(64 * channels, 1), [1, 8, 8, channels]);
    const encoderHiddenStates = tf.tensor(randomValues(7 * features, 2), [1, 7, features]);
    const expected = wide.forward(sample, 7, { encoderHiddenStates });
    const data = await expected.data();
    for (const unet of [halves, offloaded]) {
      const step = async () => {
        const out = unet.forward(sample, 7, { encoderHiddenStates });
        await expectValues(out, { shape: expected.shape, data }, closeness('float16'));
        out.dispose();
      };
      await step();
      const { numTensors } = tf.memory();
      assert.ok(await uploaded(step) < 4096); // uniforms aside
      assert.equal(tf.memory().numTensors, numTensors);
    }
    [halves, offloaded, wide].forEach(unet => unet.dispose());
    return [sample, encoderHiddenStates, expected];
  }));

  for (const bits of [8, 4] as const) {
    it(`of ${bits} bits make the same of a UNet as their widened ones`, () => expectNoLeak(async () => {
      const config = JSON.parse(readFileSync(`${TINY}/unet/config.json`, 'utf8'));
      const source = await UNet2DConditionModel.fromPretrained(`${TINY}/unet`);
      const [packed, wide] = [new UNet2DConditionModel(config), new UNet2DConditionModel(config)];
      let matrices = 0;
      for (const [path, { shape, layout }] of source.parameterSpecs()) {
        const values = await source.getParameter(path).data<'float32'>();
        if (layout === 'plain' || shape.at(-1)! % 8 !== 0) {
          for (const unet of [packed, wide]) unet.setParameter(path, tf.tensor(values, [...shape]));
          continue;
        }
        matrices++;
        const matrix = quantize(path, values, shape, bits);
        packed.setParameter(path, new StoredQuantized(matrix, 'float32').pack());
        wide.setParameter(path, tf.tensor(dequantize(matrix), [...shape]));
      }
      assert.ok(matrices > 50, `${matrices}`);
      const sample = tf.tensor(randomValues(2 * 64 * 4, 1), [2, 8, 8, 4]);
      const encoderHiddenStates = tf.tensor(randomValues(2 * 7 * 16, 2), [2, 7, 16]);
      const [actual, expected] = [packed, wide].map(unet => unet.forward(sample, 7, { encoderHiddenStates }));
      await expectValues(actual, { shape: expected.shape, data: await expected.data() }, { atol: 1e-4, rtol: 1e-4 });
      [source, packed, wide].forEach(unet => unet.dispose());
      return [sample, encoderHiddenStates, actual, expected];
    }));
  }
}, { only: 'webgpu' });

/** Rounds a parameter as the type has it. */
async function roundParameter(block: Block, path: string): Promise<void> {
  const value = block.getParameter(path);
  block.setParameter(path, tf.tensor(decodeFloat16(encodeFloat16(await value.data<'float32'>())), value.shape));
}

/** How many bytes of values `work` uploads: tfjs maps a buffer for each tensor, and writes only uniforms otherwise. */
async function uploaded(work: () => Promise<void>): Promise<number> {
  const { device } = tf.backend() as WebGPUBackend;
  const { createBuffer } = device;
  let bytes = 0;
  device.createBuffer = descriptor => {
    if (descriptor.mappedAtCreation) bytes += descriptor.size;
    return createBuffer.call(device, descriptor);
  };
  await work().finally(() => { device.createBuffer = createBuffer; });
  return bytes;
}

function asTensor(info: TensorInfo): tf.Tensor {
  return tf.engine().makeTensorFromTensorInfo(info);
}

/** `[rows, depth]` times `[depth, columns]` in float64. */
function productOf(x: ArrayLike<number>, weight: ArrayLike<number>, [rows, depth, columns]: number[]): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < depth; k++) {
      for (let column = 0; column < columns; column++) out[row * columns + column] += x[row * depth + k] * weight[k * columns + column];
    }
  }
  return out;
}

/** A convolution in float64. */
function convolutionOf({ shape: [batch, height, width, channels], data }: Values, weight: Values, { stride, padding }: Conv2dGeometry): Values {
  const [kernel, , , columns] = weight.shape;
  const [top, bottom, left, right] = padding;
  const [rows, across] = [[height, top + bottom], [width, left + right]].map(([size, around]) => Math.floor((size + around - kernel) / stride) + 1);
  const depth = kernel * kernel * channels;
  const patches = new Float64Array(batch * rows * across * depth);
  for (let at = 0; at < patches.length; at++) {
    const [channel, tap, pixel] = [at % channels, Math.floor(at / channels) % (kernel * kernel), Math.floor(at / depth)];
    const y = Math.floor(pixel / across) % rows * stride + Math.floor(tap / kernel) - top;
    const x = pixel % across * stride + tap % kernel - left;
    const sample = Math.floor(pixel / across / rows);
    if (y >= 0 && y < height && x >= 0 && x < width) patches[at] = data[((sample * height + y) * width + x) * channels + channel];
  }
  return { shape: [batch, rows, across, columns], data: productOf(patches, weight.data, [batch * rows * across, depth, columns]) };
}
