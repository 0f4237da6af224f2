import * as tf from '@tensorflow/tfjs';
import { setThreadsCount, setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import type { DeviceInfo } from '../protocol.js';

/** As much of WebGPU as is asked here. */
interface Gpu {
  requestAdapter(): Promise<{ info?: { vendor?: string; architecture?: string; description?: string; isFallbackAdapter?: boolean } } | null>;
}

const SOFTWARE = /swiftshader|llvmpipe|software|basic render/i;

/**
 * What this browser can run on, best first: GPUs, WebAssembly, and last what only pretends to be a GPU.
 * @param wasmFolder where the .wasm files of tfjs are.
 */
export async function findDevices(wasmFolder: string): Promise<DeviceInfo[]> {
  setWasmPaths(wasmFolder);
  const gpus = [await webgpu(), webgl()].filter(device => device !== undefined);
  const isSoftware = ({ detail }: DeviceInfo) => SOFTWARE.test(detail);
  return [...gpus.filter(gpu => !isSoftware(gpu)), await wasm(), ...gpus.filter(isSoftware)];
}

/** Bytes that the current backend occupies, weights included. */
export function memoryInUse(): number {
  const { numBytes, ...more } = tf.memory() as tf.MemoryInfo & { numBytesInGPUAllocated?: number; numBytesAllocatedInGPU?: number };
  const heap = (tf.backend() as unknown as { wasm?: { HEAPU8: Uint8Array } }).wasm?.HEAPU8.byteLength;
  return heap ?? more.numBytesInGPUAllocated ?? more.numBytesAllocatedInGPU ?? numBytes;
}

async function webgpu(): Promise<DeviceInfo | undefined> {
  const adapter = await (navigator as { gpu?: Gpu }).gpu?.requestAdapter().catch(() => null);
  if (!adapter) return undefined;
  await import('@tensorflow/tfjs-backend-webgpu'); // registers itself
  const { description, vendor, architecture, isFallbackAdapter } = adapter.info ?? {};
  const name = description || [vendor, architecture].filter(Boolean).join(' ') || 'GPU';
  return { device: 'webgpu', label: 'WebGPU', detail: isFallbackAdapter && !SOFTWARE.test(name) ? `${name}, software` : name };
}

function webgl(): DeviceInfo | undefined {
  const gl = typeof OffscreenCanvas === 'undefined' ? null : new OffscreenCanvas(1, 1).getContext('webgl2');
  if (!gl) return undefined;
  const known = gl.getExtension('WEBGL_debug_renderer_info');
  const renderer = String(gl.getParameter(known ? known.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension('WEBGL_lose_context')?.loseContext(); // browsers allow few at a time
  return { device: 'webgl', label: 'WebGL', detail: shortName(renderer) };
}

/** 'ANGLE (Vendor, Chip (0x1234), Driver)' -> 'Chip' */
function shortName(renderer: string): string {
  return (/^ANGLE \([^,]*, (.*?)(?: \(0x|,|\)$)/.exec(renderer)?.[1] ?? renderer).replace(/ Direct3D.*| OpenGL.*/, '');
}

async function wasm(): Promise<DeviceInfo> {
  const simd = await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT');
  const threads = await useThreads();
  return { device: 'wasm', label: 'WebAssembly', detail: [simd && 'SIMD', threads === 1 ? 'one thread' : `${threads} threads`].filter(Boolean).join(', ') };
}

/** How many threads WebAssembly gets. It takes a page that is isolated from others to have several. */
async function useThreads(): Promise<number> {
  const cores = navigator.hardwareConcurrency ?? 1;
  if (cores === 1 || !await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT')) return 1;
  const threads = Math.min(8, Math.max(2, Math.floor(cores / 2))); // two cores of many are often one
  Object.defineProperty(navigator, 'hardwareConcurrency', { value: 2 * threads }); // half of this is all that tfjs ever takes
  setThreadsCount(threads);
  return threads;
}
