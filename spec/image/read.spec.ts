import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { Image } from '../../lib/image/image.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { loadGolden } from '../support/golden.js';
import { idat, pngChunk, pngFile } from '../support/png.js';
import { temporaryFolder } from '../support/temporary_folder.js';

const { tensors, meta } = loadGolden('pictures/pictures');
const bytes = (name: string) => Uint8Array.from(tensors[name].data);

function golden(name: string): Image {
  const [height, width] = tensors[name].shape;
  return new Image(bytes(name), width, height);
}

/** A PNG file of these chunks behind a header. */
function png(width: number, height: number, { depth = 8, colour = 2, interlace = 0 }, ...chunks: Buffer[]): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colour, 0, 0, interlace], 8);
  return pngFile(pngChunk('IHDR', header), ...chunks);
}

describe('Image.fromPng', () => {
  for (const kind of meta.kinds as string[]) {
    it(`reads ${kind}`, async () => assert.deepEqual(await Image.fromPng(bytes(`${kind}/png`)), golden(`${kind}/rgb`)));
  }

  it('reads what toPng writes, with its texts', async () => {
    const { data } = golden('resize/source');
    const image = new Image(data, 31, 20, { parameters: 'a café\nSteps: 3', title: 'ein „Stern“ ★' });
    assert.deepEqual(await Image.fromPng(await image.toPng()), image);
  });

  it('reads texts that are not compressed', async () => {
    assert.deepEqual((await Image.fromPng(bytes('texts/png'))).text, meta.texts);
  });

  it('leaves out texts that are broken', async () => {
    const broken = [pngChunk('tEXt', Buffer.from('no end')), pngChunk('zTXt', Buffer.from('a\0\0nothing packed')), pngChunk('iTXt', Buffer.from('b\0\0\0\0\0\xff', 'latin1')),
      pngChunk('zTXt', Buffer.concat([Buffer.from('bomb\0\0'), deflateSync(Buffer.alloc(5e6))])), pngChunk('tEXt', Buffer.from('good\0text'))];
    assert.deepEqual((await Image.fromPng(png(1, 1, {}, ...broken, idat(Buffer.alloc(4))))).text, { good: 'text' });
  });

  it('keeps the colours of what is transparent', async () => {
    const file = png(1, 1, {}, pngChunk('tRNS', Buffer.from([0, 1, 0, 2, 0, 3])), idat(Buffer.from([0, 1, 2, 3])));
    assert.deepEqual([...(await Image.fromPng(file)).data], [1, 2, 3]);
  });

  it('reads what other bytes follow', async () => {
    assert.deepEqual([...(await Image.fromPng(Buffer.concat([png(1, 1, {}, idat(Buffer.from([0, 1, 2, 3]))), Buffer.from('more')]))).data], [1, 2, 3]);
  });

  const whole = bytes('texts/png');
  const flipped = Uint8Array.from(whole, (byte, i) => i === 20 ? byte ^ 1 : byte);
  const cases: Array<[string, Uint8Array, RegExp]> = [
    ['nothing', new Uint8Array(), /^PngError: PNG: is no PNG file$/],
    ['another file', Buffer.from('GIF89a...........'), /^PngError: PNG: is no PNG file$/],
    ['half a file', whole.subarray(0, whole.length / 2), /^PngError: PNG: is cut off$/],
    ['a damaged file', flipped, /^PngError: PNG: is damaged: the checksum at byte 29 is another$/],
    ['no pixels', png(0, 5, {}, idat(Buffer.alloc(0))), /^PngError: PNG: has 0 x 5 pixels, takes from 1 to 100000000$/],
    ['too many pixels', png(2 ** 31, 2 ** 31, {}, idat(Buffer.alloc(4))), /^PngError: PNG: has 2147483648 x 2147483648 pixels, takes/],
    ['a depth that does not exist', png(1, 1, { depth: 4 }, idat(Buffer.alloc(4))), /^PngError: PNG: has colour type 2 with 4 bits, which does not exist$/],
    ['missing pixels', png(10, 10, {}, idat(Buffer.alloc(100))), /^PngError: PNG: is cut off: its pixels take 310 bytes, there are 100$/],
    ['more pixels than announced', png(10, 10, {}, idat(Buffer.alloc(5e6))), /^PngError: PNG: unpacks to more than 310 bytes$/],
    ['more pixels than announced, interlaced', png(10, 10, { interlace: 1 }, idat(Buffer.alloc(5e6))), /^PngError: PNG: unpacks to more than 380 bytes$/],
    ['missing pixels, interlaced', png(10, 10, { interlace: 1 }, idat(Buffer.alloc(100))), /^PngError: PNG: cannot be read: '/],
    ['a second header', png(1, 1, {}, Buffer.from(whole.subarray(8, 33)), idat(Buffer.alloc(4))), /^PngError: PNG: has two headers$/],
    ['pixels that are not packed', png(1, 1, {}, pngChunk('IDAT', Buffer.from('not packed'))), /^PngError: PNG: cannot be unpacked: '/],
    ['no data', png(1, 1, {}), /^PngError: PNG: (cannot be unpacked|is cut off)/],
    ['an unknown filter', png(1, 1, {}, idat(Buffer.from([5, 0, 0, 0]))), /^PngError: PNG: cannot be read: 'Unrecognised filter type - 5'$/],
    ['no palette', png(1, 1, { colour: 3 }, idat(Buffer.alloc(2))), /^PngError: PNG: cannot be read: 'Expected palette not found'$/],
    ['a short palette', png(1, 1, { colour: 3 }, pngChunk('PLTE', Buffer.alloc(3)), idat(Buffer.from([0, 1]))),
      /^PngError: PNG: cannot be read: 'index 1 not in palette'$/],
    ['no header', Buffer.concat([whole.subarray(0, 8), pngChunk('IEND', Buffer.alloc(0))]), /^PngError: PNG: does not begin with a header$/],
  ];
  for (const [name, file, expected] of cases) it(`refuses ${name}`, () => assert.rejects(Image.fromPng(file), expected));
});

describe('Image.open', () => {
  const folder = temporaryFolder();

  it('reads a file', async () => {
    const image = golden('resize/source');
    await image.save(join(folder(), 'a.png'));
    assert.deepEqual(await Image.open(join(folder(), 'a.png')), image);
  });

  it('reads the bytes of a file, as a server has them', async () => {
    const image = golden('resize/source');
    const png = await image.toPng();
    for (const given of [png, Buffer.from(png), new Blob([png as BlobPart])]) assert.deepEqual(await Image.open(given), image);
    await assert.rejects(Image.open(Buffer.from('text')), /^ImageError: begins with 'text', as no picture does/);
    await assert.rejects(Image.open([1, 2] as never), /^TypeError: image: got \[1, 2\], takes a path, or the bytes of a file$/);
  });

  it('names files that it cannot read', async () => {
    const path = (name: string) => join(folder(), name);
    mkdirSync(path('folder'));
    writeFileSync(path('text.png'), 'text');
    await assert.rejects(Image.open(path('none.png')), /none\.png: there is no such file$/);
    await assert.rejects(Image.open(path('folder')), /folder: is a folder$/);
    await assert.rejects(Image.open(path('text.png')), /^ImageError: .*text\.png: begins with 'text', as no picture does; takes PNG, JPEG/);
  });
});

describe('Image.resize equals Pillow', () => {
  for (const [width, height] of meta.sizes as Array<[number, number]>) {
    it(`${width} x ${height}`, () => {
      assert.deepEqual(golden('resize/source').resize(width, height), golden(`resize/${width}x${height}`));
      assert.deepEqual(golden('resize/source').resize(width, height, 'bicubic'), golden(`bicubic/${width}x${height}`));
    });
  }

  for (const mode of meta.modes as string[]) {
    for (const [width, height] of meta.mode_sizes as Array<[number, number]>) {
      it(`${width} x ${height} of a file of mode ${mode}`, async () => {
        const resized = (await Image.fromPng(bytes(`modes/${mode}/png`))).resize(width, height);
        assert.deepEqual(resized, golden(`modes/${mode}/${width}x${height}`));
        assert.equal(resized.alpha?.length, mode.endsWith('A') ? width * height : undefined);
      });
    }
  }

  it('of the colours alone for toRgb', async () => {
    const { data, width, height } = await Image.fromPng(bytes('modes/RGBA/png'));
    assert.deepEqual((await Image.fromPng(bytes('modes/RGBA/png'))).toRgb().resize(16, 16), new Image(data, width, height).resize(16, 16));
  });

  it('of a version that the goldens name', () => assert.ok(readFileSync('spec/golden/requirements.txt', 'utf8').includes(`pillow==${meta.pillow}\n`)));

  it('takes whole numbers', () => assert.throws(() => golden('resize/source').resize(0, 3), /width: got 0, takes a whole number, 1 or more/));
});

describeOnDevices('Image.toTensor', () => {
  it('is what fromTensor reads', () => expectNoLeak(async () => {
    const images = [golden('resize/31x20'), golden('resize/31x20').resize(1, 1).resize(31, 20)];
    const tensor = Image.toTensor(images);
    assert.deepEqual(await Image.fromTensor(tensor), images);
    return tensor;
  }));

  it('takes one size', () => {
    assert.throws(() => Image.toTensor([golden('resize/1x1'), golden('resize/31x20')]), /images: got 1 x 1 and 31 x 20 pixels, takes pictures of one size/);
  });
});
