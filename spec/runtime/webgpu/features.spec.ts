import * as tf from '@tensorflow/tfjs';
import type { TensorInfo } from '@tensorflow/tfjs';
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import assert from 'node:assert/strict';
import { kernels } from '../../../lib/core/kernels.js';
import { packings } from '../../../lib/core/packed_tensor.js';
import { useDevice } from '../../../lib/runtime/devices.js';
import { attention } from '../../../lib/runtime/webgpu/attention.js';
import { groupMoments, groupNumbers } from '../../../lib/runtime/webgpu/group_norm.js';
import { layerNorm } from '../../../lib/runtime/webgpu/layer_norm.js';
import { convolution, isOfHalves, linearProduct, type ProductInputs, type WeightForm } from '../../../lib/runtime/webgpu/product.js';
import { runKernel, WORKGROUP } from '../../../lib/runtime/webgpu/program.js';
import { TILES } from '../../../lib/runtime/webgpu/tiles.js';
import { describeOnDevices, expectNoLeak } from '../../support/backends.js';
import { expectValues } from '../../support/close.js';
import { seeded } from '../../support/tiny_pipeline.js';

const randomValues = (count: number, seed: number) => seeded(seed).randn(count);
/** Dawn without a GPU: its devices end the process if they outlast it. */
let dawn: GPU;
const half = { atol: 2e-2, rtol: 1e-2 };

