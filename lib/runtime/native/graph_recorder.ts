import * as tf from '@tensorflow/tfjs';
import { listenToAttention, type GraphBody } from '../../core/graph.js';
import type { Attribute, Binding, NativeBackend } from './backend.js';
import type { RecordedAttention } from './fused_attention.js';
import type { GraphDef } from './graph_def.js';
import { asItLies, settle } from './lazy_shapes.js';

/** A tensor of the graph: the name of what makes it, and its type. */
interface Value {
  readonly name: string;
  readonly dtype: number;
}

/** A tensor from before the recording that the body uses: a weight. */
export interface Captured {
  /** TensorFlow's tensor, alive as long as the network is. */
  readonly id: number;
  readonly name: string;
  readonly dtype: number;
  readonly shape: readonly number[];
}

export interface Recording {
  readonly inputs: string[];
  readonly outputs: string[];
  readonly captured: Captured[];
  readonly attentions: RecordedAttention[];
  readonly results: tf.Tensor[];
}

/** Ops whose kernels leave types to be inferred, which a graph does not do. */
const INFERRED_TYPES: Record<string, string[]> = { ExpandDims: ['T', 'Tdim'] };

/** oneDNN's ops, which run op by op, by those that they stand for: in a graph TensorFlow finds where oneDNN's fit, and XLA knows these alone. */
const PLAIN_OPS: Record<string, string> = { _MklSoftmax: 'Softmax', _MklNativeConv2DWithBias: 'Conv2D' };

/**
 * Runs `body` op by op and writes every op into `graph`: its inputs become placeholders, tensors that were there before are captured,
 * values made by JavaScript on the way become constants.
 * @throws Error if the body reads a value of a tensor: its result would be frozen in the graph.
 */
export function record(backend: NativeBackend, graph: GraphDef, body: GraphBody, inputs: tf.Tensor[]): Recording {
  const { binding } = backend;
  const known = new Map<number, Value>(); // by TensorFlow's id, which is never used again
  const constants = new Map<string, Value>();
  const captured: Captured[] = [];
  const attentions: RecordedAttention[] = [];
  const written = new WeakSet<object>(); // data that JavaScript wrote during the recording
  let count = 0;
  let uploading = false; // a tensor from before, whose values TensorFlow did not have yet

  const constant = (shape: readonly number[], dtype: number, values: ArrayBufferView): Value => {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
    const key = `${dtype} ${shape} ${Buffer.from(bytes).toString('latin1')}`;
    const value = constants.get(key) ?? { name: graph.constant(`constant_${constants.size}`, dtype, shape, bytes), dtype };
    constants.set(key, value);
    return value;
  };
  const capture = (id: number, { dtype, shape }: { dtype: number; shape: readonly number[] }): Value => {
    const name = `weight_${captured.length}`;
    captured.push({ id, name, dtype, shape });
    return { name, dtype };
  };

  const recorder = Object.create(binding, {
    createTensor: {
      value: (shape: number[], dtype: number, values: Int32Array) => {
        const id = binding.createTensor(shape, dtype, values);
        if (!uploading) known.set(id, constant(shape, dtype, values));
        return id;
      },
    },
    executeOp: {
      value: (op: string, attributes: Attribute[], ids: number[], outputs: number) => {
        const results = binding.executeOp(op, attributes, ids, outputs);
        const from = ids.map(id => known.get(id)!);
        const typed = attributes.length ? attributes : (INFERRED_TYPES[op] ?? []).map((type, i) => graph.type(type, from[i].dtype));
        const names = from.map(value => value.name);
        const bias = op === '_MklNativeConv2DWithBias' ? names.splice(2) : [];
        let name = graph.add(`op_${count++}`, PLAIN_OPS[op] ?? op, names, PLAIN_OPS[op] ? typed.filter(({ name }) => name !== '_kernel') : typed);
        if (bias.length > 0) name = graph.add(`${name}_bias`, 'BiasAdd', [name, ...bias], typed.filter(({ name }) => name === 'T'));
        results.forEach(({ id, dtype }, i) => known.set(id, { name: i ? `${name}:${i}` : name, dtype }));
        return results;
      },
    },
    tensorDataSync: {
      value: () => { throw new Error('compile: the network reads a value of a tensor, which a graph cannot do'); },
    },
  }) as Binding;

  const settled = inputs.map(input => settle(backend, input)); // what the body is given lies as a placeholder says
  const getInputTensorIds = backend.getInputTensorIds.bind(backend);
  const move = backend.move.bind(backend);
  Object.assign(backend, {
    binding: recorder,
    move: (dataId: object, ...rest: [never, never, never, never]) => {
      written.add(dataId);
      move(dataId, ...rest);
    },
    getInputTensorIds: (tensors: tf.Tensor[]) => tensors.map(tensor => {
      const before = backend.tensorMap.get(tensor.dataId);
      uploading = before?.values != null && !written.has(tensor.dataId);
      const [id] = getInputTensorIds([tensor]);
      uploading = false;
      if (!known.has(id)) known.set(id, capture(id, backend.tensorMap.get(tensor.dataId)));
      return id;
    }),
  });
  try {
    const names = settled.map((input, i) => {
      const [id] = getInputTensorIds([input]);
      const { dtype } = backend.tensorMap.get(input.dataId);
      const name = graph.placeholder(`input_${i}`, dtype, input.shape);
      known.set(id, { name, dtype });
      return name;
    });
    const nameOf = (x: tf.Tensor) => known.get(backend.getInputTensorIds([x])[0])!.name;
    const results = listenToAttention(({ query, key, value, heads }, result) => {
      const [batch, queries, features] = query.shape;
      attentions.push({
        query: nameOf(query), key: nameOf(key), value: nameOf(value), dtype: backend.tensorMap.get(query.dataId).dtype,
        result: nameOf(asItLies(backend, result)), resultShape: asItLies(backend, result).shape,
        batch, queries, keys: key.shape[1]!, heads, headSize: features / heads,
      });
    }, () => tf.tidy(() => body(...settled).map(result => result.clone())));
    return { inputs: names, outputs: results.map(nameOf), captured, attentions, results };
  } finally {
    tf.dispose(settled);
    Object.assign(backend, { binding });
    for (const method of ['move', 'getInputTensorIds']) Reflect.deleteProperty(backend, method); // back to the class's own
  }
}
