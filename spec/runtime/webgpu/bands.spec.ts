import * as tf from '@tensorflow/tfjs';
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import assert from 'node:assert/strict';
import { kernels } from '../../../lib/core/kernels.js';
import { bandsOf, convolvedBands, rowsToAlign } from '../../../lib/runtime/webgpu/bands.js';
import { describeOnDevices, expectNoLeak } from '../../support/backends.js';
import { tap } from '../../support/tap.js';

const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);

/** What is too large for a binding is bound by bands: the same values, by the same kernels. */
describeOnDevices('Bands', () => {
  /** Values that `compute` gives on the device as it is, and with bindings of so many bytes. */
  async function both(compute: () => tf.Tensor | undefined, bytes: number): Promise<[Float32Array, Float32Array, number]> {
    const backend = tf.backend() as WebGPUBackend;
    const { device } = backend;
    const read = async () => {
      const result = compute()!;
      const values = await result.data<'float32'>();
      result.dispose();
      return values;
    };
    const whole = await read();
    let bound = 0;
    let bindings = 0;
    backend.device = tap(device, {
      limits: tap(device.limits, { maxStorageBufferBindingSize: bytes }),
      createBindGroup: descriptor => {
        for (const { resource } of descriptor.entries) {
          const { buffer, size = buffer.size } = resource as GPUBufferBinding;
          bound = Math.max(bound, size);
        }
        bindings++;
        return device.createBindGroup(descriptor);
      },
    });
    try {
      const banded = await read();
      assert.ok(bound <= bytes, `${bound} bytes bound, of ${bytes}`);
      return [whole, banded, bindings];
    } finally {
      backend.device = device;
    }
  }

  /** Values are the same, and it took so many dispatches at least. */
  async function same(compute: () => tf.Tensor | undefined, bytes: number, dispatches: number): Promise<void> {
    const [whole, banded, bindings] = await both(compute, bytes);
    assert.ok(whole.some(value => value !== 0));
    assert.deepEqual(banded, whole);
    assert.ok(bindings >= dispatches, `${bindings} dispatches`);
  }

  it('convolves', () => expectNoLeak(async () => {
    for (const [batch, height, width, channels, columns, kernel, stride, pad] of [
      [2, 24, 32, 16, 12, 3, 2, [0, 1, 0, 1]], [1, 31, 16, 12, 4, 3, 2, [1, 1, 1, 1]],
      [3, 48, 16, 4, 8, 5, 1, [2, 2, 2, 2]],
    ] as Array<[number, number, number, number, number, number, number, [number, number, number, number]]>) {
      const [x, weight, bias] = [random([batch, height, width, channels], 1), random([kernel, kernel, channels, columns], 2), random([columns], 3)];
      const options = { stride, padding: pad };
      const out = (size: number, before: number, after: number) => Math.floor((size + before + after - kernel) / stride) + 1;
      const residual = random([batch, out(height, pad[0], pad[1]), out(width, pad[2], pad[3]), columns], 4);
      await same(() => kernels().conv2d!(x, weight, bias, options, () => residual), 4 * Math.max(x.size, residual.size) / batch / 2.5, 3 * batch);
      tf.dispose([x, weight, bias, residual]);
    }
    return [];
  }));

  it('multiplies, normalizes and activates tokens', () => expectNoLeak(async () => {
    const [x, weight, bias, residual] = [random([2, 77, 24], 1), random([24, 40], 2), random([40], 3), random([2, 77, 40], 4)];
    await same(() => kernels().linear!(x, weight, bias, () => residual), 5000, 5);
    await same(() => kernels().geglu!(x), 5000, 3);
    await same(() => kernels().silu!(x), 5000, 3);
    await same(() => kernels().geluTanh!(x), 5000, 3);
    const [scale, shift] = [random([24], 5), random([24], 6)];
    await same(() => kernels().layerNorm!(x, scale, shift, { epsilon: 1e-5 }), 5000, 3);
    await same(() => kernels().rmsNorm!(x, scale, { epsilon: 1e-6 }), 5000, 3);
    const [scales, shifts] = [random([2, 1, 24], 7), random([2, 1, 24], 8)]; // of each sample
    await same(() => kernels().layerNorm!(x, scales, shifts, { epsilon: 1e-5 }), 5000, 3);
    return [x, weight, bias, residual, scale, shift, scales, shifts];
  }));

  it('normalizes groups', () => expectNoLeak(async () => {
    for (const [batch, height, width, channels, groups] of [[1, 64, 64, 64, 2], [2, 40, 33, 32, 2], [3, 32, 31, 16, 1]]) {
      const [x, weight, bias] = [random([batch, height, width, channels], 1), random([channels], 2), random([channels], 3)];
      for (const shift of [undefined, random([1, 1, 1, channels], 4), random([batch, 1, 1, channels], 5)]) {
        const options = { groups, epsilon: 1e-5, silu: true };
        const norm = () => shift ? kernels().shiftedGroupNorm!(x, shift, weight, bias, options) : kernels().groupNorm!(x, weight, bias, options);
        await same(norm, 4 * x.size / batch / 1.5, 4 * batch);
        shift?.dispose();
      }
      tf.dispose([x, weight, bias]);
    }
    return [];
  }));

  it('repeats pixels, as tfjs', () => expectNoLeak(async () => {
    for (const [batch, height, width, channels] of [[1, 16, 16, 32], [2, 15, 9, 64]]) {
      const x = random([batch, height, width, channels], 1);
      for (const less of [0, 1]) {
        const size: [number, number] = [2 * height - less, 2 * width - less];
        await same(() => kernels().repeatPixels!(x, size), 20_000, 3);
        const [own, theirs] = [kernels().repeatPixels!(x, size)!, tf.image.resizeNearestNeighbor(x as tf.Tensor4D, size)];
        assert.deepEqual(await own.data(), await theirs.data());
        tf.dispose([own, theirs]);
      }
      x.dispose();
    }
    return [];
  }));

  it('looks up rows of a table in host memory, as tfjs', () => expectNoLeak(async () => {
    const table = tf.tensor2d(Float32Array.from({ length: 6000 }, (_, i) => i), [1000, 6]);
    const indices = tf.tensor2d([[3, 999, 0], [7, 7, 50]], undefined, 'int32');
    const { tensorMap } = tf.backend() as WebGPUBackend;
    const own = kernels().lookUp!(table, indices)!;
    assert.equal(tensorMap.get(table.dataId).resource, undefined, 'the table is on the device');
    const theirs = tf.gather(table, indices as unknown as tf.Tensor1D);
    assert.deepEqual([own.shape, await own.data()], [theirs.shape, await theirs.data()]);
    assert.equal(kernels().lookUp!(table, indices), undefined, 'gather has brought the table to the device');
    return [table, indices, own, theirs];
  }));
}, { only: 'webgpu' });

