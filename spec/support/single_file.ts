import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { byteSize, writeSafetensors } from '../../lib/weights/safetensors.js';

type Shapes = Record<string, number[]>;

/** Shapes of small checkpoints, and digests of what diffusers makes of their values, by the part and the key. */
export const singleFileGolden: Record<'sd1' | 'sd2' | 'xl' | 'refiner', { shapes: Shapes; saved: Record<string, Record<string, string>> }> =
  JSON.parse(gunzipSync(readFileSync('spec/golden/checkpoints/single_file.json.gz')).toString());

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
