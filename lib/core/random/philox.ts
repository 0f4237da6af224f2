/**
 * torch's CUDA stream: Philox4x32-10 (Salmon et al., 2011), one counter per GPU thread, and cuRAND's way from its words to normals.
 * Equals the generator behind torch.Generator('cuda').
 */

/**
 * Threads of one launch on an A100: 108 multiprocessors of 2048. Tensors of more elements wrap around, and from there on the values
 * depend on the GPU: on a smaller one they differ beyond its own thread count (an RTX 3090: 125,952, a T4: 40,960).
 * 512x512 images have 16,384 latents each.
 */
const MAX_THREADS = 108 * 2048;
const BLOCK = 256;
const TWO_PI = 2 * Math.PI;

export class Philox {
  private readonly key: [number, number];
  /** Counters that every thread has used up. */
  private offset = 0;

  constructor(seed: bigint) {
    this.key = [Number(BigInt.asUintN(32, seed)), Number(BigInt.asUintN(32, seed >> 32n))];
  }

  /** How many counters are used up. */
  getState(): number {
    return this.offset;
  }

  setState(offset: number): void {
    this.offset = offset;
  }

  /**
   * `count` values of the standard normal distribution. Thread t of T makes the elements t, t + T, t + 2T and t + 3T of its first four
   * normals, and so on, and all threads advance alike, whether their values were needed or not.
   */
  randn(count: number): Float32Array {
    const values = new Float32Array(count);
    const threads = Math.min(Math.ceil(count / BLOCK) * BLOCK, MAX_THREADS);
    const counter = new Uint32Array(4);
    for (let base = 0; base < count; base += 4 * threads, this.offset++) {
      for (let thread = 0; thread < threads && base + thread < count; thread++) {
        counter[0] = this.offset;
        counter[1] = this.offset / 2 ** 32;
        counter[2] = thread;
        counter[3] = 0;
        philox4x32(counter, this.key);
        for (let pair = 0, at = base + thread; pair < 4 && at < count; pair += 2, at += 2 * threads) {
          const radius = Math.fround(Math.sqrt(Math.fround(-2 * Math.fround(Math.log(uniform(counter[pair], 1))))));
          const angle = uniform(counter[pair + 1], TWO_PI);
          values[at] = radius * Math.fround(Math.sin(angle));
          if (at + threads < count) values[at + threads] = radius * Math.fround(Math.cos(angle));
        }
      }
    }
    return values;
  }
}

/** Replaces the four words of `counter` by the random words that belong to it: ten rounds. */
export function philox4x32(counter: Uint32Array, key: readonly [number, number]): void {
  let [key0, key1] = key;
  let word0 = counter[0];
  let word1 = counter[1];
  let word2 = counter[2];
  let word3 = counter[3];
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(0xd2511f53, word0);
    const high1 = multiplyHigh(0xcd9e8d57, word2);
    const low0 = Math.imul(0xd2511f53, word0);
    const low1 = Math.imul(0xcd9e8d57, word2);
    word0 = high1 ^ word1 ^ key0;
    word1 = low1;
    word2 = high0 ^ word3 ^ key1;
    word3 = low0;
    key0 = (key0 + 0x9e3779b9) | 0;
    key1 = (key1 + 0xbb67ae85) | 0;
  }
  counter[0] = word0;
  counter[1] = word1;
  counter[2] = word2;
  counter[3] = word3;
}

/** The upper 32 bits of the 64-bit product of two words, from their 16-bit halves. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  return aHigh * bHigh + (middle >>> 16) + ((aLow * bHigh + (middle & 0xffff)) >>> 16);
}

/** A word as a float32 above 0, at most `range`. */
function uniform(word: number, range: number): number {
  const step = Math.fround(range / 2 ** 32);
  return Math.fround(Math.fround(word) * step + step / 2);
}
