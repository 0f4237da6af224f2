import * as tf from '@tensorflow/tfjs';
import { setThreadsCount, setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import type { DeviceInfo } from '../protocol.js';

/** As much of WebGPU as is asked here. */
interface Gpu {
  requestAdapter(): Promise<{ info?: { vendor?: string; architecture?: string; description?: string; isFallbackAdapter?: boolean } } | null>;
}

const SOFTWARE = 'in software';

/**
 * What this browser can run on, best first: GPUs, WebAssembly, and last what only pretends to be a GPU.
 * @param wasmFolder where the .wasm files of tfjs are.
 */
export async function findDevices(wasmFolder: string): Promise<DeviceInfo[]> {
  setWasmPaths(wasmFolder);
  const gpus = [await webgpu(), webgl()].filter(device => device !== undefined);
  const isSoftware = ({ detail }: DeviceInfo) => detail === SOFTWARE;
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
  return { device: 'webgpu', label: 'WebGPU', detail: isFallbackAdapter ? SOFTWARE : chipName(name) };
}

function webgl(): DeviceInfo | undefined {
  const gl = typeof OffscreenCanvas === 'undefined' ? null : new OffscreenCanvas(1, 1).getContext('webgl2');
  if (!gl) return undefined;
  const known = gl.getExtension('WEBGL_debug_renderer_info');
  const renderer = String(gl.getParameter(known ? known.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension('WEBGL_lose_context')?.loseContext(); // browsers allow few at a time
  return { device: 'webgl', label: 'WebGL', detail: chipName(renderer) };
}

/** 'ANGLE (Vendor, Chip (0x1234) Driver, Version)' -> 'Chip' */
function chipName(renderer: string): string {
  if (/swiftshader|llvmpipe|software|basic render/i.test(renderer)) return SOFTWARE;
  const chip = /^ANGLE \([^,]*, (.*?)(?: \(0x|,|\)$)/.exec(renderer)?.[1] ?? renderer;
  return chip.replace(/^.*Renderer: | Direct3D.*| OpenGL.*/g, '');
}

async function wasm(): Promise<DeviceInfo> {
  const simd = await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT');
  const threads = await useThreads();
  return { device: 'wasm', label: 'WebAssembly', detail: [simd && 'SIMD', threads === 1 ? 'one thread' : `${threads} threads`].filter(Boolean).join(', ') };
}

/** How many threads WebAssembly gets. It takes a page that is isolated from others to have several. */
async function useThreads(): Promise<number> {
  if (!await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT')) return 1;
  const threads = Math.min(8, Math.max(1, Math.floor(navigator.hardwareConcurrency / 2))); // more than half of the cores tfjs never takes
  setThreadsCount(threads);
  return threads;
}