describe('Bands of rows', () => {
  const device = { limits: { maxStorageBufferBindingSize: 2 ** 27 } } as GPUDevice;

  it('are one where all fits', () => {
    assert.deepEqual(bandsOf(device, 512, [2 ** 18, 100]), [{ first: 0, count: 512 }]);
  });

  it('begin where a binding can, and fit', () => {
    assert.deepEqual([4, 12, 64, 256, 512, 96].map(rowsToAlign), [64, 64, 4, 1, 1, 8]);
    for (const [rows, bytes] of [[512, [2 ** 19, 2 ** 18]], [777, [2 ** 19 + 4]], [1000, [2 ** 19 + 16, 2 ** 17 + 32]]] as Array<[number, number[]]>) {
      const bands = bandsOf(device, rows, bytes, 3);
      assert.equal(bands.reduce((sum, { count }) => sum + count, 0), rows);
      let next = 0;
      for (const { first, count } of bands) {
        assert.equal(first, next);
        assert.ok(bytes.every(each => (first * each) % 256 === 0 && (count + 3) * each <= 2 ** 27));
        next += count;
      }
    }
  });

  it('of a convolution have the rows around', () => {
    const bands = convolvedBands(device, { kernel: 3, stride: 1, top: 1 }, [512, 2 ** 19], [512, 2 ** 19]);
    assert.deepEqual(bands.map(({ begin, end }) => [begin, end]), [[0, 253], [251, 505], [503, 512]]);
  });
});
