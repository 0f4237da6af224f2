import type { ByteSource } from '../files/byte_source.js';
import { readCheckpoint, safetensorsView } from './checkpoint.js';

/**
 * A pickled file of weights (`.bin`) as if it were a safetensors file; nothing in it is executed.
 * @param name what errors call the file.
 * @throws PickleError if it is broken, or asks for more than weights.
 */
export async function openPickle(name: string, open: () => Promise<ByteSource>): Promise<ByteSource> {
  const { tensors, metadata } = await readCheckpoint(name, open);
  return safetensorsView(tensors, await open(), metadata);
}
