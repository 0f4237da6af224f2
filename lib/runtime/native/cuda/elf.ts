import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const HEADER = 64; // bytes
const SEGMENT = 56;

/** What is wrong with a library or program, by its headers; null if nothing is. Loading one that is cut short would end the process. */
export function binaryTrouble(path: string): string | null {
  const file = openSync(path, 'r');
  try {
    const header = Buffer.alloc(HEADER);
    readSync(file, header, 0, HEADER, 0);
    if (header.toString('latin1', 0, 5) !== '\x7fELF\x02') return 'is no library';
    if (header.readUInt16LE(18) !== 62) return 'is not for x86_64';
    const [start, size, count] = [Number(header.readBigUInt64LE(32)), header.readUInt16LE(54), header.readUInt16LE(56)];
    if (size !== SEGMENT) return 'is no library';
    const segments = Buffer.alloc(size * count);
    if (readSync(file, segments, 0, segments.length, start) < segments.length) return 'is cut short';
    const ends = Array.from({ length: count }, (_, i) => segments.readBigUInt64LE(i * size + 8) + segments.readBigUInt64LE(i * size + 32));
    return ends.some(end => end > fstatSync(file).size) ? 'is cut short' : null;
  } finally {
    closeSync(file);
  }
}
