import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PNG } from 'pngjs';
import { denormalize, Image } from '../../lib/image/image.js';
import { makeImageGrid } from '../../lib/image/grid.js';
import { describeOnDevices } from '../support/backends.js';
import { temporaryFolder } from '../support/temporary_folder.js';

/** A picture whose bytes are all different, as far as bytes go. */
function picture(width: number, height: number, first = 0): Image {
  return new Image(Uint8Array.from({ length: width * height * 3 }, (_, i) => first + i * 7), width, height);
}

/** RGB of a PNG file; opaque everywhere. */
function decode(png: Uint8Array): Image {
  const { data, width, height } = PNG.sync.read(Buffer.from(png));
  assert.ok(data.every((value, i) => i % 4 !== 3 || value === 255), 'opaque');
  return new Image(Uint8Array.from(data.filter((_, i) => i % 4 !== 3)), width, height);
}

describe('Image', () => {
  const folder = temporaryFolder();

  it('takes bytes that fit its size only', () => {
    assert.throws(() => new Image(new Uint8Array(11), 2, 2), new RangeError('Image: got 11 bytes, takes 12 for 2 x 2 pixels of RGB'));
    assert.throws(() => new Image(new Uint8Array(0), 0, 2), /width: got 0, takes a whole number, 1 or more/);
  });

  it('becomes a PNG with the same pixels', async () => {
    for (const image of [picture(1, 1), picture(5, 3), picture(64, 48)]) assert.deepEqual(decode(await image.toPng()), image);
  });

  it('becomes a data URL', async () => {
    const image = picture(70, 50);
    const [head, base64] = (await image.toDataURL()).split(',');
    assert.equal(head, 'data:image/png;base64');
    assert.deepEqual(decode(Buffer.from(base64, 'base64')), image);
  });

  it('is saved as a PNG file, over an older one, with nothing left beside it', async () => {
    const path = join(folder(), 'a.png');
    await picture(3, 2).save(path);
    await picture(4, 4).save(path);
    assert.deepEqual(decode(readFileSync(path)), picture(4, 4));
    assert.deepEqual(readdirSync(folder()), ['a.png']);
  });

  it('says in one line why it cannot be saved, and leaves nothing', async () => {
    const image = picture(2, 2);
    await assert.rejects(image.save(join(folder(), 'a.jpg')), /image path: got '.*a\.jpg', takes a name that ends in \.png/);
    await assert.rejects(image.save(join(folder(), 'none', 'a.png')), /none.a\.png: cannot be written: its folder does not exist$/);
    mkdirSync(join(folder(), 'folder.png'));
    await assert.rejects(image.save(join(folder(), 'folder.png')), /folder\.png: cannot be written: it is a folder$/);
    assert.ok(!existsSync(join(folder(), 'a.jpg')));
    assert.ok(readdirSync(folder()).every(name => !name.endsWith('.part')));
  });
});

describe('makeImageGrid', () => {
  it('lays images out in rows', () => {
    const one = (value: number) => new Image(new Uint8Array(2 * 1 * 3).fill(value), 2, 1);
    const grid = makeImageGrid([1, 2, 3, 4, 5, 6].map(one), { rows: 2, cols: 3 });
    assert.deepEqual([grid.width, grid.height], [6, 2]);
    const reds = [...grid.data].filter((_, i) => i % 3 === 0);
    assert.deepEqual(reds, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]);
  });

  it('names what does not fit', () => {
    assert.throws(() => makeImageGrid([picture(2, 2)], { rows: 1, cols: 2 }),
      new RangeError('makeImageGrid: got 1 images, takes 2 for 1 rows of 2'));
    assert.throws(() => makeImageGrid([picture(2, 2), picture(2, 3)], { rows: 1, cols: 2 }),
      new RangeError('makeImageGrid: image 1 is 2 x 3 pixels, the first 2 x 2: all must be of one size'));
    assert.throws(() => makeImageGrid([], { rows: 0, cols: 2 }), /rows: got 0/);
  });
});

describeOnDevices('Image.fromTensor', () => {
  it('rounds to the nearest byte, halves to even, and cuts what lies beyond', async () => {
    const values = [-0.5, 0, 0.5 / 255, 1.5 / 255, 0.25, 1 / 3, 0.999, 1, 1.7];
    const images = tf.tensor4d(values, [1, 1, 3, 3]);
    const before = tf.memory().numTensors;
    const [image] = await Image.fromTensor(images);
    assert.deepEqual([...image.data], [0, 0, 0, 2, 64, 85, 255, 255, 255]);
    assert.equal(tf.memory().numTensors, before);
    images.dispose();
  });

  it('takes [-1, 1] and batches', async () => {
    const images = tf.tensor4d([-1, 0, 1, -2, 2, 0.5, 1, 1, 1, -1, -1, -1], [2, 1, 2, 3]);
    const within = denormalize(images);
    const [first, second] = await Image.fromTensor(within);
    assert.deepEqual([...first.data], [0, 128, 255, 0, 255, 191]);
    assert.deepEqual([...second.data], [255, 255, 255, 0, 0, 0]);
    assert.deepEqual([first.width, first.height], [2, 1]);
    tf.dispose([images, within]);
  });

  it('takes three channels only', async () => {
    const latents = tf.zeros([1, 2, 2, 4]);
    await assert.rejects(Image.fromTensor(latents), /images: got shape \[1, 2, 2, 4\], takes \[\*, \*, \*, 3\]/);
    latents.dispose();
  });
});
