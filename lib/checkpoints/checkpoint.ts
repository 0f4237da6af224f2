import { errorOf } from '../core/checks.js';
import type { ByteSource } from '../files/byte_source.js';
import { minimumsOf, QUANTIZED, scalesOf, storedShape } from '../weights/quantized_weights.js';
import { beginsAsSafetensors, byteSize, readSafetensorsHeader } from '../weights/safetensors.js';
import type { CheckpointContent, CheckpointTensor } from './checkpoint_tensor.js';
import { beginsAsTorchFile } from './file_kinds.js';
import { beginsAsGguf, readGguf } from './gguf.js';
import { unscaled } from './scaled_floats.js';
import { readTorchFile } from './torch_file.js';

export type { CheckpointTensor } from './checkpoint_tensor.js';

/** A file of tensors, of whatever format. */
export interface Checkpoint extends CheckpointContent {
  /** What errors call the file. */
  readonly name: string;
  /** Opens the file, for the tensors to be read from. */
  open(): Promise<ByteSource>;
}

/**
 * Finds the tensors of a safetensors file, a GGUF file or a torch checkpoint, told apart by what they begin with; where that is none's, by
 * the name's ending.
 */
export async function readCheckpoint(name: string, open: () => Promise<ByteSource>): Promise<Checkpoint> {
  const source = await open();
  try {
    const start = await source.read(0, Math.min(9, source.size));
    // Safetensors first: the length that they begin with can be the first bytes of a pickle or a zip, but behind it these have no {.
    const isGguf = beginsAsGguf(start) || (/\.gguf$/i.test(name) && !beginsAsTorchFile(start) && !beginsAsSafetensors(start));
    if (isGguf) return { name, open, ...await readGguf(source) };
    const isSafetensors = beginsAsSafetensors(start) || (!beginsAsTorchFile(start) && /\.safetensors$/i.test(name));
    return { name, open, ...(isSafetensors ? await readSafetensorsFile(source) : await readTorchFile(source)) };
  } catch (error) {
    throw errorOf(name, error as Error);
  } finally {
    await source.close();
  }
}

async function readSafetensorsFile(source: ByteSource): Promise<CheckpointContent> {
  const { tensors, metadata } = await readSafetensorsHeader(source);
  const entries = [...tensors].map(([name, { dtype, shape, offset, byteLength }]): [string, CheckpointTensor] =>
    [name, { dtype, shape, offset, read: from => from.read(offset, byteLength) }]);
  return { tensors: unscaled(new Map(entries)), metadata };
}

/** The tensors of a checkpoint under other names, as if they were a safetensors file of their own, read as needed. */
export function safetensorsView(
  tensors: ReadonlyMap<string, CheckpointTensor>, source: ByteSource, metadata: Readonly<Record<string, string>> = {},
): ByteSource {
  const header: Record<string, unknown> = Object.create(null);
  const ranges: Array<{ begin: number; end: number; place?: number; read: () => Promise<Uint8Array> | Uint8Array }> = [];
  let end = 0;
  const add = (name: string, tensor: CheckpointTensor, shape = tensor.shape) => {
    const begin = end;
    end += byteSize({ dtype: tensor.dtype, shape });
    header[name] = { dtype: tensor.dtype, shape, data_offsets: [begin, end] };
    ranges.push({ begin, end, place: tensor.offset, read: () => tensor.read(source) });
  };
  const groupSizes: Record<string, number> = Object.create(null);
  header.__metadata__ = { format: 'pt', ...metadata };
  for (const [name, tensor] of tensors) {
    const { dtype, shape, quantized } = tensor;
    if (!quantized) {
      add(name, tensor);
      continue;
    }
    groupSizes[name] = quantized.groupSize;
    add(name, tensor, storedShape(dtype, shape, 'torch'));
    add(scalesOf(name), quantized.scales);
    if (quantized.minimums) add(minimumsOf(name), quantized.minimums);
  }
  if (Object.keys(groupSizes).length > 0) Object.assign(header.__metadata__ as object, { [QUANTIZED]: JSON.stringify(groupSizes) });
  const json = new TextEncoder().encode(JSON.stringify(header));
  const head = new Uint8Array(8 + json.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(json.length), true);
  head.set(json, 8);
  const parts = [{ begin: 0, end: head.length, place: undefined, read: () => head },
    ...ranges.map(range => ({ ...range, begin: range.begin + head.length, end: range.end + head.length }))];
  return {
    size: head.length + end,
    locate: (offset, length) => {
      const part = parts.find(({ begin, end }) => begin <= offset && offset + length <= end);
      return part?.place === undefined ? undefined : source.locate?.(part.place + offset - part.begin, length);
    },
    read: async (offset, length) => {
      const touched = parts.filter(part => part.begin < offset + length && part.end > offset);
      if (touched.length === 1) return (await touched[0].read()).subarray(offset - touched[0].begin, offset - touched[0].begin + length);
      const bytes = new Uint8Array(length);
      for (const part of touched) {
        const from = Math.max(offset, part.begin);
        bytes.set((await part.read()).subarray(from - part.begin, offset + length - part.begin), from - offset);
      }
      return bytes;
    },
    close: () => source.close(),
  };
}
