import type { Binding } from './backend.js';

/** How many bytes a tensor has at most to be kept, and how many are kept. */
const MAX_BYTES = 4096;
const MAX_COUNT = 2048;

interface Constant {
  readonly id: number;
  readonly key: string;
  /** How often it was asked for and not yet given back. */
  uses: number;
}

/**
 * Keeps the small tensors that JavaScript makes, shapes, axes and numbers, by their type, shape and bytes: a step asks for the same ones as the step
 * before. Handing one over takes as long as an op, and on a GPU a float waits until all ops before it are done. Those used last are kept.
 */
export function keepConstants(binding: Binding): Binding {
  const kept = new Map<string, Constant>(); // the longest unused first
  const byId = new Map<number, Constant>();

  function make(key: string, ...[shape, dtype, values]: Parameters<Binding['createTensor']>): Constant {
    const constant = { id: binding.createTensor(shape, dtype, values.slice()), key, uses: 0 }; // a copy: TensorFlow keeps the array itself, which may change
    byId.set(constant.id, constant);
    return constant;
  }
  function free({ id }: Constant): void {
    byId.delete(id);
    binding.deleteTensor(id);
  }
  return Object.create(binding, {
    createTensor: {
      value: (...tensor: Parameters<Binding['createTensor']>) => {
        const [shape, dtype, values] = tensor;
        if (!ArrayBuffer.isView(values) || values.byteLength > MAX_BYTES) return binding.createTensor(...tensor); // not a view: texts
        const key = `${dtype} ${shape.join()} ${Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('latin1')}`;
        const constant = kept.get(key) ?? make(key, ...tensor);
        constant.uses++;
        kept.delete(key);
        kept.set(key, constant);
        if (kept.size > MAX_COUNT) {
          const [oldest] = kept.values();
          kept.delete(oldest.key);
          if (oldest.uses === 0) free(oldest);
        }
        return constant.id;
      },
    },
    deleteTensor: {
      value: (id: number) => {
        const constant = byId.get(id);
        if (!constant) binding.deleteTensor(id);
        else if (--constant.uses === 0 && kept.get(constant.key) !== constant) free(constant);
      },
    },
  }) as Binding;
}
