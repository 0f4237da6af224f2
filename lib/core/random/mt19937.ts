/**
 * torch's CPU stream: the Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998) and torch's way from its words to normals.
 * Equals the generator behind torch.Generator('cpu').
 */

const SIZE = 624;
const SHIFT = 397;
const BLOCK = 16; // torch transforms 8 pairs at a time
const TWO_PI = Math.fround(2 * Math.PI);

/** Where a stream is. */
export interface Mt19937State {
  readonly state: Uint32Array;
  readonly position: number;
  readonly spare: number | null;
}

export class Mt19937 {
  private readonly state = new Uint32Array(SIZE);
  private position = SIZE;
  /** The second value of the last pair that was drawn in double precision. */
  private spare: number | null = null;

  /** torch seeds this generator with the low 32 bits alone. */
  constructor(seed: bigint) {
    this.state[0] = Number(BigInt.asUintN(32, seed));
    for (let i = 1; i < SIZE; i++) {
      const previous = this.state[i - 1] ^ (this.state[i - 1] >>> 30);
      this.state[i] = Math.imul(1812433253, previous) + i;
    }
  }

  getState(): Mt19937State {
    const { state, position, spare } = this;
    return { state: state.slice(), position, spare };
  }

  setState({ state, position, spare }: Mt19937State): void {
    this.state.set(state);
    [this.position, this.spare] = [position, spare];
  }

  /** The next word: a whole number from 0 to 2^32 - 1. */
  next(): number {
    if (this.position === SIZE) this.twist();
    let word = this.state[this.position++];
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  /**
   * `count` values of the standard normal distribution. Fewer than 16 are drawn in double precision, one by one; more in blocks of
   * uniforms. What is over makes no block: torch draws it for float32 all the same, and does not where the values become `halves`.
   */
  randn(count: number, halves = false): Float32Array {
    const values = new Float32Array(count);
    if (count < BLOCK) {
      for (let i = 0; i < count; i++) values[i] = this.nextNormal();
      return values;
    }
    const drawn = halves ? count - count % BLOCK : count;
    for (let i = 0; i < drawn; i++) values[i] = this.nextUniform();
    for (let start = 0; start + BLOCK <= count; start += BLOCK) transform(values, start);
    if (count % BLOCK !== 0) { // torch draws the last block anew, over values that are done already
      for (let i = count - BLOCK; i < count; i++) values[i] = this.nextUniform();
      transform(values, count - BLOCK);
    }
    return values;
  }

  private twist(): void {
    const { state } = this;
    for (let i = 0; i < SIZE; i++) {
      const mixed = (state[i] & 0x80000000) | (state[(i + 1) % SIZE] & 0x7fffffff);
      state[i] = state[(i + SHIFT) % SIZE] ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
    }
    this.position = 0;
  }

  /** From 0 up to 1, with 24 bits. */
  private nextUniform(): number {
    return (this.next() & 0xffffff) / 2 ** 24;
  }

  /** From 0 up to 1, with 53 bits: the lower 21 of one word, then all of the next. */
  private nextDouble(): number {
    const high = this.next() & 0x1fffff;
    return (high * 2 ** 32 + this.next()) / 2 ** 53;
  }

  private nextNormal(): number {
    const { spare } = this;
    this.spare = null;
    if (spare !== null) return spare;
    const angle = 2 * Math.PI * this.nextDouble();
    const radius = Math.sqrt(-2 * Math.log1p(-this.nextDouble()));
    this.spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
}

/** Box-Muller in float32 over one block: uniforms 0-7 give the radii, 8-15 the angles. */
function transform(values: Float32Array, start: number): void {
  for (let i = start; i < start + BLOCK / 2; i++) {
    const radius = Math.fround(Math.sqrt(Math.fround(-2 * Math.fround(Math.log(1 - values[i])))));
    const angle = Math.fround(TWO_PI * values[i + BLOCK / 2]);
    values[i] = radius * Math.fround(Math.cos(angle));
    values[i + BLOCK / 2] = radius * Math.fround(Math.sin(angle));
  }
}
