import * as tf from '@tensorflow/tfjs';
import { WebGPUBackend, type WebGPUProgram } from '@tensorflow/tfjs-backend-webgpu';
import { BufferPool } from './buffer_pool.js';

/** tfjs's flag, while which kernels are compiled and not run. */
const COMPILE_ONLY = 'WEBGPU_ENGINE_COMPILE_ONLY';

/** What tfjs keeps to itself: of commands that were not submitted yet, and compiled kernels. */
interface Kept {
  readonly commandQueueOwnedIds: WeakSet<object>;
  readonly pipelineCache: Record<string, GPUComputePipeline | Promise<GPUComputePipeline>>;
  readonly commandEncoder: GPUCommandEncoder | null;
}

type RunArguments = Parameters<WebGPUBackend['runWebGPUProgram']> extends [unknown, ...infer Rest] ? Rest : never;

/** What WGSL has only where the GPU has it, as `enable` names it. */
export type ShaderFeature = 'f16' | 'subgroups';

/** A program whose code uses such features. */
export interface EnabledProgram extends WebGPUProgram {
  readonly features?: readonly ShaderFeature[];
}

/**
 * tfjs's WebGPU backend, but for three things. Code may say what it enables. Buffers that nobody uses are given back. And errors of the
 * device are looked at: an op that does not fit is skipped there, and what was in its buffer before would pass for its result.
 */
export class CheckedWebGpuBackend extends WebGPUBackend {
  private readonly pool: BufferPool;
  private fault?: Error;

  constructor(device: GPUDevice, info: GPUAdapterInfo) {
    super(device, info);
    this.pool = new BufferPool(device);
    this.bufferManager = this.pool as unknown as WebGPUBackend['bufferManager'];
    device.addEventListener('uncapturederror', event => {
      event.preventDefault(); // it is told when a value is read
      const isOutOfMemory = event.error instanceof GPUOutOfMemoryError;
      if (isOutOfMemory) this.pool.mostFree = 0; // from now on
      this.fault ??= new Error(`${isOutOfMemory ? 'out of memory: ' : ''}${event.error.message.split('\n')[0]}`);
    });
    void device.lost.then(({ reason, message }) => {
      if (reason !== 'destroyed') this.fault ??= new Error(`the GPU was lost: ${message}`);
    });
  }

  /**
   * Runs a program, which says what it enables. WGSL wants that before all else, where tfjs puts code of its own; the code is whole only
   * when tfjs hands it to the device. So it gets a device that puts what is enabled in front of it.
   */
  override runWebGPUProgram(program: EnabledProgram, ...rest: RunArguments): ReturnType<WebGPUBackend['runWebGPUProgram']> {
    const { features = [] } = program;
    if (features.length === 0) return super.runWebGPUProgram(program, ...rest);
    const { device } = this;
    this.device = enablingDevice(device, features.map(feature => `enable ${feature};\n`).join(''));
    try {
      return super.runWebGPUProgram(program, ...rest);
    } finally {
      this.device = device;
    }
  }

  /**
   * The buffer is free at once, though commands that use it wait to be submitted: those that come after them see it after them. tfjs would
   * hold it until then, and with it all that some layers made on the way.
   */
  override disposeData(dataId: object, force = false): boolean {
    (this as unknown as Kept).commandQueueOwnedIds.delete(dataId);
    return super.disposeData(dataId, force);
  }

  override submitQueue(): void {
    super.submitQueue();
    this.pool.keep(this.pool.mostFree);
  }

  /** Compiles the kernels that `work` runs, on other threads: see kernelCompilers. What runs meanwhile is compiled at once, as ever. */
  async compileAhead(work: () => void): Promise<void> {
    const { pipelineCache } = this as unknown as Kept;
    tf.env().set(COMPILE_ONLY, true);
    try {
      work();
    } finally {
      tf.env().set(COMPILE_ONLY, false);
    }
    await Promise.all(Object.entries(pipelineCache).map(async ([key, compiling]) => {
      if (!(compiling instanceof Promise)) return;
      delete pipelineCache[key];
      const pipeline = await compiling.catch(() => undefined); // what is wrong with it is said when it runs
      if (pipeline) pipelineCache[key] ??= pipeline;
    }));
  }

  /** Gives back all buffers that are free. */
  giveBack(): void {
    this.submitAll();
    this.pool.keep(0);
  }

  private submitAll(): void {
    this.endComputePassEncoder();
    if ((this as unknown as Kept).commandEncoder) this.submitQueue();
  }

  /** Values of a tensor. @throws Error for what went wrong on the device since the last read: the values would be of something else. */
  override async read(dataId: object): Promise<Awaited<ReturnType<WebGPUBackend['read']>>> {
    const values = await super.read(dataId).catch(error => { this.fault ??= error as Error; });
    if (this.fault) {
      this.submitAll(); // what goes wrong with what is left is of this work, not of the next
      await this.queue.onSubmittedWorkDone();
    }
    this.check(dataId);
    return values!;
  }

  /** @throws Error in Node, and for what went wrong as `read` does, as far as the device has said it by then. */
  override readSync(dataId: object): ReturnType<WebGPUBackend['readSync']> {
    if (this.tensorMap.get(dataId).values == null && typeof OffscreenCanvas === 'undefined') {
      throw new Error('webgpu: Node cannot wait for values of the GPU: `await tensor.data()` instead of tensor.dataSync()');
    }
    const values = super.readSync(dataId);
    this.check(dataId);
    return values;
  }

  /** @throws Error for what went wrong, once: what comes next may fit. */
  private check(dataId: object): void {
    const { fault } = this;
    if (!fault) return;
    this.submitAll();
    this.fault = undefined;
    const data = this.tensorMap.get(dataId);
    if (data.resource) data.values = null as never; // which super keeps for the next read
    throw new Error(`webgpu: ${fault.message}`, { cause: fault });
  }
}

/** A device that puts what is enabled before all code that it is given. */
function enablingDevice(device: GPUDevice, enables: string): GPUDevice {
  return new Proxy(device, {
    get(target, name) {
      if (name === 'createShaderModule') {
        return ({ code, ...rest }: GPUShaderModuleDescriptor) => target.createShaderModule({ ...rest, code: enables + code });
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) as unknown : value;
    },
  });
}
