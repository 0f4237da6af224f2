import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { decodeFloat16, encodeFloat16, type FloatDtype } from '../../lib/core/float16.js';
import { Generator, randn } from '../../lib/core/random.js';
import { Mt19937 } from '../../lib/core/random/mt19937.js';
import { philox4x32 } from '../../lib/core/random/philox.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose, type Values } from '../support/close.js';
import { loadGolden, type Golden } from '../support/golden.js';

const TOLERANCE = { atol: 3e-7, rtol: 3e-7 };

const values = (data: Float32Array): Values => ({ shape: [data.length], data });
const seeded = (device: 'cpu' | 'cuda', seed: string) => new Generator(device).manualSeed(BigInt(seed));
/** A float32 value may differ in its last bit, and then fall on the other side of the middle between two halves. */
const lastBit = (dtype: FloatDtype) => dtype === 'float16' ? 2 ** -10 : 2 ** -7;
const concat = (parts: Float32Array[]) => Float32Array.from(parts.flatMap(part => [...part]));

describe('Generator', () => {
  let cpu: Golden;
  let cuda: Golden;

  before(() => {
    cpu = loadGolden('random/cpu');
    cuda = loadGolden('random/cuda');
  });

  it('has torch\'s CPU uniforms bit for bit', () => {
    for (const seed of cpu.meta.seeds) {
      const stream = new Mt19937(BigInt(seed));
      const uniforms = Array.from({ length: 64 }, () => (stream.next() & 0xffffff) / 2 ** 24);
      assert.deepEqual(uniforms, [...cpu.tensors[`uniform.${seed}`].data as Float32Array], `seed ${seed}`);
    }
  });

  it('has torch\'s CPU normals for any seed, below 16, at 16 and above', () => {
    for (const seed of cpu.meta.seeds) {
      for (const size of cpu.meta.sizes) {
        expectClose(values(seeded('cpu', seed).randn(size)), cpu.tensors[`${seed}.${size}`], TOLERANCE);
      }
    }
  });

  // The authors' known answers, and three of ATen's own engine for (seed, thread, offset) beyond 32 bits.
  const philoxAnswers: Array<[number[], [number, number], number[]]> = [
    [[0, 0, 0, 0], [0, 0], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]],
    [[-1, -1, -1, -1], [-1, -1], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]],
    [[1, 0, 0, 0], [0, 0], [0xf8e4cca4, 0x5cb200db, 0xb1a574eb, 0x97eff67]],
    [[0, 0, 7, 0], [0x7de98115, 0x112210f4], [0xdbde9a0a, 0x165889f1, 0x317ab154, 0xc2909a7d]],
    [[6, 0, 300, 0], [0x76543210, 0xfedcba98], [0x275b6123, 0x72776416, 0xa170d711, 0xa4739c6c]],
  ];

  it('has Philox4x32-10 bit for bit', () => {
    for (const [input, key, output] of philoxAnswers) {
      const counter = new Uint32Array(input);
      philox4x32(counter, key);
      assert.deepEqual([...counter], output);
    }
  });

  it('has the first values that torch gives on a GPU for seed 0', () => {
    const expected = Float32Array.of(
      -0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564,
      -0.62285122, -0.32838709, -1.07454231, -0.36314407, -1.67105067, 2.26550497,
    );
    expectClose(values(new Generator('cuda').manualSeed(0).randn(12)), values(expected), { atol: 5e-7, rtol: 1e-6 });
  });

  it('has the GPU kernel\'s normals for any seed', () => {
    for (const seed of cpu.meta.seeds) {
      for (const size of [12, 300]) {
        expectClose(values(seeded('cuda', seed).randn(size)), cuda.tensors[`${seed}.${size}`], TOLERANCE);
      }
    }
  });

  it('draws halves as torch does, whose last block of a CPU stream is another where the count is no multiple of 16', () => {
    for (const dtype of cpu.meta.halves) {
      const generator = new Generator().manualSeed(7);
      const drawn = [...cpu.meta.mixed, ...cpu.meta.half_sizes].map((size: number) => generator.randn(size, dtype));
      expectClose(values(concat(drawn)), cpu.tensors[`mixed.${dtype}`], { atol: 1e-6, rtol: lastBit(dtype) });
    }
  });

  it('draws halves as torch 2.11 did, if told to, and float32 as ever', () => {
    const legacy = loadGolden('random/legacy_halves');
    for (const dtype of ['float16', 'bfloat16'] as const) {
      const generator = new Generator('cpu', { halfNoise: 'legacy' }).manualSeed(7);
      expectClose(values(concat(legacy.meta.sizes.map((size: number) => generator.randn(size, dtype)))), legacy.tensors[dtype], { atol: 1e-6, rtol: lastBit(dtype) });
    }
    const [old, today] = [new Generator('cpu', { halfNoise: 'legacy' }), new Generator('cpu')];
    assert.deepEqual(old.randn(100), today.randn(100));
    assert.notDeepEqual(old.randn(100, 'float16'), today.randn(100, 'float16'));
  });

  it('rounds a GPU\'s values for halves, and draws the same', () => {
    const [wide, half] = [new Generator('cuda').manualSeed(4).randn(300), new Generator('cuda').manualSeed(4).randn(300, 'float16')];
    assert.deepEqual(half, decodeFloat16(encodeFloat16(wide)));
  });

  for (const device of ['cpu', 'cuda'] as const) {
    it(`goes on where the last call ended, also after a million values (${device})`, () => {
      const { tensors } = device === 'cpu' ? cpu : cuda;
      const { mixed, large, stride } = cpu.meta;
      const generator = new Generator(device).manualSeed(7);
      expectClose(values(concat(mixed.map((size: number) => generator.randn(size)))), tensors.mixed, TOLERANCE);
      const many = generator.randn(large);
      const thinned = concat([many.filter((_, i) => i % stride === 0), many.slice(-40)]);
      expectClose(values(thinned), tensors.large, TOLERANCE);
      expectClose(values(generator.randn(20)), tensors.after_large, TOLERANCE);
    });

    it(`starts anew when it is seeded (${device})`, () => {
      const generator = new Generator(device).manualSeed(5);
      const first = generator.randn(3); // leaves a value over
      assert.deepEqual(generator.manualSeed(5).randn(3), first);
      assert.notDeepEqual(generator.manualSeed(6).randn(3), first);
    });
  }

  it('goes on from a state, which messages can carry', () => {
    for (const device of ['cpu', 'cuda'] as const) {
      const generator = seeded(device, '7');
      for (const count of [3, 40, 1000]) { // 3: a pair of which one is left over
        generator.randn(count);
        const other = Generator.fromState(structuredClone(generator.getState()));
        assert.equal(other.initialSeed, generator.initialSeed);
        assert.deepEqual(other.randn(50), generator.randn(50));
      }
    }
    assert.throws(() => new Generator('cuda').setState(new Generator('cpu').getState()), /^RangeError: Generator state: got that of cpu/);
  });

  it('remembers its seed', () => {
    assert.equal(new Generator().initialSeed, 67280421310721);
    assert.equal(new Generator().manualSeed(2 ** 53 - 1).initialSeed, 2 ** 53 - 1);
    assert.equal(new Generator().manualSeed(-1).initialSeed, 2n ** 64n - 1n);
    const generator = new Generator();
    const seed = generator.seed();
    assert.equal(generator.initialSeed, seed);
    assert.deepEqual(generator.randn(20), new Generator().manualSeed(seed).randn(20));
  });

  it('names what it does not take', () => {
    const accepted = 'takes a whole number, up to 2^53 - 1 or as a bigint up to 2^64 - 1';
    for (const seed of [1.5, NaN, 2 ** 53, 2n ** 64n, -(2n ** 63n) - 1n]) {
      assert.throws(() => new Generator().manualSeed(seed), new RangeError(`seed: got ${seed}, ${accepted}`));
    }
    assert.throws(() => new Generator('mps' as 'cpu'), new RangeError('Generator device: got \'mps\', takes \'cpu\', \'cuda\''));
    assert.throws(() => new Generator('cpu', { halfNoise: 'old' as 'legacy' }),
      new RangeError('Generator halfNoise: got \'old\', takes \'rounded\', \'legacy\''));
    assert.throws(() => new Generator().randn(1, 'half' as 'float16'),
      new RangeError('randn dtype: got \'half\', takes \'float32\', \'float16\', \'bfloat16\''));
    assert.throws(() => new Generator().randn(-1), new RangeError('randn count: got -1, takes a whole number, 0 or more'));
  });
});

