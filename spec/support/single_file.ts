import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { ByteSource } from '../../lib/files/byte_source.js';
import { byteSize, readSafetensorsHeader, writeSafetensors } from '../../lib/weights/safetensors.js';

type Shapes = Record<string, number[]>;

/** What is distilled from SDXL into fewer blocks, of which the golden has the UNets alone. */
export const DISTILLED = ['ssd', 'vega', 'midless', 'lopsided'] as const;

/** What sees a picture behind the latents, of which the golden has the UNet and the VAE. */
export const SEEING = ['edit', 'upscale'] as const;

type Golden =
  /** Shapes of small checkpoints, and digests of what diffusers makes of their values, by the part and the key. */
  & Record<'sd1' | 'sd2' | 'xl' | 'refiner', { shapes: Shapes; saved: Record<string, Record<string, string>> }>
  /** The config that diffusers is told, and the digest of all the digests. */
  & Record<typeof DISTILLED[number], { shapes: Shapes; digest: string; unet: Record<string, unknown> }>
  /** The same, of both parts, and the pipeline that it is for. */
  & Record<typeof SEEING[number], { shapes: Shapes; digest: string; unet: Record<string, unknown>; class: string }>;

export const singleFileGolden: Golden = JSON.parse(gunzipSync(readFileSync('spec/golden/checkpoints/single_file.json.gz')).toString());

const besides = Object.entries(singleFileGolden.xl.shapes).filter(([key]) => !key.startsWith('model.diffusion_model.'));
for (const name of DISTILLED) Object.assign(singleFileGolden[name].shapes, Object.fromEntries(besides)); // behind the UNet: values go by the place

/** The file that diffusers read for the golden; see spec/golden/parts/single_file.py for the values. */
export async function singleFile(shapes: Shapes, without = /^$/): Promise<Uint8Array> {
  const tensors = Object.entries(shapes).map(([name, shape], number) => ({
    name, dtype: 'F16' as const, shape, bytes: () => {
      const bits = new Uint16Array(byteSize({ dtype: 'U8', shape }));
      return new Uint8Array(bits.map((_, j) => 0x2000 + (131 * number + 7 * j) % 0x1800).buffer);
    },
  }));
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeSafetensors(tensors.filter(({ name }) => !without.test(name)), { format: 'pt' })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export const shortHash = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex').slice(0, 16);

/** Of each tensor of a file of weights, which is closed then. */
export async function digestsOf(source: ByteSource): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const [key, info] of (await readSafetensorsHeader(source)).tensors) {
    if (!key.endsWith('position_ids')) found[key] = shortHash(await source.read(info.offset, info.byteLength));
  }
  await source.close();
  return found;
}
