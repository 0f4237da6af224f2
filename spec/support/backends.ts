import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { describeDevices, useDevice, type Device } from '../../lib/runtime/devices.js';
import { offerSoftwareGpu } from './software_gpu.js';

/** Those named in DEVICES (`DEVICES=wasm npm test`), or all, but of cuda and cpu only the better: TensorFlow runs on one in a process. */
async function devicesToTest(): Promise<Device[]> {
  offerSoftwareGpu();
  const { devices } = await describeDevices();
  const wanted = process.env.DEVICES?.split(',');
  const present = devices.filter(({ device, available }) => available && (wanted?.includes(device) ?? true)).map(({ device }) => device);
  const tested = present.filter(device => device !== 'cpu' || !present.includes('cuda'));
  const absent = devices.filter(({ device }) => device !== 'webgl' && device !== 'wasm' && !tested.includes(device))
    .map(({ device, available, detail }) => `not on ${device} (${available ? `DEVICES=${device} npm test` : detail})`);
  const { SPEC_PROCESS = '0' } = process.env; // of several, one says so
  if (SPEC_PROCESS === '0') console.log(`Specs run on ${[tested.join(' and '), ...absent].join(', ')}.`);
  return tested;
}

const devices = await devicesToTest();

/**
 * Registers `body` once per device of this machine: everything made of ops must hold on each.
 * @param options `awaits`: whether it waits for values, as with expectValues, so that WebGPU can run it too; `only` this device.
 */
export function describeOnDevices(title: string, body: (device: Device) => void, options: { awaits?: boolean; only?: Device } = {}): void {
  const { awaits = options.only === 'webgpu', only } = options;
  for (const device of devices.filter(device => only ? device === only : awaits || device !== 'webgpu')) {
    describe(`${title} (${device})`, () => {
      before(() => useDevice(device));
      body(device);
    });
  }
}

/** Runs `work`, disposes what it returns, and asserts that no tensor is left. */
export async function expectNoLeak(work: () => tf.TensorContainer | Promise<tf.TensorContainer>): Promise<void> {
  const before = tf.memory().numTensors;
  tf.dispose(await work());
  assert.equal(tf.memory().numTensors, before, 'tensors left behind');
}
