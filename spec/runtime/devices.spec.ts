import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { availableDevices, currentDevice, describeDevices, DeviceError, useDevice, type Device } from '../../lib/runtime/devices.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';

describe('devices', () => {
  it('has WASM, with SIMD, on every machine', async () => {
    assert.equal((await availableDevices()).at(-1), 'wasm');
    assert.match((await describeDevices()).devices.find(({ device }) => device === 'wasm')!.detail, /with SIMD/);
  });

  it('tells what each device is or lacks, and what auto takes', async () => {
    const { devices, auto, versions, threads, cacheFolder } = await describeDevices();
    assert.deepEqual(devices.map(({ device }) => device), ['cuda', 'webgpu', 'webgl', 'cpu', 'wasm']);
    assert.equal(auto, (await availableDevices())[0]);
    assert.equal(versions.tfjs, '4.22.0');
    assert.equal(versions.node, process.versions.node);
    assert.ok(threads! >= 1);
    assert.match(cacheFolder!, /tfjs-diffusers/);
  });

  it('refuses a name that is no device', async () => {
    await assert.rejects(useDevice('tpu' as Device),
      new RangeError("device: got 'tpu', takes 'auto', 'cuda', 'webgpu', 'webgl', 'cpu', 'wasm'"));
  });

  it('refuses a limit of memory that is none, or for a device that has none', async () => {
    await assert.rejects(useDevice('cuda', { memoryFraction: 1.5 }), new RangeError('memoryFraction: got 1.5, takes a number above 0, 1 at most'));
    await assert.rejects(useDevice('cuda', { memoryFraction: 0 }), /got 0, takes/);
    await assert.rejects(useDevice('wasm', { memoryFraction: 0.5 }),
      new RangeError('memoryFraction: got 0.5 for wasm, which has no such limit; takes it for cuda and auto'));
  });

  it('refuses TF32 for a device that has none', async () => {
    await assert.rejects(useDevice('wasm', { allowTf32: true }), new RangeError('allowTf32: got true for wasm, which has no TF32; takes it for cuda and auto'));
  });

  it('says what a device of pages lacks in Node', async () => {
    await assert.rejects(useDevice('webgl'), new DeviceError('webgl', 'needs a browser'));
  });

  it('takes a backend that the program registers', async () => {
    tf.registerBackend('webgpu', () => Promise.reject(new Error('no adapter')));
    try {
      assert.ok((await describeDevices()).devices.find(({ device }) => device === 'webgpu')!.available);
    } finally {
      tf.removeBackend('webgpu');
    }
  });
});

describeOnDevices('devices', device => {
  it('becomes current', async () => {
    assert.equal(await useDevice(device), device);
    assert.equal(currentDevice(), device);
    assert.equal(tf.getBackend(), device === 'wasm' ? 'wasm' : 'tensorflow');
  });

  it('takes over tensors made on WASM and gives them back', async () => {
    await expectNoLeak(async () => {
      await useDevice('wasm');
      const weights = tf.tensor2d([1, -2, 3.5, 4], [2, 2]);
      const twice = weights.add(weights); // in WASM's memory, where `weights` still is in JavaScript's
      await useDevice(device);
      const product = twice.matMul(weights);
      await useDevice('wasm');
      const sum = product.add(weights);
      await useDevice(device);
      expectClose(product, { shape: [2, 2], data: [-12, -20, 35, 18] });
      expectClose(sum, { shape: [2, 2], data: [-11, -22, 38.5, 22] });
      return [weights, twice, product, sum];
    });
  });
});
