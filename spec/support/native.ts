import * as tf from '@tensorflow/tfjs';
import { availableDevices, type Device } from '../../lib/runtime/devices.js';
import type { Binding } from '../../lib/runtime/native/binding.js';
import type { NativeBackend } from '../../lib/runtime/native/native_backend.js';

/** The native device of this machine that specs run on, if there is one. */
export async function findNative(): Promise<Device | undefined> {
  return (await availableDevices()).find(device => device === 'cuda' || device === 'cpu');
}

/** How many graphs TensorFlow holds more after `work` than before. */
export async function graphsLeft(work: () => Promise<unknown>): Promise<number> {
  const { context } = tf.backend() as NativeBackend;
  const { binding } = context;
  let graphs = 0;
  const counting = (by: number, method: 'addFunction' | 'removeFunction') => ({
    value: (...inputs: unknown[]) => {
      graphs += by;
      return (binding[method] as (...inputs: unknown[]) => unknown)(...inputs);
    },
  });
  context.binding = Object.create(binding, { addFunction: counting(1, 'addFunction'), removeFunction: counting(-1, 'removeFunction') }) as Binding;
  try {
    await work();
    return graphs;
  } finally {
    context.binding = binding;
  }
}
