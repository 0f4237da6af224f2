import { findGpus } from './dawn.js';
import { isSoftwareName } from './software_gpu.js';

/** What kernels may want, and is asked for where the adapter has it. */
const FEATURES = ['shader-f16', 'subgroups', 'timestamp-query'];

/** What an adapter may have more of than WebGPU promises: bindings of 128 MiB, buffers of 256, 8 buffers and 16 KiB of shared memory. */
export const LIMITS = [
  'maxBufferSize', 'maxStorageBufferBindingSize', 'maxStorageBuffersPerShaderStage', 'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup', 'maxComputeWorkgroupSizeX', 'maxComputeWorkgroupSizeY', 'maxComputeWorkgroupsPerDimension',
] as const;

/** A GPU that WebGPU can use. */
export interface FoundAdapter {
  readonly adapter: GPUAdapter;
  readonly name: string;
  /** Whether it is a processor that does a GPU's work, slower than WebAssembly. */
  readonly isSoftware: boolean;
}

/** The fastest that there is, as it says itself; or why there is none. An adapter makes one device. */
export async function findAdapter(): Promise<FoundAdapter | { readonly missing: string }> {
  const found = await findGpus();
  if ('missing' in found) return found;
  const adapter = await found.gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) return { missing: found.none };
  const { description, vendor, architecture, isFallbackAdapter } = adapter.info;
  const name = description || [vendor, architecture].filter(Boolean).join(' ') || 'a GPU';
  return { adapter, name, isSoftware: isFallbackAdapter || isSoftwareName(`${name} ${architecture}`) };
}

/** A device with all that the adapter has of what kernels may want. */
export function requestDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  return adapter.requestDevice({
    requiredFeatures: FEATURES.filter(feature => adapter.features.has(feature)) as GPUFeatureName[],
    requiredLimits: Object.fromEntries(LIMITS.map(limit => [limit, adapter.limits[limit]])),
  });
}

/** What `info` says of an adapter: limits in MiB, features. */
export function describeAdapter({ adapter, name }: FoundAdapter): string {
  const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const mib = (bytes: number) => Math.floor(bytes / 2 ** 20);
  const features = FEATURES.filter(feature => adapter.features.has(feature));
  const has = features.length > 0 ? `, ${features.join(', ')}` : '';
  return `${name}: buffers of ${mib(maxBufferSize)} MiB, bindings of ${mib(maxStorageBufferBindingSize)} MiB${has}`;
}
