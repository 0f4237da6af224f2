import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { deflateSync } from 'node:zlib';
import { join } from 'node:path';
import sharp from 'sharp';
import { Image } from '../../lib/image/image.js';
import { loadGolden } from '../support/golden.js';
import { pngChunk } from '../support/png.js';
import { temporaryFolder } from '../support/temporary_folder.js';

const { tensors, meta } = loadGolden('pictures/photos');
const file = (name: string) => Uint8Array.from(tensors[`${name}/file`].data);

describe('Image.fromBytes equals load_image of diffusers', () => {
  for (const name of meta.names as string[]) {
    it(name, async () => {
      const { data, width, height } = await Image.fromBytes(file(name));
      const { shape, data: expected } = tensors[`${name}/rgb`];
      assert.deepEqual([height, width, 3], [...shape]);
      assert.deepEqual(data, Uint8Array.from(expected));
    });
  }
});

describe('Image.fromBytes', () => {
  it('keeps how opaque pixels are, turned as they are', async () => {
    const [clear, held] = await Promise.all(['TIFF RGBA', 'PNG held 8, a long'].map(name => Image.fromBytes(file(name))));
    assert.deepEqual([...clear.alpha!.subarray(0, 4)], [0, 12, 24, 36]);
    assert.deepEqual([held.width, held.height], [17, 21]);
    assert.equal(held.alpha![0], 20 * 12);
    assert.equal((await Image.fromBytes(file('JPEG 75'))).alpha, undefined);
  });

  it('takes the nearest pixels of palettes, as Pillow', async () => {
    for (const name of ['GIF', 'BMP P', 'BMP 1', 'TIFF P', 'TIFF fax']) {
      const image = await Image.fromBytes(file(name));
      const colours = ({ data }: Image) => new Set(Array.from({ length: data.length / 3 }, (_, i) => data.subarray(3 * i, 3 * i + 3).join()));
      const known = colours(image);
      for (const colour of colours(image.resize(40, 9))) assert.ok(known.has(colour), `${name}: ${colour} is new`);
    }
    const grey = await Image.fromBytes(file('BMP L'));
    assert.notDeepEqual(grey.resize(40, 9).data, (await Image.fromBytes(file('BMP P'))).resize(40, 9).data);
  });

  it('of a PNG that was turned is not turned again when it is saved', async () => {
    for (const name of ['PNG held 6', 'PNG held as its profile says', 'PNG held as its XMP says', 'PNG held as its XMP element says']) {
      const turned = await Image.fromBytes(file(name));
      assert.deepEqual(await Image.fromBytes(await turned.toPng()), turned, name);
    }
  });

  it('leaves a packed profile that is a bomb, or no profile', async () => {
    const whole = Buffer.from(await (await Image.fromBytes(file('JPEG 75'))).toPng());
    for (const text of [Buffer.alloc(5_000_000, 'a'), Buffer.from('\nexif\n'), Buffer.from('\nexif\n  4\nzzzz')]) {
      const packed = pngChunk('zTXt', Buffer.concat([Buffer.from('Raw profile type exif\0\0'), deflateSync(text)]));
      const { width } = await Image.fromBytes(Buffer.concat([whole.subarray(0, 33), packed, whole.subarray(33)]));
      assert.equal(width, 21);
    }
  });

  const cut = (name: string, bytes: number) => file(name).subarray(0, bytes);
  const text = (start: string) => new TextEncoder().encode(start);
  const changed = (name: string, at: number, ...bytes: number[]) => Uint8Array.from(file(name), (byte, i) => bytes[i - at] ?? byte);
  const cases: Array<[string, () => Uint8Array | Promise<Uint8Array>, RegExp]> = [
    ['nothing', () => new Uint8Array(), /^ImageError: is empty; takes PNG, JPEG, WebP, GIF, BMP, TIFF$/],
    ['a text', () => text('hello, world\n'), /^ImageError: begins with 'hello, world', as no picture does; takes PNG/],
    ['a web page', () => text('\n<!DOCTYPE html><html>'), /^ImageError: is a web page; takes PNG/],
    ['an SVG', () => text('<?xml version="1.0"?>\n<svg>'), /^ImageError: is an SVG file; takes PNG/],
    ['HEIC', () => text('\0\0\0\x18ftypheic'), /^ImageError: is a HEIC file; takes PNG/],
    ['AVIF', () => text('\0\0\0\x18ftypavif'), /^ImageError: is an AVIF file; takes PNG/],
    ['a film', () => text('\0\0\0\x18ftypisom'), /^ImageError: is a film; takes PNG/],
    ['half a PNG', () => cut('PNG held 1', 90), /^PngError: PNG: is cut off$/],
    ['half a JPEG', () => cut('JPEG 95', 900), /^ImageError: JPEG: cannot be read: '/],
    ['the beginning of a JPEG', () => cut('JPEG 95', 30), /^ImageError: JPEG: cannot be read: '/],
    ['half a WebP', () => cut('WebP', 60), /^ImageError: WebP: cannot be read: '/],
    ['half a GIF', () => cut('GIF', 20), /^ImageError: GIF: cannot be read: '/],
    ['half a TIFF', () => cut('TIFF RGB', 60), /^ImageError: TIFF: cannot be read: '/],
    ['half a BMP', () => cut('BMP RGB', 600), /^ImageError: BMP: is cut off: its pixels take 1088 bytes, there are 546$/],
    ['a packed BMP', () => changed('BMP P', 30, 1), /^ImageError: BMP: is packed in way 1, which is not read$/],
    ['a BMP of strange bits', () => changed('BMP RGB', 28, 7), /^ImageError: BMP: has 7 bits a pixel, takes 1, 4, 8, 16, 24 or 32$/],
    ['a BMP of a strange header', () => changed('BMP RGB', 14, 99, 99), /^ImageError: BMP: has a header of 25443 bytes, which is unknown$/],
    ['a BMP of too many pixels', () => changed('BMP RGB', 18, 0, 0, 0, 1, 0, 0, 0, 1), /^ImageError: BMP: has 16777216 x 16777216 pixels, takes from 1 to 100000000$/],
    ['a BMP of none', () => changed('BMP RGB', 18, 0, 0, 0, 0), /^ImageError: BMP: has 0 x 17 pixels, takes from 1/],
    ['a PNG bomb', () => sharp({ create: { width: 12_000, height: 9_000, channels: 3, background: 'red' } }).png().toBuffer(), /^PngError: PNG: has 12000 x 9000 pixels/],
    ['a TIFF bomb', () => sharp({ create: { width: 12_000, height: 9_000, channels: 3, background: 'red' } }).tiff({ compression: 'deflate' }).toBuffer(),
      /^ImageError: TIFF: has 12000 x 9000 pixels, takes from 1 to 100000000$/],
  ];
  for (const [name, bytes, expected] of cases) it(`refuses ${name}`, async () => assert.rejects(Image.fromBytes(await bytes()), expected));
});

describe('Image.open of a photo', () => {
  const folder = temporaryFolder();

  it('goes by what the file holds, whatever its name', async () => {
    writeFileSync(join(folder(), 'photo.png'), file('JPEG 75'));
    assert.deepEqual(await Image.open(join(folder(), 'photo.png')), await Image.fromBytes(file('JPEG 75')));
  });

  it('names the file and what it is', async () => {
    writeFileSync(join(folder(), 'a.jpg'), file('JPEG 75').subarray(0, 300));
    await assert.rejects(Image.open(join(folder(), 'a.jpg')), /^ImageError: .*a\.jpg: JPEG: cannot be read: '/);
    writeFileSync(join(folder(), 'b.jpg'), '<html>404</html>');
    await assert.rejects(Image.open(join(folder(), 'b.jpg')), /^ImageError: .*b\.jpg: is a web page; takes PNG, JPEG, WebP, GIF, BMP, TIFF$/);
  });
});
