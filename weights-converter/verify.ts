import type { ModelFolder } from '../lib/files/model_folder.js';
import { closeWeightFiles, openWeightFiles } from '../lib/loading/weight_files.js';
import { matchWeights, WeightsError } from '../lib/weights/load_weights.js';
import type { Dtype } from '../lib/weights/safetensors.js';
import { readWeight, type FoundWeight } from '../lib/weights/weight_reader.js';
import { convertDtype } from './dtypes.js';

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
  folder: ModelFolder, { subfolder, className, weights }: Network, { dtype, advance }: { dtype?: Dtype; advance: (bytes: number) => void },
): Promise<void> {
  const files = await openWeightFiles(folder, { subfolder });
  try {
    const written = await matchWeights(className, new Map(weights.map(({ path, spec }) => [path, spec])), files);
    const byPath = new Map(written.map(weight => [weight.path, weight]));
    for (const weight of weights) {
      const other = byPath.get(weight.path)!;
      const expected = convertDtype(weight.path, await readWeight(weight), weight.info.dtype, dtype ?? weight.info.dtype);
      if (Buffer.compare(await readWeight(other), expected) !== 0) {
        throw new WeightsError(`${other.file.name}: ${weight.path} is not what was written; the disk or its memory may be faulty`);
      }
      advance(weight.info.byteLength);
    }
  } finally {
    await closeWeightFiles(files);
  }
}
