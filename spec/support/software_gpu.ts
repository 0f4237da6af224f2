import { existsSync, readdirSync } from 'node:fs';

/** A driver for Vulkan in software, as Debian's chromium has one: WebGPU needs some driver. */
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';
const INSTALLED = ['/etc/vulkan/icd.d', '/usr/share/vulkan/icd.d', '/usr/local/share/vulkan/icd.d'];

/** Lets WebGPU find the software driver, where the machine has no other. Before WebGPU is asked for the first time. */
export function offerSoftwareGpu(): void {
  const { VK_DRIVER_FILES: named = process.env.VK_ICD_FILENAMES } = process.env;
  const isInstalled = INSTALLED.some(folder => existsSync(folder) && readdirSync(folder).length > 0);
  if (!named && !isInstalled && existsSync(SWIFTSHADER)) process.env.VK_DRIVER_FILES = SWIFTSHADER;
}
