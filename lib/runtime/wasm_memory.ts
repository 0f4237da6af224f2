import * as tf from '@tensorflow/tfjs';

interface WasmModule {
  _malloc(bytes: number): number;
  _free(address: number): void;
}

const guarded = new WeakSet<WasmModule>();

/** Makes tfjs's wasm backend throw when its memory is at an end, where it would take the address 0 for an answer and write there. */
export function guardWasmMemory(): void {
  const { wasm } = tf.backend() as unknown as { wasm: WasmModule };
  if (guarded.has(wasm)) return;
  guarded.add(wasm);
  wasm._free(wasm._malloc(1)); // the first call puts the real function in its own place
  const malloc = wasm._malloc;
  wasm._malloc = bytes => {
    const address = bytes < 2 ** 32 ? malloc(bytes) : 0; // which takes a size modulo 2^32
    if (address === 0 && bytes > 0) throw new RangeError(`out of memory: no ${bytes} bytes are left of the 4 GiB that WebAssembly has`);
    return address;
  };
}
