import * as tf from '@tensorflow/tfjs';
import type { TensorInfo } from '@tensorflow/tfjs';
import { provideAbilities } from '../../lib/runtime/webgpu/abilities.js';
import { requestDevice } from '../../lib/runtime/webgpu/adapter.js';
import { CheckedWebGpuBackend } from '../../lib/runtime/webgpu/webgpu_backend.js';
import { tap } from './tap.js';

/** Dawn's null device has 256 MiB in all: a buffer larger than this is a stand-in of this size, which only says that it is larger. */
const STAND_IN = 2 ** 16;

/** What a device may give and bind, in bytes. */
export interface GpuLimits {
  readonly maxBufferSize: number;
  readonly maxStorageBufferBindingSize: number;
  /** Of all buffers together. */
  readonly memory?: number;
}

type Copy = (source: GPUBuffer, from: number, target: GPUBuffer, to: number, size: number) => undefined;

/** What was asked of a device. */
export class GpuCounts {
  dispatches = 0;
  submits = 0;
  /** Compiled while the thread waits, and on others. */
  pipelines = 0;
  pipelinesAhead = 0;
  copies = 0;
  /** That the host wrote besides sizes and numbers of kernels: tensors. */
  uploadedBytes = 0;
  /** Sizes and numbers of kernels. */
  uniformBytes = 0;
  /** Of all storage that kernels were bound to. */
  touchedBytes = 0;
  buffersMade = 0;
  bytesMade = 0;
  /** Of all buffers that were there, at their most. */
  peakBytes = 0;
  /** How often each kernel ran, and what it touched. */
  readonly kernels = new Map<string, { dispatches: number; bytes: number }>();
}

/** A GPU without values: Dawn's null backend, which checks all that it is asked for and computes nothing. */
export class CountedGpu {
  counts = new GpuCounts();
  /** What was over the limits, and what Dawn refused, if it did. */
  readonly refused: string[] = [];
  private bytes = 0;

  constructor(readonly limits: GpuLimits, readonly backend: () => CheckedWebGpuBackend) {}

  /** Counts of what `work` asks. */
  async count(work: () => unknown): Promise<GpuCounts> {
    this.counts = new GpuCounts();
    this.counts.peakBytes = this.bytes;
    await work();
    return this.counts;
  }

  /** When all that was asked for is done. */
  async done(): Promise<void> {
    await this.backend().device.queue.onSubmittedWorkDone();
  }

  get bytesNow(): number {
    return this.bytes;
  }

  /** The device, as tfjs is to see it. */
  watch(device: GPUDevice): GPUDevice {
    const { limits } = this;
    device.addEventListener('uncapturederror', ({ error }) => this.refused.push(error.message));
    const queue = tap(device.queue, {
      submit: buffers => { this.counts.submits++; device.queue.submit(buffers); },
      writeBuffer: (buffer, offset, data, ...rest) => {
        if (buffer.usage & GPUBufferUsage.UNIFORM) this.counts.uniformBytes += data.byteLength;
        else this.counts.uploadedBytes += data.byteLength;
        device.queue.writeBuffer(buffer, offset, data, ...rest);
      },
    });
    return tap(device, {
      limits: tap(device.limits, limits as Partial<GPUSupportedLimits>), queue,
      createBuffer: descriptor => this.createBuffer(device, descriptor),
      createBindGroup: descriptor => device.createBindGroup({ ...descriptor, entries: this.bind([...descriptor.entries]) }),
      createComputePipeline: descriptor => { this.counts.pipelines++; return device.createComputePipeline(descriptor); },
      createComputePipelineAsync: descriptor => { this.counts.pipelinesAhead++; return device.createComputePipelineAsync(descriptor); },
      createCommandEncoder: descriptor => this.watchEncoder(device.createCommandEncoder(descriptor)),
    });
  }

  /** A kernel that runs, with what it is bound to. */
  noteKernel(name: string, touched: number): void {
    const noted = this.counts.kernels.get(name) ?? { dispatches: 0, bytes: 0 };
    this.counts.kernels.set(name, { dispatches: noted.dispatches + 1, bytes: noted.bytes + touched });
  }

