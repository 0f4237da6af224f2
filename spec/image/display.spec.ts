import assert from 'node:assert/strict';
import { Image } from '../../lib/image/image.js';

const kernel = globalThis as { __tslab__?: unknown };

describe('Image.display', () => {
  const image = new Image(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), 2, 2, { parameters: 'two by two' });
  let shown: Uint8Array[];

  beforeEach(() => {
    shown = [];
    kernel.__tslab__ = { require: () => ({ display: { png: (bytes: Uint8Array) => { shown.push(bytes); } } }) };
  });
  afterEach(() => { delete kernel.__tslab__; });

  it('hands the notebook the picture as a PNG', async () => {
    await image.display();
    assert.equal(shown.length, 1);
    assert.deepEqual(await Image.fromPng(shown[0]), image);
  });

  it('shows pixels as squares', async () => {
    await image.display({ scale: 3 });
    const large = await Image.fromPng(shown[0]);
    assert.deepEqual([large.width, large.height, large.text], [6, 6, image.text]);
    for (let y = 0; y < 6; y++) {
      for (let x = 0; x < 6; x++) {
        const first = (Math.floor(y / 3) * 2 + Math.floor(x / 3)) * 3;
        assert.deepEqual([...large.data.subarray((y * 6 + x) * 3, (y * 6 + x + 1) * 3)], [...image.data.subarray(first, first + 3)]);
      }
    }
  });

  it('takes whole scales only', async () => {
    await assert.rejects(image.display({ scale: 1.5 }), /scale: got 1\.5, takes a whole number/);
    await assert.rejects(image.display({ scale: 0 }), /scale: got 0, takes a whole number/);
  });

  it('says what to do where there is no notebook', async () => {
    delete kernel.__tslab__;
    await assert.rejects(image.display(),
      new Error('display: there is no tslab notebook to show pictures in; elsewhere take save, toPng or toDataURL'));
  });
});