/** Of what only some GPUs have. What this one does not have is compiled by Dawn without a GPU, so that no code is left unseen. */
describeOnDevices('features of GPUs', () => {
  after(() => useDevice('wasm')); // for specs after this one that read at once
  const backend = () => tf.backend() as WebGPUBackend;
  const has = (feature: string) => backend().device.features.has(feature);

  for (const subgroups of [false, true]) {
    it(`norms add up ${subgroups ? 'by subgroups' : 'by halves'}`, async function () {
      if (subgroups && !has('subgroups')) return this.skip();
      await expectNoLeak(async () => {
        for (const [rows, features] of [[3, 20], [5, 64], [2, 333]]) {
          const values = randomValues(rows * features, features).map(value => value + 100); // nothing cancels
          const [x, weight, bias] = [tf.tensor2d(values, [rows, features]), tf.ones([features]), tf.zeros([features])];
          const normalized = asTensor(runKernel(backend(), layerNorm(subgroups), {
            shape: x.shape, workgroups: rows, inputs: [x, weight, bias], numbers: [rows, features, 0, rows], fractions: [1e-5],
          }));
          const moments = asTensor(runKernel(backend(), groupMoments({ shifted: false, subgroups }), {
            shape: [rows, 1, 2], workgroups: rows, inputs: [x],
            numbers: groupNumbers({ batch: rows, pixels: features, channels: 1, groups: 1, parts: 1, chunk: features, shifts: 1 }),
          }));
          const of = Array.from({ length: rows }, (_, row) => momentsOf(values.subarray(row * features, (row + 1) * features)));
          await expectValues(moments, { shape: [rows, 1, 2], data: of.flatMap(({ mean, squares }) => [mean, squares]) });
          const data = Float64Array.from(values, (value, i) => {
            const { mean, squares } = of[Math.floor(i / features)];
            return (value - mean) / Math.sqrt(squares / features + 1e-5);
          });
          await expectValues(normalized, { shape: [rows, features], data }, { atol: 1e-4, rtol: 1e-4 });
          tf.dispose([x, weight, bias, normalized, moments]);
        }
        return [];
      });
    });
  }

  it('products of float16 weights are float16, sums are not, and attention holds halves', async function () {
    if (!has('shader-f16')) return this.skip();
    this.timeout(600_000); // a driver in software takes long to compile
    await expectNoLeak(async () => {
      const [rows, depth, columns] = [70, 260, 72];
      const x = randomValues(rows * depth, 1);
      const weight = randomValues(depth * columns, 2);
      const [xs, wide] = [tf.tensor3d(x, [1, rows, depth]), tf.tensor2d(weight, [depth, columns])];
      const packed = packings.current!.pack(wide, 'float16');
      const exact = kernels().linear!(xs, wide)!;
      assert.ok(!isOfHalves(exact));
      const data = await exact.data();
      const deviation = { atol: 0.1, rtol: 1e-2 }; // of sums of 260 products, each rounded to 11 bits
      for (const tile of Object.values(TILES)) {
        const form = { format: packed.format, dtype: packed.dtype, shape: packed.shape };
        const out = asTensor(linearProduct(backend(), { x: xs, weight: packed.words }, form, tile));
        assert.ok(isOfHalves(out));
        await expectValues(out, { shape: exact.shape, data }, deviation);
        out.dispose();
      }
      packed.dispose();
      tf.dispose([xs, wide, exact]);
      for (const [size, queries, keys] of [[40, 77, 77], [160, 33, 19], [512, 9, 11]]) {
        const [q, k, v] = [queries, keys, keys].map((tokens, i) => tf.randomNormal([2, tokens, 2 * size], 0, 1, 'float32', i + 1));
        const [wide, halves] = [false, true].map(halves => runAttention(backend(), [q, k, v], { heads: 2, halves }));
        await expectValues(halves, { shape: wide.shape, data: await wide.data() }, half);
        tf.dispose([q, k, v, wide, halves]);
      }
      return [];
    });
  });

  it('all compile', async () => {
    const { CheckedWebGpuBackend } = await import('../../../lib/runtime/webgpu/webgpu_backend.js');
    dawn = (await import('webgpu')).create(['backend=null']);
    const adapter = (await dawn.requestAdapter())!;
    const device = await adapter.requestDevice({ requiredFeatures: ['shader-f16', 'subgroups' as GPUFeatureName] });
    const nowhere = new CheckedWebGpuBackend(device, adapter.info);
    const tensor = (shape: number[], dtype: 'float32' | 'int32' = 'float32') => nowhere.makeTensorInfo(shape, dtype);
    for (const tile of Object.values(TILES)) {
      for (const format of ['float16', 'int8', 'uint4'] as const) {
        const isWhole = format !== 'float16';
        const groups: ProductInputs = isWhole ? { scales: tensor([2, 8]), minimums: tensor([2, 8]) } : {};
        const inputs = { weight: tensor([256], 'int32'), ...groups, bias: tensor([8]) };
        const form = (shape: number[]): WeightForm => ({ format, dtype: 'float16', shape, groupSize: isWhole ? 32 : undefined });
        const product = linearProduct(nowhere, { ...inputs, x: tensor([4, 64]), residual: tensor([4, 8]) }, form([64, 8]), tile);
        const geometry = { stride: 1, padding: [1, 1, 1, 1] } as const;
        const convolved = convolution(nowhere, { ...inputs, x: tensor([1, 4, 4, 4]) }, form([3, 3, 4, 8]), geometry, tile);
        for (const { dataId } of [product, convolved]) await nowhere.read(dataId); // throws what does not compile
      }
    }
    const norm = runKernel(nowhere, layerNorm(true), {
      shape: [4, 8], workgroups: 4, inputs: [tensor([4, 8]), tensor([8]), tensor([8])], numbers: [4, 8, 0, 4], fractions: [1],
    });
    const moments = runKernel(nowhere, groupMoments({ shifted: false, subgroups: true }), {
      shape: [4, 1, 2], workgroups: 4, inputs: [tensor([4, 8])],
      numbers: groupNumbers({ batch: 4, pixels: 8, channels: 1, groups: 1, parts: 1, chunk: 8, shifts: 1 }),
    });
    for (const { dataId } of [norm, moments]) await nowhere.read(dataId);
    const wrong = { key: 'wrong', features: ['f16'] as const, inputs: [], code: () => 'fn main(index: i32) { result[index] = f16(1.0); }' };
    const { dataId } = runKernel(nowhere, wrong, { shape: [1], workgroups: 1, inputs: [] });
    await assert.rejects(nowhere.read(dataId), /^Error: webgpu: /); // which it would
    nowhere.dispose();
  });
}, { only: 'webgpu' });

function asTensor(info: TensorInfo): tf.Tensor {
  return tf.engine().makeTensorFromTensorInfo(info);
}

function runAttention(backend: WebGPUBackend, inputs: tf.Tensor[], { heads, halves }: { heads: number; halves: boolean }): tf.Tensor {
  const [[batch, queries, features], [, keys]] = [inputs[0].shape, inputs[1].shape];
  const headSize = features / heads;
  const threads = { 40: 1, 160: 2, 512: 8 }[headSize]!;
  const groups = batch * heads * Math.ceil(queries * threads / WORKGROUP);
  return asTensor(runKernel(backend, attention({ headSize, masked: false, halves }), {
    shape: inputs[0].shape, workgroups: groups, inputs, numbers: [groups, heads, queries, keys], fractions: [1 / Math.sqrt(headSize)],
  }));
}

/** The mean, and the squares about it, in float64. */
function momentsOf(values: Float32Array): { mean: number; squares: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean, squares: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) };
}
