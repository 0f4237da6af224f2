import * as tf from '@tensorflow/tfjs';

/** What ran on the device, and what crossed between it and JavaScript. */
export interface Traffic {
  kernels: number;
  /** Tensors made of JavaScript's numbers, scalars among them. Those of int32 are not counted: as arguments of ops they stay with the host. */
  uploads: number;
  /** Values read back: each waits until the device is done. */
  reads: number;
}

type Method = (...inputs: never[]) => unknown;

/** Counts during `work`, which may look at the counts so far. */
export async function countTraffic(work: (traffic: Traffic) => unknown): Promise<Traffic> {
  const traffic: Traffic = { kernels: 0, uploads: 0, reads: 0 };
  const undo: Array<() => void> = [];
  const watch = (target: object, name: string, onCall: (...inputs: never[]) => void) => {
    const methods = target as Record<string, Method>;
    const own = Object.getOwnPropertyDescriptor(target, name);
    const original = methods[name];
    methods[name] = (...inputs) => {
      onCall(...inputs);
      return original.apply(target, inputs);
    };
    undo.push(() => {
      if (own) Object.defineProperty(target, name, own);
      else Reflect.deleteProperty(target, name);
    });
  };
  const countRead = () => { traffic.reads++; };
  watch(tf.engine(), 'runKernel', () => { traffic.kernels++; });
  watch(tf.engine(), 'makeTensor', (_values, _shape, dtype: string | undefined) => { if (dtype !== 'int32') traffic.uploads++; });
  if (tf.getBackend() === 'wasm') { // whose kernels read what is in their memory as they please
    watch(tf.engine(), 'read', countRead);
    watch(tf.engine(), 'readSync', countRead);
  } else {
    watch(tf.backend(), 'readSync', countRead);
  }
  try {
    await work(traffic);
    return traffic;
  } finally {
    undo.forEach(restore => restore());
  }
}
