import { crc32 } from 'node:zlib';

/** Opcodes as text, with \x escapes; numbers as bytes. */
export function pickle(...parts: Array<string | number>): Buffer {
  return Buffer.concat(parts.map(part => typeof part === 'number' ? Buffer.from([part]) : Buffer.from(part, 'latin1')));
}

/** The opcode of a short text. */
export const pickledText = (value: string): string => `X${int32(value.length)}${value}`;

/** The opcodes of torch._utils._rebuild_tensor_v2 of a storage of floats. */
export function pickledTensor(offset: number, shape: number[], strides: number[], elements = 12): string {
  const tuple = (sizes: number[]) => `(${sizes.map(size => `J${int32(size)}`).join('')}t`;
  return `ctorch._utils\n_rebuild_tensor_v2\n((${pickledText('storage')}ctorch\nFloatStorage\n${pickledText('0')}${pickledText('cpu')}J${int32(elements)}tQ` +
    `J${int32(offset)}${tuple(shape)}${tuple(strides)}\x89ccollections\nOrderedDict\n)RtR`;
}

function int32(value: number): string {
  return String.fromCharCode(value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255);
}

/** An entry of a zip. Entries of the same content share its place; `method` and `size` may lie. */
export interface ZipEntry {
  content: Uint8Array;
  method?: number;
  size?: number;
}

/** A zip file as torch.save writes it: nothing compressed, whatever `method` says. */
export function zip(entries: Record<string, ZipEntry>): Buffer {
  const places = new Map<Uint8Array, number>();
  const [files, directory]: [Buffer[], Buffer[]] = [[], []];
  const length = (buffers: Buffer[]) => buffers.reduce((sum, { length }) => sum + length, 0);
  for (const [name, { content, method = 0, size = content.length }] of Object.entries(entries)) {
    const fields = Buffer.alloc(26); // version, flags, method, time, date, checksum, sizes, lengths
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(method, 4);
    fields.writeUInt32LE(crc32(content), 10);
    fields.writeUInt32LE(method ? content.length : size, 14);
    fields.writeUInt32LE(size, 18);
    fields.writeUInt16LE(name.length, 22);
    const at = places.get(content) ?? length(files);
    if (!places.has(content)) files.push(Buffer.from('PK\x03\x04'), fields, Buffer.from(name), Buffer.from(content));
    places.set(content, at);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(at, 10);
    directory.push(Buffer.from('PK\x01\x02\x14\0'), fields, rest, Buffer.from(name));
  }
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(Object.keys(entries).length, 8);
  end.writeUInt16LE(Object.keys(entries).length, 10);
  end.writeUInt32LE(length(directory), 12);
  end.writeUInt32LE(length(files), 16);
  return Buffer.concat([...files, ...directory, end]);
}
