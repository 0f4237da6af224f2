import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';

/** Where tensors live and ops run. `cuda` and `cpu` are the native backend, `wasm` needs nothing but npm. */
export type Device = 'cuda' | 'cpu' | 'wasm';

/** Makes `device` the one that every later op runs on. */
export async function useDevice(device: Device): Promise<void> {
  await tf.setBackend(device === 'wasm' ? 'wasm' : 'tensorflow');
  await tf.ready();
}

/** What can be used on this machine, best first. */
export async function availableDevices(): Promise<Device[]> {
  return ['wasm'];
}
