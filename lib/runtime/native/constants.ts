import type { Metadata, Values } from './binding.js';

/** How many bytes a tensor has at most to be kept, and how many are kept. */
const MAX_BYTES = 4096;
const MAX_COUNT = 2048;

interface Constant {
  readonly made: Metadata;
  /** Its values, or what it was cast from. */
  readonly of: ArrayLike<number> | Constant;
  /** How often it was asked for and not yet given back. */
  uses: number;
  /** When it was last asked for. */
  asked: number;
  /** Whether it can still be asked for. */
  kept: boolean;
}

/**
 * Keeps the small tensors that JavaScript makes, shapes, axes and numbers, by their type, shape and bits, and what they are cast to: a step asks for
 * the same ones as the step before. Handing one over takes as long as an op, and on a GPU a float waits until all ops before it are done. Those asked
 * for last are kept.
 */
export class Constants {
  /** By a hash of their bits or, those that were cast, of what they were cast from. */
  private readonly kept = new Map<number, Constant[]>();
  private readonly byId = new Map<number, Constant>();
  private count = 0;
  private clock = 0;

  constructor(
    private readonly create: (shape: readonly number[], dtype: number, values: Values) => number, private readonly free: (id: number) => void,
  ) {}

  /** A tensor of these values, which is given back by `giveBack`; undefined if they are none to keep. */
  get(shape: readonly number[], dtype: number, values: Values): number | undefined {
    if (!ArrayBuffer.isView(values) || values.byteLength > MAX_BYTES) return undefined; // no view: texts
    const bits = values instanceof Float32Array ? new Int32Array(values.buffer, values.byteOffset, values.length) : values;
    let hash = dtype;
    for (let i = 0; i < bits.length; i++) hash = Math.imul(hash ^ bits[i], 0x01000193);
    const is = ({ made, of }: Constant) => made.dtype === dtype && same(made.shape, shape) && 'length' in of && same(of, bits);
    return this.ask(hash, is, () => ({
      of: bits.slice(), made: { id: this.create(shape, dtype, values.slice()), shape: [...shape], dtype }, // copies: TensorFlow keeps the array
    })).id;
  }

  /** What a constant is as another type; undefined of other tensors. */
  cast(id: number, dtype: number, make: () => Metadata): Metadata | undefined {
    const of = this.byId.get(id);
    return of && this.ask(-1 - id, each => each.of === of && each.made.dtype === dtype, () => ({ of, made: make() }));
  }

  /** Says that it is no longer used. Whether it is a constant. */
  giveBack(id: number): boolean {
    const constant = this.byId.get(id);
    if (!constant) return false;
    if (--constant.uses === 0 && !constant.kept) this.drop(constant);
    return true;
  }

  private ask(hash: number, is: (constant: Constant) => boolean, make: () => Pick<Constant, 'made' | 'of'>): Metadata {
    const alike = this.kept.get(hash);
    let constant = alike?.find(is);
    if (!constant) {
      constant = { ...make(), uses: 0, asked: 0, kept: true };
      if (alike) alike.push(constant);
      else this.kept.set(hash, [constant]);
      this.byId.set(constant.made.id, constant);
      this.count++;
    }
    constant.uses++;
    constant.asked = ++this.clock;
    if (this.count > MAX_COUNT) this.forgetHalf();
    return constant.made;
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

function same(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
