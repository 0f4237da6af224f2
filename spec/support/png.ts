import { crc32, deflateSync } from 'node:zlib';

/** A chunk of a PNG file, its checksum right. */
export function pngChunk(type: string, data: Uint8Array): Buffer {
  const checked = Buffer.concat([Buffer.from(type), data]);
  const numbers = Buffer.alloc(8);
  numbers.writeUInt32BE(data.length, 0);
  numbers.writeUInt32BE(crc32(checked), 4);
  return Buffer.concat([numbers.subarray(0, 4), checked, numbers.subarray(4)]);
}

/** A PNG file of these chunks, whatever they hold, between signature and end. */
export function pngFile(...chunks: Buffer[]): Buffer {
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ...chunks, pngChunk('IEND', Buffer.alloc(0))]);
}

/** The pixels' chunk, of rows as they are before packing. */
export function idat(rows: Uint8Array): Buffer {
  return pngChunk('IDAT', deflateSync(rows));
}
