import yauzl from 'yauzl';
import { show } from '../core/checks.js';
import type { ByteSource } from '../files/byte_source.js';
import { byteSize, elementSizes } from '../weights/safetensors.js';
import type { CheckpointContent, CheckpointTensor } from './checkpoint_tensor.js';
import { beginsAsTorchFile, isZip } from './file_kinds.js';
import { ParameterDict, PickleError, StorageRef, TensorRef } from './pickle_objects.js';
import { unpickle } from './unpickle.js';

const maxPickleLength = 32_000_000;
const maxZipEntries = 100_000;
const IP_ADAPTER_PARTS = ['image_proj', 'ip_adapter'];
const legacyMagic = 119547037146038801333356n;

/**
 * Finds the tensors of a file that torch.save wrote (`.ckpt`, `.bin`, `.pt`), the zip of today or the format before torch 1.6.
 * Nothing in it is executed, and what is not a tensor is left out.
 * @throws PickleError if it is another file, broken, or asks for more than weights.
 */
export async function readTorchFile(source: ByteSource): Promise<CheckpointContent> {
  const start = await source.read(0, Math.min(4, source.size));
  if (!beginsAsTorchFile(start)) throw new PickleError('is neither a safetensors file nor one of torch.save');
  return isZip(start) ? readZip(source) : readLegacy(source);
}

async function readZip(source: ByteSource): Promise<CheckpointContent> {
  const entries = await zipEntries(source);
  const pickles = [...entries.keys()].filter(name => name.endsWith('/data.pkl'));
  if (pickles.length !== 1) throw new PickleError('is a zip, but not of torch.save: it has no data.pkl');
  const folder = pickles[0].slice(0, -'data.pkl'.length);
  const byteorder = entries.get(`${folder}byteorder`);
  if (byteorder && byteorder.length < 16 && new TextDecoder().decode(await source.read(byteorder.offset, byteorder.length)) !== 'little') {
    throw new PickleError('holds big-endian numbers, which cannot be read');
  }
  const { offset, length } = entries.get(pickles[0])!;
  if (length > maxPickleLength) throw new PickleError(`its data.pkl has ${length} bytes, takes up to ${maxPickleLength}`);
  const { value } = unpickle(await source.read(offset, length));
  return collect(value, source.size, ({ key, dtype, elements }) => {
    const entry = entries.get(`${folder}data/${key}`);
    const size = elements * elementSizes[dtype];
    if (!entry || entry.length < size) throw new PickleError(`its storage ${show(key)} is ${entry ? 'too short' : 'missing'}`);
    return entry.offset;
  });
}

/** Where each entry's bytes lie. torch never compresses, so whatever unfolds to more than its size in the file is refused. */
async function zipEntries(source: ByteSource): Promise<Map<string, { offset: number; length: number }>> {
  const reader = new SourceReader(source);
  const entries = new Map<string, { offset: number; length: number }>();
  try {
    const options = { autoClose: false, lazyEntries: true, validateEntrySizes: true };
    const zip = await yauzl.fromRandomAccessReaderPromise(reader, source.size, options);
    for await (const entry of zip.eachEntry()) {
      const { fileName, compressionMethod, uncompressedSize } = entry;
      if (compressionMethod !== 0 || entry.isEncrypted()) throw new Error(`its entry ${show(fileName)} is compressed or encrypted`);
      if (entries.has(fileName)) throw new Error(`its entry ${show(fileName)} comes twice`);
      if (entries.size >= maxZipEntries) throw new Error(`has over ${maxZipEntries} entries`);
      const { fileDataStart } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
      if (fileDataStart + uncompressedSize > source.size) throw new Error(`is cut off in its entry ${show(fileName)}`);
      entries.set(fileName, { offset: fileDataStart, length: uncompressedSize });
    }
    return entries;
  } catch (error) {
    throw new PickleError(`cannot be read as a zip: ${(error as Error).message}`, { cause: error });
  }
}

/** The file for yauzl, which reads piece by piece. */
class SourceReader extends yauzl.RandomAccessReader {
  constructor(private readonly source: ByteSource) {
    super();
  }

  override read(buffer: Buffer, offset: number, length: number, position: number, callback: (error: Error | null) => void): void {
    this.source.read(position, length).then(bytes => buffer.set(bytes, offset)).then(() => callback(null), callback);
  }
}

