import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';
import { setDefaultBackend } from '../core/backend.js';
import { checkOneOf, show } from '../core/checks.js';
import { warnOfSecondTfjs } from '../core/one_tfjs.js';
import type { Gpu } from './native/cuda/nvidia.js';
import { startWasm } from './start_wasm.js';
import { guardWasmMemory } from './wasm_memory.js';
import { findRenderer } from './webgl_renderer.js';
import { gpuStatus } from './webgpu/software_gpu.js';

/**
 * Where tensors live and ops run: `cuda` and `cpu` are the native backend (Node), `wasm` needs nothing but npm, `webgl` comes with a page,
 * `webgpu` too, or with the npm package `webgpu` in Node.
 */
export type Device = 'cuda' | 'cpu' | 'wasm' | 'webgpu' | 'webgl';

/** How to use a device. */
export interface DeviceOptions {
  /**
   * `cuda`: the most of the GPU's memory that this process may take for tensors, above 0 and at most 1; no limit by default. Either way
   * memory is taken as it is needed. Holds from the first use of `cuda` on, for all of the process.
   * As torch.cuda.set_per_process_memory_fraction.
   */
  memoryFraction?: number;
  /**
   * `cuda`: whether products and convolutions of float32 may round their inputs to 10 bits (TF32), which newer GPUs are faster with.
   * Default: false. As torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32 together. Networks that are compiled
   * already keep what they have.
   */
  allowTf32?: boolean;
}

/** Whether a device can be used, and why. */
export interface DeviceStatus {
  /** Its name. */
  readonly device: Device;
  /** Whether it can be used. */
  readonly available: boolean;
  /** The hardware, or what is missing and how to get it. */
  readonly detail: string;
  /** Whether `auto` leaves it out, though it works. */
  readonly onlyByName?: boolean;
}

/** What `describeDevices` gives. */
export interface DeviceReport {
  /** Best first. */
  readonly devices: readonly DeviceStatus[];
  /** The device that 'auto' takes. */
  readonly auto: Device;
  /** Versions of the libraries that compute, by name. */
  readonly versions: Readonly<Record<string, string>>;
  /** In Node: how many threads native ops use. */
  readonly threads?: number;
  /** In Node: where native builds are kept. */
  readonly cacheFolder?: string;
  /** In Node: the machine's NVIDIA GPUs, by nvidia-smi. */
  readonly gpus?: readonly Gpu[];
  /** In Node: versions of the CUDA libraries of the GPU build, by name; empty where there is none. */
  readonly cudaLibraries?: Readonly<Record<string, string>>;
}

/** A device that cannot be used, and why. */
export class DeviceError extends Error {
  constructor(readonly device: Device, detail: string, options?: ErrorOptions) {
    super(`${device}: ${detail}`, options);
  }
}

/** Best first, each with its tfjs backend. */
const BACKENDS: Record<Device, string> = { cuda: 'tensorflow', webgpu: 'webgpu', webgl: 'webgl', cpu: 'tensorflow', wasm: 'wasm' };
const DEVICES = Object.keys(BACKENDS) as Device[];
let current: Device | null = null;

const inNode = () => tf.env().getBool('IS_NODE');
const importNative = () => import('./native/native.js'); // only ever in Node: a page cannot load it
const importWebGpu = () => import('./webgpu/load.js');

/**
 * Makes `device` the one that every later op runs on. Tensors made on another one move when they are first used. `auto` takes the best that
 * works, and says on the console if that is not the best present.
 * @throws RangeError for a name that is no device, or an invalid `memoryFraction`.
 * @throws DeviceError naming what is missing and how to get it.
 */
