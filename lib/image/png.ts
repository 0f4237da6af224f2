export const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const COLOUR = 3; // bytes a pixel

/**
 * RGB bytes -> the bytes of a PNG file (https://www.w3.org/TR/png-3), in Node and in a page.
 * @param text what to write beside the pixels, by keyword: `parameters` is where many tools look for how a picture was generated.
 */
export async function encodePng(
  { data, width, height }: { data: Uint8Array; width: number; height: number }, text: Readonly<Record<string, string>> = {},
): Promise<Uint8Array> {
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8); // bits of each of
  header.setUint8(9, 2); // red, green and blue
  return concat([
    Uint8Array.from(SIGNATURE),
    chunk('IHDR', new Uint8Array(header.buffer)),
    ...Object.entries(text).map(([keyword, value]) => textChunk(keyword, value)),
    chunk('IDAT', await deflate(filterRows(data, width * COLOUR))),
    chunk('IEND', new Uint8Array()),
  ]);
}

/** tEXt where Latin-1 can say it, which every reader knows, else iTXt. */
function textChunk(keyword: string, value: string): Uint8Array {
  if (!/^[\x20-\x7e]{1,79}$/.test(keyword)) throw new RangeError(`PNG keyword: got '${keyword}', takes 1 to 79 letters of ASCII`);
  const plain = value.replaceAll('\0', '');
  // eslint-disable-next-line no-control-regex -- the range of Latin-1
  const latin1 = /^[\x00-\xff]*$/.test(plain);
  const bytes = latin1 ? Uint8Array.from(plain, letter => letter.charCodeAt(0)) : new TextEncoder().encode(plain);
  return chunk(latin1 ? 'tEXt' : 'iTXt', concat([ascii(keyword), new Uint8Array(latin1 ? 1 : 5), bytes])); // iTXt: not compressed, no language
}

/** Every row as the differences that are smallest in sum, which deflate packs best; its first byte says from what. */
function filterRows(data: Uint8Array, length: number): Uint8Array {
  const rows = data.length / length;
  const filtered = new Uint8Array(rows * (length + 1));
  const candidate = new Uint8Array(length);
  for (let row = 0; row < rows; row++) {
    const at = row * length;
    const target = filtered.subarray(row * (length + 1), (row + 1) * (length + 1));
    let least = Infinity;
    for (let type = 0; type < 5; type++) {
      let sum = 0;
      for (let i = 0; i < length; i++) {
        const left = i >= COLOUR ? data[at + i - COLOUR] : 0;
        const above = row > 0 ? data[at + i - length] : 0;
        const corner = i >= COLOUR && row > 0 ? data[at + i - COLOUR - length] : 0;
        const guess = type === 0 ? 0 : type === 1 ? left : type === 2 ? above : type === 3 ? (left + above) >> 1 : paeth(left, above, corner);
        candidate[i] = data[at + i] - guess;
        sum += candidate[i] < 128 ? candidate[i] : 256 - candidate[i];
      }
      if (sum >= least) continue;
      least = sum;
      target[0] = type;
      target.set(candidate, 1);
    }
  }
  return filtered;
}

/** Whichever of the three is nearest to left + above - corner. */
export function paeth(left: number, above: number, corner: number): number {
  const toLeft = Math.abs(above - corner);
  const toAbove = Math.abs(left - corner);
  const toCorner = Math.abs(left + above - 2 * corner);
  return toLeft <= toAbove && toLeft <= toCorner ? left : toAbove <= toCorner ? above : corner;
}

async function deflate(bytes: Uint8Array): Promise<Uint8Array> {
  const packed = new Blob([bytes as BlobPart]).stream().pipeThrough(new CompressionStream('deflate'));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

/** Length, type, data and checksum. */
function chunk(type: string, data: Uint8Array): Uint8Array {
  const checked = concat([ascii(type), data]);
  return concat([bigEndian(data.length), checked, bigEndian(crc32(checked))]);
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});

export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = crcTable[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function bigEndian(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, letter => letter.charCodeAt(0));
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
