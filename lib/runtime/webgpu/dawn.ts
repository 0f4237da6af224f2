import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { FoundGpus } from './found_gpus.js';

/** By which programs find Linux' drivers for Vulkan. */
const VULKAN = 'libvulkan.so.1';

/** What Linux' Vulkan looks for drivers by, before it looks into folders. */
const DRIVER_VARIABLES = ['VK_DRIVER_FILES', 'VK_ADD_DRIVER_FILES', 'VK_ICD_FILENAMES'];

const NEEDS: Partial<Record<NodeJS.Platform, string>> = {
  linux: 'a GPU driver with Vulkan and libvulkan1; in a container of NVIDIA\'s NVIDIA_DRIVER_CAPABILITIES=all',
  darwin: 'a Mac with Metal', win32: 'a driver with Direct3D 12',
};

let found: Promise<FoundGpus> | undefined;

/**
 * WebGPU in Node: Dawn, from the npm package `webgpu`, over Vulkan, Metal or Direct3D. Its 20 MB are loaded at the first call, and stay.
 * A page has WebGPU by itself: see page_gpus.ts, which stands in this file's place there.
 */
export function findGpus(): Promise<FoundGpus> {
  return found ??= loadDawn();
}

async function loadDawn(): Promise<FoundGpus> {
  const needs = NEEDS[process.platform];
  const missing = (what: string) => ({ missing: needs ? `${what}; it needs ${needs}` : what });
  let dawn;
  try {
    import.meta.resolve('webgpu');
  } catch {
    return { missing: 'the package webgpu is not installed: `npm install webgpu`' };
  }
  if (process.platform === 'linux') { // else Dawn writes warnings to the console, of which nobody asked
    if (!hasVulkanDriver()) return missing('no driver for Vulkan is installed');
    if (!hasLibrary(VULKAN)) return missing(`${VULKAN} is not installed`);
  }
  try {
    dawn = await import('webgpu');
  } catch (error) {
    const [reason] = (error as Error).message.split('\n'); // no build for this platform, or a libc that is too old
    return { missing: `the package webgpu does not load here (${reason})` };
  }
  for (const [name, value] of Object.entries(dawn.globals)) { // tfjs's backend takes them for granted, as in a page
    if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  const gpu = dawn.create([]);
  if (!globalThis.navigator) Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true, writable: true }); // Node 20
  Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true }); // where tfjs looks whether there is one
  return { gpu, none: missing('no GPU found').missing };
}

/** Whether a library can be opened by its name. Node opens it to look for an addon in it, and closes it again. */
function hasLibrary(name: string): boolean {
  try {
    process.dlopen({ exports: {} }, name);
    return true;
  } catch (error) {
    return !(error as Error).message.startsWith(`${name}:`); // as in 'libvulkan.so.1: cannot open shared object file'
  }
}

/** Whether Vulkan can have a driver. */
function hasVulkanDriver(): boolean {
  if (DRIVER_VARIABLES.some(name => process.env[name])) return true;
  const { XDG_CONFIG_HOME, XDG_CONFIG_DIRS = '/etc/xdg', XDG_DATA_HOME, XDG_DATA_DIRS = '/usr/local/share:/usr/share' } = process.env;
  const roots = [
    XDG_CONFIG_HOME || join(homedir(), '.config'), ...XDG_CONFIG_DIRS.split(delimiter), '/usr/local/etc', '/etc',
    XDG_DATA_HOME || join(homedir(), '.local', 'share'), ...XDG_DATA_DIRS.split(delimiter),
  ];
  return roots.map(root => join(root, 'vulkan', 'icd.d'))
    .some(folder => existsSync(folder) && readdirSync(folder).some(file => file.endsWith('.json')));
}
