import * as tf from '@tensorflow/tfjs';
import { setThreadsCount, setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { findRenderer } from '../../../lib/runtime/webgl_renderer.js';
import { findAdapter } from '../../../lib/runtime/webgpu/adapter.js';
import type { DeviceInfo } from '../protocol.js';

/** A device of this browser. */
export interface FoundDevice extends DeviceInfo {
  /** Whether it only pretends to be a GPU. */
  isSoftware: boolean;
}

/**
 * What this browser can run on, best first: GPUs, WebAssembly, and last what only pretends to be a GPU. Loads no backend.
 * @param wasmFolder where the .wasm files of tfjs are.
 */
export async function findDevices(wasmFolder: string): Promise<FoundDevice[]> {
  setWasmPaths(wasmFolder);
  const adapter = await findAdapter();
  const gpus = [
    ...'missing' in adapter ? [] : [gpu('webgpu', 'WebGPU', adapter)], ...[findRenderer()].flatMap(found => found ? [gpu('webgl', 'WebGL', found)] : []),
  ];
  return [...gpus.filter(({ isSoftware }) => !isSoftware), await wasm(), ...gpus.filter(({ isSoftware }) => isSoftware)];
}

/** Bytes that the current backend occupies, weights included. */
export function memoryInUse(): number {
  const { numBytes, ...more } = tf.memory() as tf.MemoryInfo & { numBytesInGPUAllocated?: number; numBytesAllocatedInGPU?: number };
  const heap = (tf.backend() as unknown as { wasm?: { HEAPU8: Uint8Array } }).wasm?.HEAPU8.byteLength;
  return heap ?? more.numBytesInGPUAllocated ?? more.numBytesAllocatedInGPU ?? numBytes;
}

function gpu(device: 'webgpu' | 'webgl', label: string, { name, isSoftware }: { name: string; isSoftware: boolean }): FoundDevice {
  return { device, label, detail: isSoftware ? 'in software' : name, isSoftware };
}

async function wasm(): Promise<FoundDevice> {
  const { simd, threads } = await wasmAbilities();
  const detail = [simd && 'SIMD', threads === 1 ? 'one thread' : `${threads} threads`].filter(Boolean).join(', ');
  return { device: 'wasm', label: 'WebAssembly', detail, isSoftware: false };
}

/** What WebAssembly has here, threads being those that it uses. */
export async function wasmAbilities(): Promise<{ simd: boolean; threads: number }> {
  return { simd: Boolean(await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT')), threads: await useThreads() };
}

/** How many threads WebAssembly gets. It takes a page that is isolated from others to have several. */
async function useThreads(): Promise<number> {
  if (!await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT')) return 1;
  const threads = Math.min(8, Math.max(1, Math.floor(navigator.hardwareConcurrency / 2))); // more than half of the cores tfjs never takes
  setThreadsCount(threads);
  return threads;
}