  private createBuffer(device: GPUDevice, descriptor: GPUBufferDescriptor): GPUBuffer {
    const { size, usage, mappedAtCreation = false } = descriptor;
    const { limits: { maxBufferSize, memory = Infinity }, counts } = this;
    if (size > maxBufferSize) return device.createBuffer(descriptor); // which Dawn refuses: the null device can have no more than any
    if (this.bytes + size > memory) return takeAll(device, descriptor);
    counts.buffersMade++;
    counts.bytesMade += size;
    if (mappedAtCreation) counts.uploadedBytes += size;
    const isMapped = mappedAtCreation || (usage & (GPUBufferUsage.MAP_READ | GPUBufferUsage.MAP_WRITE)) !== 0;
    const buffer = device.createBuffer(isMapped || size <= STAND_IN ? descriptor : { ...descriptor, size: STAND_IN });
    this.bytes += size;
    counts.peakBytes = Math.max(counts.peakBytes, this.bytes);
    const destroy = buffer.destroy.bind(buffer);
    Object.defineProperties(buffer, {
      size: { value: size },
      destroy: { value: () => { this.bytes -= size; destroy(); } },
    });
    return buffer;
  }

  private bind(entries: GPUBindGroupEntry[]): GPUBindGroupEntry[] {
    return entries.map(({ binding, resource }) => {
      const { buffer, offset = 0, size = buffer.size - offset } = resource as GPUBufferBinding;
      if (!(buffer.usage & GPUBufferUsage.STORAGE)) return { binding, resource };
      this.counts.touchedBytes += size;
      if (size > this.limits.maxStorageBufferBindingSize) this.refused.push(`a binding of ${size} bytes`);
      if (offset + size > buffer.size || offset % 256 !== 0) this.refused.push(`a binding from ${offset} to ${offset + size} of ${buffer.size}`);
      return { binding, resource: { buffer } };
    });
  }

  private watchEncoder(encoder: GPUCommandEncoder): GPUCommandEncoder {
    return tap(encoder, {
      beginComputePass: descriptor => {
        const pass = encoder.beginComputePass(descriptor);
        return tap(pass, { dispatchWorkgroups: (...sizes) => { this.counts.dispatches++; pass.dispatchWorkgroups(...sizes); } });
      },
      copyBufferToBuffer: ((source, from, target, to, size) => { // as tfjs calls it
        this.counts.copies++;
        encoder.copyBufferToBuffer(source, from, target, to, Math.min(size, STAND_IN));
      }) as Copy as GPUCommandEncoder['copyBufferToBuffer'],
    });
  }
}

/** tfjs's backend on such a device: kernels by their names. */
class CountedBackend extends CheckedWebGpuBackend {
  constructor(private readonly gpu: CountedGpu, device: GPUDevice, info: GPUAdapterInfo) {
    super(gpu.watch(device), info);
  }

  override runWebGPUProgram(...run: Parameters<CheckedWebGpuBackend['runWebGPUProgram']>): TensorInfo {
    const [program] = run;
    const name = program.shaderKey.startsWith('network ') ? program.shaderKey : program.constructor.name;
    const { dispatches, touchedBytes } = this.gpu.counts;
    const result = super.runWebGPUProgram(...run);
    if (this.gpu.counts.dispatches > dispatches) this.gpu.noteKernel(name, this.gpu.counts.touchedBytes - touchedBytes);
    return result;
  }
}

/** A buffer for which there is no memory left. */
function takeAll(device: GPUDevice, { usage }: GPUBufferDescriptor): GPUBuffer {
  const buffers = [1, 2, 3].map(() => device.createBuffer({ size: 2 ** 28, usage }));
  buffers.slice(0, 2).forEach(buffer => buffer.destroy());
  return buffers[2];
}

/** Dawn with no driver; it stays, as its devices do not outlive it. */
let nullGpus: GPU | undefined;

/** Makes such a device the current one, until `tf.removeBackend('webgpu')`. */
export async function useCountedGpu(limits: GpuLimits): Promise<CountedGpu> {
  const { create, globals } = await import('webgpu');
  for (const [name, value] of Object.entries(globals)) {
    if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  const gpus = nullGpus ??= create(['backend=null']);
  if (!globalThis.navigator) Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true, writable: true }); // Node 20
  if (!navigator.gpu) Object.defineProperty(navigator, 'gpu', { value: gpus, configurable: true });
  const adapter = (await gpus.requestAdapter())!;
  await import('@tensorflow/tfjs-backend-webgpu');
  if (tf.findBackendFactory('webgpu') !== null) tf.removeBackend('webgpu');
  provideAbilities(() => gpu.backend());
  const gpu: CountedGpu = new CountedGpu(limits, () => tf.backend() as CheckedWebGpuBackend);
  const device = await requestDevice(adapter);
  tf.registerBackend('webgpu', () => new CountedBackend(gpu, device, adapter.info));
  await tf.setBackend('webgpu');
  return gpu;
}
