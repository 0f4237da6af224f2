import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { availableDevices, useDevice, type Device } from '../../lib/runtime/devices.js';

const devices = await availableDevices();

/** Registers `body` once per device of this machine: everything made of ops must hold on each. */
export function describeOnDevices(title: string, body: (device: Device) => void): void {
  for (const device of devices) {
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
