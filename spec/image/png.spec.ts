import assert from 'node:assert/strict';
import { crc32, inflateSync } from 'node:zlib';
import { PNG } from 'pngjs';
import { formatGenerationParameters, parseGenerationParameters } from '../../lib/image/generation_parameters.js';
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
    const pixels = chunks(await picture(64, 64).toPng()).filter(({ type }) => type === 'IDAT');
    const rows = inflateSync(Buffer.concat(pixels.map(({ data }) => data)));
    for (let at = 0; at < rows.length; at += 64 * 3 + 1) filters.add(rows[at]);
    assert.ok(filters.size > 1, 'several filters');
  });

  it('is packed while others have their turns', async () => {
    const image = picture(700, 700);
    let turns = 0;
    let next = setImmediate(function count() {
      turns++;
      next = setImmediate(count);
    });
    const png = await image.toPng().finally(() => clearImmediate(next));
    assert.ok(turns >= 2, `${turns} turns`);
    assert.deepEqual((await Image.fromPng(png)).data, image.data);
  });

  it('holds texts: Latin-1 as tEXt, others as iTXt', async () => {
    const png = await picture(4, 4).toPng({ parameters: 'a café\nSteps: 3', note: 'ein „Stern“ ★' });
    const [header, first, second, ...rest] = chunks(png);
    assert.deepEqual([...new Set([header, ...rest].map(({ type }) => type))], ['IHDR', 'IDAT', 'IEND']);
    assert.deepEqual([first.type, first.data.toString('latin1')], ['tEXt', 'parameters\0a café\nSteps: 3']);
    assert.deepEqual([second.type, second.data.toString('utf8')], ['iTXt', 'note\0\0\0\0\0ein „Stern“ ★']);
    await assert.rejects(picture(1, 1).toPng({ 'größe': '1' }), new RangeError('PNG keyword: got \'größe\', takes 1 to 79 letters of ASCII'));
  });
});

describe('Generation parameters', () => {
  const parameters = { prompt: 'a red circle', numInferenceSteps: 20, scheduler: 'PNDMScheduler', guidanceScale: 7.5, seed: 3, width: 64, height: 48 };
  const all = {
    ...parameters, prompt: 'a (red:1.3) circle,\non the first Step: one', negativePrompt: 'blue,\nSteps and stairs', seed: 2n ** 63n, model: 'shapes, "fine"',
    clipSkip: 1, strength: 0.6, schedule: 'Karras',
  };

  it('are written as other tools look for them', () => {
    assert.equal(formatGenerationParameters(parameters), 'a red circle\nSteps: 20, Sampler: PNDMScheduler, CFG scale: 7.5, Seed: 3, Size: 64x48');
    assert.equal(formatGenerationParameters(all),
      'a (red:1.3) circle,\non the first Step: one\nNegative prompt: blue,\nSteps and stairs\n' +
      'Steps: 20, Sampler: PNDMScheduler, CFG scale: 7.5, Seed: 9223372036854775808, Size: 64x48, Model: "shapes, \\"fine\\"", ' +
      'Denoising strength: 0.6, Clip skip: 2, Schedule type: Karras');
  });

  it('are read back', () => {
    for (const each of [parameters, all, { ...parameters, prompt: '' }]) assert.deepEqual(parseGenerationParameters(formatGenerationParameters(each)), each);
  });

  it('are read as others write them', () => {
    assert.deepEqual(parseGenerationParameters(
      'masterpiece, a cat\nNegative prompt: dog\nSteps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5, Seed: 42, Size: 512x768, ' +
      'Model hash: 6ce0161689, Model: v1-5, Lora hashes: "style: 1a2b, subject: 3c4d", Version: v1.10.1'), {
      prompt: 'masterpiece, a cat', negativePrompt: 'dog', numInferenceSteps: 30, scheduler: 'DPM++ 2M', schedule: 'Karras', guidanceScale: 5, seed: 42,
      width: 512, height: 768, model: 'v1-5',
    });
    const lines = ['a star', 'in the sky', 'Negative prompt: blur,', 'noise', 'Steps: 20, Sampler: Euler a, Seed: 5, Size: 512x768'];
    assert.deepEqual(parseGenerationParameters(`${lines.join('\r\n')}\r\n`), parseGenerationParameters(lines.join('\n')), 'lines of Windows');
    assert.equal(parseGenerationParameters(lines.join('\r\n')).negativePrompt, 'blur,\nnoise');
    assert.deepEqual(parseGenerationParameters('only words'), { prompt: 'only words' });
    assert.deepEqual(parseGenerationParameters(''), { prompt: '' });
    assert.deepEqual(parseGenerationParameters('a\nSteps: many, Seed: x, Size: 1x'), { prompt: 'a' });
    assert.deepEqual(parseGenerationParameters(`a\nSteps: 3${':'.repeat(1e6)}`), { prompt: 'a' });
    assert.deepEqual(parseGenerationParameters(`a\nSteps: ${'b'.repeat(1e6)}`), { prompt: 'a' });
  });

  it('reads up to a million bytes of text in all', async () => {
    const texts = Object.fromEntries(['a', 'b', 'c'].map(keyword => [keyword, 'x'.repeat(600_000)]));
    const png = await picture(3, 5).toPng({ ...texts, d: 'short' });
    assert.deepEqual(Object.entries((await Image.fromBytes(png)).text).map(([keyword, text]) => [keyword, text.length]), [['a', 600_000], ['d', 5]]);
  });
});
