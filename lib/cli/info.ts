import { packageVersion } from '../core/package.js';
import { describeDevices } from '../runtime/devices.js';
import { describeGpu } from '../runtime/native/cuda/nvidia.js';

/** `tfjs-diffusers info` */
export async function info({ json }: { json?: boolean }): Promise<void> {
  const report = { version: packageVersion(), platform: `${process.platform}-${process.arch}`, ...await describeDevices() };
  if (json) return console.log(JSON.stringify(report));
  const versions = Object.entries(report.versions).map(([name, version]) => `${name} ${version}`).join(', ');
  console.log(`tfjs-diffusers ${report.version} on ${report.platform}, ${versions}\n`);
  for (const { device, available, detail } of report.devices.filter(({ device }) => device !== 'webgl')) { // which is a page's
    console.log(`${device === report.auto ? '->' : '  '} ${device.padEnd(7)}${available ? 'yes' : 'no '}  ${detail}`);
  }
  console.log(`\n--device auto takes ${report.auto}, the first that is there.`);
  for (const gpu of report.gpus ?? []) console.log(`GPU: ${describeGpu(gpu)}`);
  const cuda = Object.entries(report.cudaLibraries ?? {}).map(([name, version]) => `${name} ${version}`).join(', ');
  if (cuda) console.log(`CUDA libraries of the GPU build: ${cuda}`);
  if (report.cacheFolder) console.log(`Native builds are kept in ${report.cacheFolder}`);
}