/** Pickles one behind the other (magic number, version, system, object, storage keys), then each storage with its length. */
async function readLegacy(source: ByteSource): Promise<CheckpointContent> {
  const head = await source.read(0, Math.min(source.size, maxPickleLength));
  const magic = unpickle(head);
  if (magic.value !== legacyMagic) throw new PickleError('is no file of torch.save');
  const version = unpickle(head, magic.end);
  const system = unpickle(head, version.end);
  const object = unpickle(head, system.end);
  const keys = unpickle(head, object.end);
  if (system.value instanceof Map && system.value.get('little_endian') === false) {
    throw new PickleError('holds big-endian numbers, which cannot be read');
  }
  if (!Array.isArray(keys.value)) throw new PickleError('is cut off: the list of its storages is missing');
  const sizes = new Map(object.storages.map(({ key, dtype }) => [key, elementSizes[dtype]]));
  let end = keys.end;
  const offsets = new Map<string, { offset: number; bytes: number }>();
  for (const key of keys.value) {
    const size = sizes.get(key as string);
    if (size === undefined) throw new PickleError(`its storage ${show(key)} belongs to no tensor, so that its length is unknown`);
    if (end + 8 > source.size) throw new PickleError(`is cut off before its storage ${show(key)}`);
    const count = await source.read(end, 8);
    const elements = Number(new DataView(count.buffer, count.byteOffset).getBigInt64(0, true));
    if (!Number.isSafeInteger(elements * size) || elements < 0 || end + 8 + elements * size > source.size) {
      throw new PickleError(`is cut off in its storage ${show(key)}`);
    }
    offsets.set(key as string, { offset: end + 8, bytes: elements * size });
    end += 8 + elements * size;
  }
  return collect(object.value, source.size, ({ key, dtype, elements }) => {
    const found = offsets.get(key);
    if (!found || found.bytes !== elements * elementSizes[dtype]) {
      throw new PickleError(`its storage ${show(key)} is ${found ? 'of another length' : 'missing'}`);
    }
    return found.offset;
  });
}

/** @throws PickleError for tensors that together unfold to more than the file holds: tied weights share storages, but few of them. */
function collect(value: unknown, fileSize: number, storageOffset: (storage: StorageRef) => number): CheckpointContent {
  const tensors = new Map<string, CheckpointTensor>();
  let size = 0;
  for (const [name, ref] of tensorRefs(value)) {
    const tensor = checkpointTensor(ref, storageOffset(ref.storage));
    tensors.set(name, tensor);
    size += byteSize(tensor);
  }
  if (size > 2 * fileSize) throw new PickleError(`its tensors share their values: ${size} bytes of them in a file of ${fileSize}`);
  const [globalStep, name] = ['global_step', 'name'].map(key => value instanceof Map ? value.get(key) as unknown : undefined);
  return {
    tensors, metadata: typeof name === 'string' ? { name } : {}, globalStep: typeof globalStep === 'number' ? globalStep : undefined,
  };
}

/**
 * The tensors of a state dict, or of the one under the key `state_dict`, as diffusers looks for it, or `string_to_param`, as learned words
 * have; a tensor alone is called `*`, as there. Those of an IP-Adapter's two dictionaries are called as in its safetensors files.
 */
function tensorRefs(value: unknown): Map<string, TensorRef> {
  const dictionary = (each: unknown) => each instanceof ParameterDict ? each.parameters : each;
  value = dictionary(value);
  for (let depth = 0; depth < 8 && value instanceof Map; depth++) {
    value = dictionary(value.get('state_dict') ?? value.get('string_to_param') ?? value);
  }
  if (value instanceof TensorRef) return new Map([['*', value]]);
  if (!(value instanceof Map)) throw new PickleError('holds no dictionary of tensors');
  const tensors = new Map<string, TensorRef>();
  const collect = (prefix: string, dictionary: Map<unknown, unknown>) => {
    for (const [name, ref] of dictionary) if (typeof name === 'string' && ref instanceof TensorRef) tensors.set(prefix + name, ref);
  };
  collect('', value);
  for (const part of IP_ADAPTER_PARTS) {
    const nested = dictionary(value.get(part));
    if (nested instanceof Map) collect(`${part}.`, nested);
  }
  return tensors;
}

function checkpointTensor({ storage, offset, shape, strides }: TensorRef, storageOffset: number): CheckpointTensor {
  const { dtype } = storage;
  const size = elementSizes[dtype];
  const count = shape.reduce((product, length) => product * length, 1);
  const last = count === 0 ? offset - 1 : shape.reduce((sum, length, axis) => sum + (length - 1) * strides[axis], offset);
  const begin = storageOffset + offset * size;
  const read = (source: ByteSource) => source.read(begin, (last + 1 - offset) * size);
  if (isContiguous(shape, strides)) return { dtype, shape, offset: begin, read };
  return { dtype, shape, read: async source => gather(await read(source), size, shape, strides) };
}

function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return shape.includes(0);
    expected *= shape[axis];
  }
  return true;
}

/** The elements of a strided view one behind the other, as of a tensor that was transposed. */
function gather(bytes: Uint8Array, size: number, shape: readonly number[], strides: readonly number[]): Uint8Array {
  const out = new Uint8Array(shape.reduce((product, length) => product * length, size));
  let at = 0;
  const copy = (axis: number, from: number): void => {
    if (axis === shape.length) {
      for (let i = 0; i < size; i++) out[at++] = bytes[from * size + i];
    } else {
      for (let i = 0; i < shape[axis]; i++) copy(axis + 1, from + i * strides[axis]);
    }
  };
  copy(0, 0);
  return out;
}
