import type { Metadata, Values } from './binding.js';

/** How many elements a tensor has at most to be kept, and how many are kept. */
const MAX_SIZE = 1024;
const MAX_COUNT = 2048;

/** Floats are looked up by their bits; to ask an array for its buffer, to see it as another one, costs more than a copy. */
const floats = new Float32Array(MAX_SIZE);
const bitsOfFloats = new Int32Array(floats.buffer);

interface Constant {
  readonly made: Metadata;
  /** Its bits, or what it was cast from. */
  readonly of: Int32Array | Constant;
  /** How often it was asked for and not yet given back. */
  uses: number;
  /** When it was last asked for. */
  asked: number;
  /** Whether it can still be asked for. */
  kept: boolean;
}

/**
 * Keeps the small tensors that JavaScript makes, shapes, axes and numbers, by their type, shape and bits, and what they are cast to: a step
 * asks for the same ones as the step before. Handing one over takes as long as an op, and on a GPU a float waits until all ops before it
 * are done. Those asked for last are kept.
 */
export class Constants {
  /** By a hash of their bits or, those that were cast, of what they were cast from. */
  private readonly kept = new Map<number, Constant[]>();
  private readonly byId = new Map<number, Constant>();
  private count = 0;
  private clock = 0;

  constructor(
    private readonly create: (shape: readonly number[], dtype: number, values: Values) => number,
    private readonly free: (id: number) => void,
  ) {}

  /** A tensor of these values, which is given back by `giveBack`; undefined if they are none to keep. */
  get(shape: readonly number[], dtype: number, values: Values): number | undefined {
    const { length } = values;
    if (length > MAX_SIZE || Array.isArray(values)) return undefined; // an array holds texts
    let bits: ArrayLike<number> = values;
    if (values instanceof Float32Array) {
      floats.set(values);
      bits = bitsOfFloats;
    }
    let hash = dtype;
    for (let i = 0; i < length; i++) hash = Math.imul(hash ^ bits[i], 0x01000193);
    const alike = this.kept.get(hash);
    if (alike) {
      for (const constant of alike) {
        const { made, of } = constant;
        if (made.dtype !== dtype || !same(made.shape, shape, shape.length) || !(of instanceof Int32Array)) continue;
        if (same(of, bits, length)) return this.use(constant).id;
      }
    }
    const of = Int32Array.from({ length }, (_, i) => bits[i]);
    const id = this.create(shape, dtype, values.slice()); // a copy: TensorFlow keeps the array
    return this.keep(hash, { id, shape: [...shape], dtype }, of).id;
  }

  /** What a constant is as another type; undefined of other tensors. */
  cast(id: number, dtype: number, make: () => Metadata): Metadata | undefined {
    const of = this.byId.get(id);
    if (!of) return undefined;
    const known = this.kept.get(-1 - id)?.find(each => each.of === of && each.made.dtype === dtype);
    return known ? this.use(known) : this.keep(-1 - id, make(), of);
  }

  /** Says that it is no longer used. Whether it is a constant. */
  giveBack(id: number): boolean {
    const constant = this.byId.get(id);
    if (!constant) return false;
    if (--constant.uses === 0 && !constant.kept) this.drop(constant);
    return true;
  }

  private use(constant: Constant): Metadata {
    constant.uses++;
    constant.asked = ++this.clock;
    return constant.made;
  }

  private keep(hash: number, made: Metadata, of: Constant['of']): Metadata {
    const constant = { made, of, uses: 0, asked: 0, kept: true };
    const alike = this.kept.get(hash);
    if (alike) alike.push(constant);
    else this.kept.set(hash, [constant]);
    this.byId.set(made.id, constant);
    this.use(constant);
    if (++this.count > MAX_COUNT) this.forgetHalf();
    return made;
  }

  /** Those that were not asked for longest. */
  private forgetHalf(): void {
    const all = [...this.kept.values()].flat().sort((a, b) => a.asked - b.asked);
    const [old, young] = [all.slice(0, MAX_COUNT / 2), new Set(all.slice(MAX_COUNT / 2))];
    this.kept.forEach((alike, hash) => {
      const left = alike.filter(each => young.has(each));
      if (left.length > 0) this.kept.set(hash, left);
      else this.kept.delete(hash);
    });
    this.count = young.size;
    for (const constant of old) {
      constant.kept = false;
      if (constant.uses === 0) this.drop(constant);
    }
  }

  private drop({ made: { id } }: Constant): void {
    this.byId.delete(id);
    this.free(id);
  }
}

function same(a: ArrayLike<number>, b: ArrayLike<number>, length: number): boolean {
  if (a.length !== length) return false;
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return false;
  return true;
}