export async function useDevice(device: Device | 'auto', options: DeviceOptions = {}): Promise<Device> {
  const { memoryFraction, allowTf32 } = options;
  checkOneOf('device', device, ['auto', ...DEVICES]);
  if (memoryFraction !== undefined && !(memoryFraction > 0 && memoryFraction <= 1)) {
    throw new RangeError(`memoryFraction: got ${show(memoryFraction)}, takes a number above 0, 1 at most`);
  }
  if (memoryFraction !== undefined && device !== 'auto' && device !== 'cuda') {
    throw new RangeError(`memoryFraction: got ${memoryFraction} for ${device}, which has no such limit; takes it for cuda and auto`);
  }
  if (allowTf32 !== undefined && device !== 'auto' && device !== 'cuda') {
    throw new RangeError(`allowTf32: got ${allowTf32} for ${device}, which has no TF32; takes it for cuda and auto`);
  }
  if (device !== 'auto') {
    const { available, detail } = await statusOf(device);
    if (!available) throw new DeviceError(device, detail);
    await start(device, options);
    return device;
  }
  for (const candidate of DEVICES) {
    if (!isForAuto(await statusOf(candidate))) continue;
    try {
      await start(candidate, options);
      return candidate;
    } catch (error) {
      console.warn((error as Error).message);
    }
  }
  throw new DeviceError('wasm', 'no device works here');
}

/** As `useDevice` of one that was used before, at once: for work that goes on after others had their turn. */
export function resumeDevice(device: Device): void {
  if (tf.getBackend() === BACKENDS[device]) return;
  void tf.setBackend(BACKENDS[device]); // which runs already: it is the current one before the promise is there
  current = device;
}

setDefaultBackend(() => useDevice('auto'));
warnOfSecondTfjs(); // where the other came first; where it comes later, a device's start says so

/** The device that `useDevice` made current; null before it was called. */
export function currentDevice(): Device | null {
  return current;
}

async function start(device: Device, options: DeviceOptions = {}): Promise<void> {
  warnOfSecondTfjs();
  try {
    if (device === 'cuda' || device === 'cpu') await (await importNative()).loadNative(device, options);
    if (device === 'webgpu') await (await importWebGpu()).loadWebGpu();
    if (device === 'wasm') await startWasm();
    else if (!await tf.setBackend(BACKENDS[device])) throw new Error('tfjs could not start it');
    if (device === 'wasm') guardWasmMemory();
    current = device;
  } catch (error) {
    throw new DeviceError(device, (error as Error).message, { cause: error });
  }
}

/** What `auto` can take on this machine, best first. */
export async function availableDevices(): Promise<Device[]> {
  return (await deviceStatuses()).filter(isForAuto).map(status => status.device);
}

/** What this machine has, what 'auto' takes, and what the other devices lack. Loads no backend. */
export async function describeDevices(): Promise<DeviceReport> {
  const devices = await deviceStatuses();
  const auto = devices.find(isForAuto)!.device;
  const { versions, ...machine } = inNode() ? await (await importNative()).machine() : { versions: {} };
  return { devices, auto, versions: { tfjs: tf.version.tfjs, ...versions }, ...machine };
}

function isForAuto({ available, onlyByName }: DeviceStatus): boolean {
  return available && !onlyByName;
}

function deviceStatuses(): Promise<DeviceStatus[]> {
  return Promise.all(DEVICES.map(statusOf));
}

/** What is known of a device, and asks no other: to look for a GPU takes time, which those who want none need not spend. */
async function statusOf(device: Device): Promise<DeviceStatus> {
  switch (device) {
    case 'cuda':
    case 'cpu':
      return { device, ...inNode() ? (await (await importNative()).nativeStatuses())[device] : { available: false, detail: 'needs Node' } };
    case 'webgpu':
      return { device, ...await (await importWebGpu()).webgpuStatus() };
    case 'webgl': {
      if (tf.findBackendFactory(BACKENDS[device]) === null) return { device, available: false, detail: 'needs a browser' };
      const found = findRenderer();
      return { device, ...found ? gpuStatus(found, found.name) : { available: false, detail: 'this browser has no WebGL 2' } };
    }
    case 'wasm': {
      const simd = await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT');
      const threads = await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT'); // in a page that is isolated from others
      const detail = `WebAssembly${simd ? ' with SIMD' : ''}, ${threads ? 'several threads' : 'one thread'}`;
      return { device, available: tf.findBackendFactory(BACKENDS[device]) !== null, detail };
    }
  }
}
