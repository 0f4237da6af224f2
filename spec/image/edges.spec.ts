import assert from 'node:assert/strict';
import { cannyEdges, scribble } from '../../lib/image/edges.js';
import { Image } from '../../lib/image/image.js';
import { loadGolden } from '../support/golden.js';
import { processorTime } from '../support/processor_time.js';

const { tensors, meta } = loadGolden('pictures/edges');
const { names, thresholds } = meta as unknown as { names: string[]; thresholds: Array<[number, number]> };

function picture(name: string): Image {
  const { shape: [height, width], data } = tensors[`${name}/image`];
  return new Image(Uint8Array.from(data), width, height);
}

/** How many pixels are white; all are white or black. */
function countWhite({ data }: Image): number {
  for (let i = 0; i < data.length; i += 3) assert.ok([0, 255].includes(data[i]) && data[i + 1] === data[i] && data[i + 2] === data[i]);
  return data.filter(value => value === 255).length / 3;
}

describe('cannyEdges equals Canny of OpenCV', () => {
  for (const name of names) {
    for (const [lowThreshold, highThreshold] of thresholds) {
      it(`${name}, from ${lowThreshold} to ${highThreshold}`, () => {
        const edges = cannyEdges(picture(name), { lowThreshold, highThreshold });
        countWhite(edges);
        const { shape, data } = tensors[`${name}/${lowThreshold}-${highThreshold}`];
        assert.deepEqual([edges.height, edges.width], [...shape]);
        assert.deepEqual(edges.data.filter((_, i) => i % 3 === 0), Uint8Array.from(data));
      });
    }
  }

  it('by default from 100 to 200', () => {
    const image = picture('shapes');
    assert.deepEqual(cannyEdges(image), cannyEdges(image, { lowThreshold: 100, highThreshold: 200 }));
    assert.deepEqual(cannyEdges(image, { highThreshold: 50 }), cannyEdges(image, { lowThreshold: 50, highThreshold: 50 }));
  });
});

describe('cannyEdges', () => {
  it('says what it takes', () => {
    const image = picture('flat');
    assert.throws(() => cannyEdges(image.pixels as never), /^TypeError: image: got .*, takes an Image$/);
    assert.throws(() => cannyEdges(image, { lowThreshold: 300 }), /^RangeError: lowThreshold: got 300, takes at most highThreshold, 200$/);
    assert.throws(() => cannyEdges(image, { lowThreshold: -1 }), /^RangeError: lowThreshold: got -1, takes a number, 0 or more$/);
    assert.throws(() => cannyEdges(image, { low_threshold: 1 } as never), /^TypeError: cannyEdges: there is no option 'low_threshold': it is called lowThreshold here/);
  });

  it('takes a large picture in well under a second', () => {
    const random = () => (seed = seed * 48271 % 2147483647) & 255;
    let seed = 1;
    const image = new Image(Uint8Array.from({ length: 1024 * 1024 * 3 }, random), 1024, 1024);
    const milliseconds = processorTime(() => assert.ok(countWhite(cannyEdges(image)) > 1024));
    assert.ok(milliseconds < 3000, `${milliseconds} ms`); // a quarter of a second on an idle core
  });
});

describe('scribble', () => {
  it('draws thick lines where edges are', () => {
    const image = picture('shapes').resize(256, 256);
    const [edges, lines] = [cannyEdges(image), scribble(image)];
    assert.ok(countWhite(lines) > 4 * countWhite(edges) && countWhite(lines) < 8 * countWhite(edges));
    const wide = scribble(image, { lineWidth: 20 });
    assert.ok(countWhite(wide) > 2 * countWhite(lines));
    const missed = edges.data.filter((value, i) => value > wide.data[i]).length;
    assert.equal(missed, 0);
  });

  it('leaves out what is small', () => {
    const rough = picture('rough').resize(256, 256);
    assert.ok(countWhite(scribble(rough, { smoothing: 12 })) < countWhite(scribble(rough, { smoothing: 1 })) / 2);
  });

  it('draws lines as wide as it is told, of small pictures those of Canny', () => {
    const half = new Image(Uint8Array.from({ length: 64 * 60 * 3 }, (_, i) => i / 3 % 64 < 32 ? 0 : 255), 64, 60);
    assert.deepEqual(scribble(half, { smoothing: 0, lineWidth: 1 }), cannyEdges(half));
    for (const lineWidth of [5, 9, 13]) assert.equal(countWhite(scribble(half, { smoothing: 0, lineWidth })), 60 * lineWidth);
  });

  it('says what it takes', () => {
    const image = picture('shapes');
    assert.throws(() => scribble(image, { lineWidth: 0 }), /^RangeError: lineWidth: got 0, takes a number from 1 to 64$/);
    assert.throws(() => scribble(image, { smoothing: -1 }), /^RangeError: smoothing: got -1, takes a number from 0 to 64$/);
    assert.throws(() => scribble(null as never), /^TypeError: image: got null, takes an Image$/);
  });
});
