/**
 * `npm run bench -- webgpu-tune`: milliseconds of the products and convolutions of Stable Diffusion 1.5's and XL's steps on this machine's GPU, by
 * size of their tiles, with float32 and float16 weights: what `tileFor` in lib/runtime/webgpu/tiles.ts is to choose by.
 * `--size small` divides all sizes by sixteen, to try it on a driver in software, whose figures say nothing of a GPU.
 */
import * as tf from '@tensorflow/tfjs';
import type { TensorInfo } from '@tensorflow/tfjs';
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import { packings } from '../lib/core/packed_tensor.js';
import { describeDevices, useDevice } from '../lib/index.js';
import { convolution, linearProduct, type WeightForm } from '../lib/runtime/webgpu/product.js';
import { TILES, tileFor, type Tile } from '../lib/runtime/webgpu/tiles.js';
import { table } from './report.js';

const [size] = process.argv.slice(3);
const isSmall = size === 'small';
const [GROUPS, REPEATS] = isSmall ? [1, 1] : [5, 10];
const scaled = (of: number) => isSmall ? Math.max(4, of / 16) : of;

interface Shape {
  readonly name: string;
  readonly rows: number;
  readonly columns: number;
  readonly flops: number;
  readonly x: number[];
  readonly weight: number[];
  run(inputs: Record<'x' | 'weight', TensorInfo>, form: WeightForm, tile: Tile): TensorInfo;
}

const FLOAT32 = { format: 'float32', dtype: 'float32' } as const;

function linear(rows: number, depth: number, columns: number): Shape {
  const [x, weight] = [[scaled(rows), scaled(depth)], [scaled(depth), scaled(columns)]];
  return {
    name: `[${x}] x [${weight}]`, rows: x[0], columns: weight[1], flops: 2 * x[0] * x[1] * weight[1], x, weight,
    run: (inputs, form, tile) => linearProduct(backend, inputs, form, tile),
  };
}

function conv(side: number, channels: number, columns: number, batch = 2): Shape {
  const [x, weight] = [[batch, scaled(side), scaled(side), scaled(channels)], [3, 3, scaled(channels), scaled(columns)]];
  const rows = batch * x[1] ** 2;
  return {
    name: `[${x}] by [${weight}]`, rows, columns: weight[3], flops: 2 * rows * 9 * x[3] * weight[3], x, weight,
    run: (inputs, form, tile) => convolution(backend, inputs, form, { stride: 1, padding: [1, 1, 1, 1] }, tile),
  };
}

/** What of a guided step takes most, 512x512 and 1024x1024, and of decoding. */
const shapes = (): Record<string, Shape[]> => ({
  sd15: [
    conv(64, 320, 320), conv(64, 640, 320), conv(32, 640, 640), conv(32, 1280, 640), conv(16, 1280, 1280), conv(16, 2560, 1280), conv(8, 1280, 1280),
    linear(8192, 320, 320), linear(8192, 320, 2560), linear(8192, 1280, 320), linear(2048, 640, 640), linear(2048, 640, 5120), linear(512, 1280, 1280),
    linear(512, 1280, 10240), linear(160, 768, 320),
  ],
  sdxl: [
    conv(128, 320, 320), conv(64, 640, 640), conv(32, 1280, 1280),
    linear(8192, 640, 640), linear(8192, 640, 5120), linear(2048, 1280, 1280), linear(2048, 1280, 10240), linear(2048, 5120, 1280), linear(160, 2048, 1280),
  ],
  vae: [conv(64, 512, 512, 1), conv(256, 512, 256, 1), conv(512, 128, 128, 1)],
});

await useDevice('webgpu');
const backend = tf.backend() as WebGPUBackend;
console.log((await describeDevices()).devices.find(({ device }) => device === 'webgpu')!.detail);
const names = Object.keys(TILES) as Array<keyof typeof TILES>;
for (const [model, list] of Object.entries(shapes())) {
  for (const format of ['float32', 'float16'] as const) {
    const lines: string[][] = [];
    for (const shape of list) lines.push(await line(shape, format));
    console.log(`\n${model}, ${format} weights\n\n${table(['shape', ...names.map(name => `${name} ms`), 'fastest', 'TFLOP/s', 'chosen'], lines)}`);
  }
}

/** Milliseconds of a shape by tile. */
async function line(shape: Shape, format: 'float32' | 'float16'): Promise<string[]> {
  const [x, wide] = [tf.randomNormal(shape.x), tf.randomNormal(shape.weight, 0, 0.05)];
  const packed = format === 'float16' ? packings.current!.pack(wide, format) : undefined;
  const form: WeightForm = { ...packed ? { format: packed.format, dtype: packed.dtype } : FLOAT32, shape: shape.weight };
  const milliseconds: number[] = [];
  for (const name of names) milliseconds.push(await fastest(() => shape.run({ x, weight: packed?.words ?? wide }, form, TILES[name])));
  packed?.dispose();
  tf.dispose([x, wide]);
  const best = Math.min(...milliseconds);
  const chosen = names.find(name => TILES[name] === tileFor(shape.rows, shape.columns))!;
  const speed = (shape.flops / best / 1e9).toFixed(2);
  return [shape.name, ...milliseconds.map(each => each.toFixed(3)), names[milliseconds.indexOf(best)], speed, chosen];
}

/** Of some groups of runs, the fastest one's mean, after a run that compiles. */
async function fastest(run: () => TensorInfo): Promise<number> {
  const group = async (repeats: number) => {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) backend.disposeData(run().dataId);
    backend.ensureCommandEncoderReady();
    backend.endComputePassEncoder();
    backend.submitQueue();
    await backend.device.queue.onSubmittedWorkDone();
    return (performance.now() - start) / repeats;
  };
  const made = run();
  await backend.read(made.dataId); // throws what the device refuses
  backend.disposeData(made.dataId);
  const found: number[] = [];
  for (let i = 0; i < GROUPS; i++) found.push(await group(REPEATS));
  return Math.min(...found);
}
