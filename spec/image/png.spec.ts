import assert from 'node:assert/strict';
import { crc32, inflateSync } from 'node:zlib';
import { PNG } from 'pngjs';
import { formatGenerationParameters } from '../../lib/image/generation_parameters.js';
import { Image } from '../../lib/image/image.js';

interface Chunk {
  type: string;
  data: Buffer;
}

/** The chunks of a PNG file, with their checksums checked. */
function chunks(png: Uint8Array): Chunk[] {
  const bytes = Buffer.from(png);
  const found: Chunk[] = [];
  for (let at = 8; at < bytes.length;) {
    const end = at + 8 + bytes.readUInt32BE(at);
    assert.equal(bytes.readUInt32BE(end), crc32(bytes.subarray(at + 4, end)), 'checksum');
    found.push({ type: bytes.toString('latin1', at + 4, at + 8), data: bytes.subarray(at + 8, end) });
    at = end + 4;
  }
  return found;
}

/** A picture of a gradient, with a figure and some noise. */
function picture(width: number, height: number): Image {
  let noise = 1;
  return new Image(Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const x = Math.floor(i / 3) % width;
    noise = Math.imul(noise, 1103515245) + 12345 >>> 0;
    return x > width / 2 ? 30 * (i % 3) : x * 2 + (noise >>> 30);
  }), width, height);
}

describe('PNG', () => {
  it('holds the pixels, whatever filter is best for a row', async () => {
    for (const [width, height] of [[1, 1], [3, 5], [64, 64], [130, 20]]) {
      const image = picture(width, height);
      const { data } = PNG.sync.read(Buffer.from(await image.toPng()));
      assert.deepEqual(Uint8Array.from(data.filter((_, i) => i % 4 !== 3)), image.data);
    }
    const filters = new Set<number>();
    const [, pixels] = chunks(await picture(64, 64).toPng());
    const rows = inflateSync(pixels.data);
    for (let at = 0; at < rows.length; at += 64 * 3 + 1) filters.add(rows[at]);
    assert.ok(filters.size > 1, 'several filters');
  });

  it('holds texts: Latin-1 as tEXt, others as iTXt', async () => {
    const png = await picture(4, 4).toPng({ parameters: 'a café\nSteps: 3', note: 'ein „Stern“ ★' });
    const [header, first, second, ...rest] = chunks(png);
    assert.deepEqual([header, ...rest].map(({ type }) => type), ['IHDR', 'IDAT', 'IEND']);
    assert.deepEqual([first.type, first.data.toString('latin1')], ['tEXt', 'parameters\0a café\nSteps: 3']);
    assert.deepEqual([second.type, second.data.toString('utf8')], ['iTXt', 'note\0\0\0\0\0ein „Stern“ ★']);
    await assert.rejects(picture(1, 1).toPng({ 'größe': '1' }), new RangeError('PNG keyword: got \'größe\', takes 1 to 79 letters of ASCII'));
  });
});

describe('formatGenerationParameters', () => {
  it('says what other tools look for', () => {
    const parameters = { prompt: 'a red circle', numInferenceSteps: 20, scheduler: 'PNDMScheduler', guidanceScale: 7.5, seed: 3, width: 64, height: 48 };
    assert.equal(formatGenerationParameters(parameters), 'a red circle\nSteps: 20, Sampler: PNDMScheduler, CFG scale: 7.5, Seed: 3, Size: 64x48');
    assert.equal(formatGenerationParameters({ ...parameters, negativePrompt: 'blue', model: 'shapes' }),
      'a red circle\nNegative prompt: blue\nSteps: 20, Sampler: PNDMScheduler, CFG scale: 7.5, Seed: 3, Size: 64x48, Model: shapes');
  });
});
