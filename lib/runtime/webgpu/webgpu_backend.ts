import { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import { BufferPool } from './buffer_pool.js';

/**
 * tfjs's WebGPU backend, but for two things. It gives back buffers that nobody uses, and it looks at errors of the device: an op that does
 * not fit is skipped there, and what was in its buffer before would pass for its result.
 */
export class CheckedWebGpuBackend extends WebGPUBackend {
  private fault?: Error;

  constructor(device: GPUDevice, info: GPUAdapterInfo) {
    super(device, info);
    this.bufferManager = new BufferPool(device) as unknown as WebGPUBackend['bufferManager'];
    device.addEventListener('uncapturederror', event => {
      event.preventDefault(); // it is told when a value is read
      this.fault ??= new Error(event.error.message.split('\n')[0]);
    });
    void device.lost.then(({ reason, message }) => {
      if (reason !== 'destroyed') this.fault ??= new Error(`the GPU was lost: ${message}`);
    });
  }

  /** Values of a tensor. @throws Error for what went wrong on the device since the last read: the values would be of something else. */
  override async read(dataId: object): Promise<Awaited<ReturnType<WebGPUBackend['read']>>> {
    const values = await super.read(dataId).catch(error => { this.fault ??= error as Error; });
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
    this.fault = undefined;
    const data = this.tensorMap.get(dataId);
    if (data.resource) data.values = null as never; // which super keeps for the next read
    throw new Error(`webgpu: ${fault.message}`, { cause: fault });
  }
}
