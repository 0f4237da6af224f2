import type { Binding, Metadata } from './backend.js';

/** How many bytes a tensor has at most to be kept, and how many are kept. */
const MAX_BYTES = 4096;
const MAX_COUNT = 2048;

interface Constant {
  readonly key: string;
  readonly made: Metadata;
  /** How often it was asked for and not yet given back. */
  uses: number;
}

/**
 * Keeps the small tensors that JavaScript makes, shapes, axes and numbers, by their type, shape and bytes, and what they are cast to: a step asks for
 * the same ones as the step before. Handing one over takes as long as an op, and on a GPU a float waits until all ops before it are done. Those used
 * last are kept.
 */
export function keepConstants(binding: Binding): Binding {
  const kept = new Map<string, Constant>(); // the longest unused first
  const byId = new Map<number, Constant>();

  function keep(key: string, make: () => Metadata): Metadata {
    const constant = kept.get(key) ?? { key, made: make(), uses: 0 };
    byId.set(constant.made.id, constant);
    constant.uses++;
    kept.delete(key);
    kept.set(key, constant);
    if (kept.size > MAX_COUNT) {
      const [oldest] = kept.values();
      kept.delete(oldest.key);
      if (oldest.uses === 0) free(oldest);
    }
    return constant.made;
  }
  function free({ made: { id } }: Constant): void {
    byId.delete(id);
    binding.deleteTensor(id);
  }
  const kinds: Pick<Binding, 'createTensor' | 'executeOp' | 'deleteTensor'> = {
    createTensor(shape, dtype, values) {
      if (!ArrayBuffer.isView(values) || values.byteLength > MAX_BYTES) return binding.createTensor(shape, dtype, values); // no view: texts
      const key = `${dtype} ${shape.join()} ${Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('latin1')}`;
      return keep(key, () => ({ id: binding.createTensor(shape, dtype, values.slice()), shape: [...shape], dtype })).id; // a copy: TensorFlow keeps the array
    },
    executeOp(name, attributes, inputs, outputs) {
      const constant = name === 'Cast' ? byId.get(inputs[0]) : undefined;
      const run = () => binding.executeOp(name, attributes, inputs, outputs);
      return constant ? [keep(`${attributes.map(({ value }) => value).join()} ${constant.key}`, () => run()[0])] : run();
    },
    deleteTensor(id) {
      const constant = byId.get(id);
      if (!constant) binding.deleteTensor(id);
      else if (--constant.uses === 0 && kept.get(constant.key) !== constant) free(constant);
    },
  };
  return Object.create(binding, Object.fromEntries(Object.entries(kinds).map(([name, value]) => [name, { value }]))) as Binding;
}
