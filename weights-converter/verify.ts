import type { ModelFolder } from '../lib/files/model_folder.js';
import { closeWeightFiles, openWeightFiles } from '../lib/loading/weight_files.js';
import type { FoundWeight } from '../lib/weights/found_weight.js';
import { matchWeights, WeightsError } from '../lib/weights/load_weights.js';
import { encodeWeight, type Encoding } from './encode.js';

/** A network of the source: its place, and where its weights are. */
export interface Network {
  readonly subfolder: string;
  readonly className: string;
  readonly weights: FoundWeight[];
}

/**
 * Reads a converted network back and compares every name, shape and byte with the source.
 * @throws WeightsError naming the first weight that differs.
 */
export async function verifyNetwork(
  folder: ModelFolder, { subfolder, className, weights }: Network,
  { encoding, advance }: { encoding: Encoding; advance: (bytes: number) => void },
): Promise<void> {
  const files = await openWeightFiles(folder, { subfolder });
  try {
    const written = await matchWeights(className, new Map(weights.map(({ path, spec }) => [path, spec])), files);
    const byPath = new Map(written.map(weight => [weight.path, weight]));
    for (const weight of weights) {
      const { file: { name, source }, info, quantized } = byPath.get(weight.path)!;
      const parts = [info, ...quantized ? [quantized.scales, ...quantized.minimums ? [quantized.minimums] : []] : []];
      const { tensors, groupSize } = encodeWeight(weight, encoding);
      let same = groupSize === quantized?.groupSize && tensors.length === parts.length;
      for (const [i, { dtype, bytes }] of tensors.entries()) {
        same &&= dtype === parts[i].dtype && Buffer.compare(await source.read(parts[i].offset, parts[i].byteLength), await bytes()) === 0;
      }
      if (!same) throw new WeightsError(`${name}: ${weight.path} is not what was written; the disk or its memory may be faulty`);
      advance(weight.info.byteLength);
    }
  } finally {
    await closeWeightFiles(files);
  }
}
