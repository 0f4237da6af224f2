import { findOrientation } from './orientation.js';
import { concat, makeChunk, type Chunk } from './png_chunks.js';

const HEADER_END = 8 + 25; // the signature, and the header with what is around it
const MAX_BYTES = 1e6;

/**
 * A PNG file with texts, by keyword: `parameters` is where many tools look for how a picture was generated.
 * @throws RangeError for a keyword that is none.
 */
export function addTexts(png: Uint8Array, texts: Readonly<Record<string, string>>): Uint8Array {
  const chunks = Object.entries(texts).map(([keyword, text]) => textChunk(keyword, text.replaceAll('\0', '')));
  return concat([png.subarray(0, HEADER_END), ...chunks, png.subarray(HEADER_END)]);
}

/** tEXt where Latin-1 can say it, which every reader knows, else iTXt, not compressed and of no language. */
function textChunk(keyword: string, text: string): Uint8Array {
  if (!/^[\x20-\x7e]{1,79}$/.test(keyword)) throw new RangeError(`PNG keyword: got '${keyword}', takes 1 to 79 letters of ASCII`);
  // eslint-disable-next-line no-control-regex -- the range of Latin-1
  if (!/^[\x00-\xff]*$/.test(text)) return makeChunk('iTXt', new TextEncoder().encode(`${keyword}\0\0\0\0\0${text}`));
  return makeChunk('tEXt', Uint8Array.from(`${keyword}\0${text}`, letter => letter.charCodeAt(0)));
}

const [XMP, EXIF] = ['XML:com.adobe.xmp', 'Raw profile type exif'];

/** What a PNG file says of how it is to be turned, in a chunk of EXIF or as older tools wrote it, and its texts without that. */
export async function readOrientation(chunks: readonly Chunk[]): Promise<{ orientation: number; text: Record<string, string> }> {
  const { [XMP]: xmp, [EXIF]: profile, ...text } = readTexts(chunks);
  const exif = chunks.find(({ type }) => type === 'eXIf')?.data ?? fromHex(profile ?? await unpackText(chunks, EXIF) ?? '');
  const orientation = findOrientation({ exif, xmp });
  if (xmp === undefined) return { orientation, text };
  const upright = xmp.replace(/tiff:Orientation="[0-9]"|<tiff:Orientation>[0-9]<\/tiff:Orientation>/g, '');
  return { orientation, text: { ...text, [XMP]: upright } };
}

/** A compressed text, if it is there and up to a million bytes long. */
async function unpackText(chunks: readonly Chunk[], keyword: string): Promise<string | undefined> {
  const packed = chunks.find(({ type, data }) => type === 'zTXt' && latin1(data.subarray(0, keyword.length + 2)) === `${keyword}\0\0`);
  if (!packed) return undefined;
  try {
    const file = new Blob([packed.data.subarray(keyword.length + 2) as BlobPart]);
    let text = '';
    for await (const bytes of file.stream().pipeThrough(new DecompressionStream('deflate'))) {
      text += latin1(bytes);
      if (text.length > MAX_BYTES) return undefined;
    }
    return text;
  } catch {
    return undefined;
  }
}

/** The bytes behind the three lines that say what and how long they are. */
function fromHex(profile: string): Uint8Array {
  const digits = profile.split('\n').slice(3).join('');
  return Uint8Array.from({ length: Math.floor(digits.length / 2) }, (_, i) => parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}

/** tEXt and iTXt, up to a million bytes in all. What is compressed, broken or beyond is left out: the picture does not depend on it. */
export function readTexts(chunks: readonly Chunk[]): Record<string, string> {
  let room = MAX_BYTES;
  return Object.fromEntries(chunks.filter(({ type }) => type === 'tEXt' || type === 'iTXt').flatMap(({ type, data }) => {
    const end = data.indexOf(0);
    if (end < 1 || data.length > room) return [];
    room -= data.length;
    const rest = data.subarray(end + 1);
    const text = type === 'tEXt' ? latin1(rest) : international(rest);
    return text === undefined ? [] : [[latin1(data.subarray(0, end)), text]];
  }));
}

/**
 * What follows an iTXt's keyword: whether it is compressed and how, then language and translated keyword, each ended by 0, then the text.
 */
function international(data: Uint8Array): string | undefined {
  const language = data.indexOf(0, 2);
  const translated = data.indexOf(0, language + 1);
  if (data[0] !== 0 || language < 0 || translated < 0) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data.subarray(translated + 1));
  } catch {
    return undefined;
  }
}

function latin1(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192)); // arguments are limited
  return text;
}
