import * as tf from '@tensorflow/tfjs';
import { checkInteger, checkOneOf, show } from './checks.js';
import { FLOAT_DTYPES, roundTo, type FloatDtype } from './float16.js';
import { drawLegacyHalves } from './random/legacy_halves.js';
import { Mt19937, type Mt19937State } from './random/mt19937.js';
import { Philox } from './random/philox.js';

const DEFAULT_SEED = 67280421310721n; // torch's

/** Options of a `Generator`. */
export interface GeneratorOptions {
  /** `legacy`: float16 and bfloat16 noise on the CPU as torch made it before 2.15, for pictures of then; see docs/porting.md. */
  halfNoise?: 'rounded' | 'legacy';
}

/** Where a generator is in its stream: what `structuredClone` and messages between threads take. */
export interface GeneratorState {
  /** Whose random numbers of torch they are. */
  readonly device: 'cpu' | 'cuda';
  /** As in GeneratorOptions. */
  readonly halfNoise: 'rounded' | 'legacy';
  /** The seed, as an unsigned number of 64 bits. */
  readonly seed: bigint;
  /** On `cpu` the state of MT19937, on `cuda` the offset into Philox's stream. */
  readonly stream: Mt19937State | number;
}

/**
 * A seeded stream of random numbers: bit for bit torch's uniforms, and its normals to float32 rounding, on every device.
 * `new Generator('cuda').manualSeed(0)` gives what torch.Generator('cuda').manual_seed(0) gives, also where there is no GPU.
 */
export class Generator {
  private seed64 = DEFAULT_SEED;
  private stream: Mt19937 | Philox;
  private readonly halfNoise: 'rounded' | 'legacy';

  /** @throws RangeError for a device other than `cpu` (MT19937) and `cuda` (Philox), or an unknown `halfNoise`. */
  constructor(readonly device: 'cpu' | 'cuda' = 'cpu', { halfNoise = 'rounded' }: GeneratorOptions = {}) {
    checkOneOf('Generator device', device, ['cpu', 'cuda']);
    this.halfNoise = checkOneOf('Generator halfNoise', halfNoise, ['rounded', 'legacy']);
    this.stream = this.restart();
  }

  /**
   * Starts the stream anew. Negative seeds count down from 2^64, as in torch; the CPU stream depends on the lower 32 bits alone.
   * @throws RangeError unless `seed` is a whole number, up to 2^53 - 1 as a number or 2^64 - 1 as a bigint.
   */
  manualSeed(seed: number | bigint): this {
    if (typeof seed === 'bigint' ? seed < -(2n ** 63n) || seed >= 2n ** 64n : !Number.isSafeInteger(seed)) {
      throw new RangeError(`seed: got ${show(seed)}, takes a whole number, up to 2^53 - 1 or as a bigint up to 2^64 - 1`);
    }
    this.seed64 = BigInt.asUintN(64, BigInt(seed));
    this.stream = this.restart();
    return this;
  }

  /** The seed that this stream started from; a bigint where a number could not hold it. */
  get initialSeed(): number | bigint {
    const seed = Number(this.seed64);
    return Number.isSafeInteger(seed) ? seed : this.seed64;
  }

  /** Starts the stream anew from a seed that cannot be foretold, and returns that seed. */
  seed(): number {
    const [high, low] = crypto.getRandomValues(new Uint32Array(2));
    const seed = (high & 0x1fffff) * 2 ** 32 + low;
    this.manualSeed(seed);
    return seed;
  }

  /** Where the stream is, to go on from there another time. As torch's get_state. */
  getState(): GeneratorState {
    const { device, halfNoise, seed64, stream } = this;
    return { device, halfNoise, seed: seed64, stream: stream.getState() };
  }

  /** Goes on from where another generator of the same kind was. As torch's set_state. @throws RangeError for the state of another kind. */
  setState({ device, halfNoise, seed, stream }: GeneratorState): this {
    if (device !== this.device || halfNoise !== this.halfNoise) {
      throw new RangeError(`Generator state: got that of ${device} with ${halfNoise} noise, takes ${this.device} with ${this.halfNoise}`);
    }
    this.seed64 = seed;
    this.stream = this.restart();
    this.stream.setState(stream as never);
    return this;
  }

  /** A generator that goes on from a state. */
  static fromState(state: GeneratorState): Generator {
    return new Generator(state.device, { halfNoise: state.halfNoise }).setState(state);
  }

  /**
   * The next `count` values of the standard normal distribution: torch.randn(count, generator=..., dtype=...).
   * Halves are the float32 values rounded, except that on the CPU a count of more than 16 that is no multiple of it takes other draws.
   */
  randn(count: number, dtype: FloatDtype = 'float32'): Float32Array {
    checkOneOf('randn dtype', dtype, FLOAT_DTYPES);
    checkInteger('randn count', count, 0);
    if (dtype !== 'float32' && this.halfNoise === 'legacy' && this.stream instanceof Mt19937) {
      return drawLegacyHalves(this.stream, count, dtype);
    }
    return roundTo(dtype, this.stream.randn(count, dtype !== 'float32'));
  }

  private restart(): Mt19937 | Philox {
    return this.device === 'cpu' ? new Mt19937(this.seed64) : new Philox(this.seed64);
  }
}

let defaultGenerator: Generator | undefined;

/**
 * Normal noise, drawn in torch's order and laid out channels-last.
 * - `shape`: `[batch, height, width, channels]`, drawn as `[batch, channels, height, width]`; any other rank is drawn as it stands.
 * - `generator`: one for all samples, or one per sample, each drawing a batch of 1; without it the noise is different each time.
 * - `dtype`: the type that torch would draw; the tensor here is always float32.
 *
 * Equals randn_tensor of diffusers.
 * @throws RangeError if a list of generators does not have one entry, or one per sample.
 */
export function randn(shape: readonly number[], generator?: Generator | readonly Generator[], dtype?: FloatDtype): tf.Tensor {
  const generators = generator === undefined ? [defaultGenerator ??= unseeded()] : generator instanceof Generator ? [generator] : generator;
  const batch = shape[0] ?? 1;
  if (generators.length !== 1 && generators.length !== batch) {
    throw new RangeError(`generator: got a list of ${generators.length}, takes one generator or a list of ${batch}, one per sample`);
  }
  const count = tf.util.sizeFromShape([...shape]);
  const values = new Float32Array(count);
  generators.forEach((each, i) => values.set(each.randn(count / generators.length, dtype), i * count / generators.length));
  if (shape.length !== 4) return tf.tensor(values, [...shape]);
  const [, height, width, channels] = shape;
  return tf.tidy(() => tf.tensor4d(values, [batch, channels, height, width]).transpose([0, 2, 3, 1]));
}

function unseeded(): Generator {
  const generator = new Generator();
  generator.seed();
  return generator;
}
