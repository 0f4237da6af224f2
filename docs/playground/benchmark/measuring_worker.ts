import { tf, useDevice, type Device, type Image } from '../../../lib/index.js';
import { findAdapter, LIMITS } from '../../../lib/runtime/webgpu/adapter.js';
import type { BundledFolder } from '../protocol.js';
import { bundledFolder, site } from '../worker/bundled.js';
import { findDevices, wasmAbilities } from '../worker/devices.js';
import { measure, type Effort } from './measure.js';
import { sizesOf } from './parts.js';
import type { Abilities, Figure, Part } from './report.js';

/** Set by the bundler. */
declare const BUNDLED_MODEL: BundledFolder;
declare const WASM_FOLDER: string;

/** What the page asks for: one thing in a worker's life. */
export type Request =
  | { type: 'describe' }
  | { type: 'measure'; device: Device; parts: readonly Part[]; quick: boolean; /** Whether as large a UNet as Stable Diffusion's may be tried. */ full: boolean };

/** What comes of it. `done` is the last. */
export type Reply =
  | { type: 'abilities'; abilities: Abilities }
  | { type: 'progress'; part: Part; text: string }
  | { type: 'figure'; figure: Figure }
  | { type: 'picture'; png: Uint8Array<ArrayBuffer> }
  | { type: 'failed'; part: Part; message: string }
  | { type: 'done' };

const BUDGET = 12_000; // milliseconds for a part's runs, beside which it has a trial of them
const ORDINARY: Effort = { budget: BUDGET, runs: 5 };
const QUICK: Effort = { budget: BUDGET, runs: 2, smallest: true };
const wasmFolder = new URL(WASM_FOLDER, site).href;

self.onmessage = async ({ data: request }: MessageEvent<Request>) => {
  if (request.type === 'describe') reply({ type: 'abilities', abilities: await describe() });
  else await measureAll(request);
  reply({ type: 'done' });
};

async function describe(): Promise<Abilities> {
  const devices = await findDevices(wasmFolder);
  return {
    devices: devices.map(({ device, label, detail, isSoftware }) => ({ device, label, detail, isSoftware })),
    wasm: await wasmAbilities(), webgpu: await describeGpu(), tfjs: tf.version.tfjs,
  };
}

async function describeGpu(): Promise<Abilities['webgpu']> {
  const found = await findAdapter();
  if ('missing' in found) return found;
  const { adapter: { info, features, limits }, name, isSoftware } = found;
  const { vendor, architecture, device, description } = info;
  return {
    name, vendor, architecture, device, description, isSoftware,
    features: [...features].sort(), limits: Object.fromEntries(LIMITS.map(limit => [limit, limits[limit]])),
  };
}

/** What fails leaves the other parts as they are. */
async function measureAll({ device, parts, quick, full }: Extract<Request, { type: 'measure' }>): Promise<void> {
  await findDevices(wasmFolder); // which lets WebAssembly have its threads
  const openModel = async () => {
    const folder = bundledFolder(BUNDLED_MODEL);
    await folder.prefetch(BUNDLED_MODEL.files.map(([path]) => path));
    return folder;
  };
  const show = async (image: Image) => {
    const png = await image.toPng() as Uint8Array<ArrayBuffer>;
    reply({ type: 'picture', png }, [png.buffer]);
  };
  for (const part of parts) {
    try {
      reply({ type: 'progress', part, text: 'starting' });
      await useDevice(device);
      const sizes = sizesOf(part, { device, takesFull: full, openModel, show });
      const measured = await measure(sizes, quick ? QUICK : ORDINARY, text => reply({ type: 'progress', part, text }));
      reply({ type: 'figure', figure: { part, device, ...measured } });
    } catch (error) {
      reply({ type: 'failed', part, message: (error as Error).message });
    }
  }
}

function reply(message: Reply, transfer: Transferable[] = []): void {
  self.postMessage(message, { transfer });
}