describeOnDevices('randn', () => {
  let golden: Golden;
  const generators = () => [5, 6, 7].map(seed => new Generator().manualSeed(seed));

  before(() => { golden = loadGolden('random/cpu'); });

  it('draws in torch\'s order and lays out channels-last', () => tf.tidy(() => {
    expectClose(randn([3, 5, 7, 4], new Generator().manualSeed(3)), golden.tensors.image, TOLERANCE);
  }));

  it('draws each sample from its own generator', () => tf.tidy(() => {
    expectClose(randn([3, 5, 7, 4], generators()), golden.tensors.images, TOLERANCE);
  }));

  it('draws each sample\'s halves from its own generator', () => tf.tidy(() => {
    for (const dtype of golden.meta.halves) {
      expectClose(randn([3, 5, 7, 4], generators(), dtype), golden.tensors[`images.${dtype}`], { atol: 1e-6, rtol: lastBit(dtype) });
    }
  }));

  it('draws other ranks as they stand', () => tf.tidy(() => {
    expectClose(randn([5, 7], new Generator().manualSeed(3)), golden.tensors.matrix, TOLERANCE);
  }));

  it('treats a list of one as one generator for all', () => tf.tidy(() => {
    expectClose(randn([3, 5, 7, 4], [new Generator().manualSeed(3)]), golden.tensors.image, TOLERANCE);
  }));

  it('differs from call to call without a generator', () => tf.tidy(() => {
    assert.notDeepEqual(randn([20]).dataSync(), randn([20]).dataSync());
  }));

  it('leaves no tensor behind', () => expectNoLeak(() => randn([2, 3, 3, 4])));

  it('names a list that does not fit', () => {
    const message = 'generator: got a list of 3, takes one generator or a list of 2, one per sample';
    assert.throws(() => randn([2, 3, 3, 4], generators()), new RangeError(message));
  });
});
