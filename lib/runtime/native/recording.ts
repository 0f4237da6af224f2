import * as tf from '@tensorflow/tfjs';
import { bytesOf } from '../../core/bytes_of.js';
import { listenToAttention, type GraphBody } from '../../core/graph.js';
import { type, type Attribute, type Metadata, type Values } from './binding.js';
import type { Recorder } from './eager_context.js';
import type { RecordedAttention } from './fused_attention.js';
import type { GraphDef } from './graph_def.js';
import type { NativeBackend } from './native_backend.js';
import { same, type TensorData } from './tensor_data.js';

/** A tensor from before the recording that was used: a weight. */
export interface Captured {
  readonly data: TensorData;
  readonly name: string;
  readonly dtype: number;
  readonly shape: readonly number[];
}

/** What a body did. Inputs and outputs are names of tensors of the graph. */
export interface Recording {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly captured: readonly Captured[];
  readonly attentions: readonly RecordedAttention[];
  readonly results: tf.Tensor[];
}

/** What a tensor of TensorFlow is in the graph. */
interface Value {
  readonly name: string;
  readonly dtype: number;
  /** Whether it came of an op or was given, so that no other tensor has its id. JavaScript's values are kept, and may be behind several. */
  readonly computed: boolean;
}

/** Ops whose kernels leave types to be inferred, which a graph does not do. */
const INFERRED_TYPES: Record<string, string[]> = { ExpandDims: ['T', 'Tdim'] };

/** What oneDNN's ops, which run op by op, stand for: in a graph TensorFlow finds where oneDNN's fit, and XLA knows these alone. */
const PLAIN_OPS: Record<string, string> = { _MklSoftmax: 'Softmax', _MklNativeConv2DWithBias: 'Conv2D' };

/** Also those that stay in graphs for TensorFlow, which would not find where they fit. */
const PLAIN_OPS_FOR_XLA: Record<string, string> = { ...PLAIN_OPS, _MklMatMul: 'MatMul' };

/**
 * Runs `body` op by op and writes every op into `graph`: its inputs become placeholders, tensors that were there before are captured,
 * values made by JavaScript on the way become constants.
 * @param forXla whether XLA shall take the graph.
 * @throws Error if the body reads a value of a tensor: its result would be frozen in the graph.
 */
export function record(backend: NativeBackend, graph: GraphDef, body: GraphBody, inputs: tf.Tensor[], forXla: boolean): Recording {
  const { context } = backend;
  const given = inputs.map(input => settle(backend, input));
  const writer = new GraphWriter(graph, forXla ? PLAIN_OPS_FOR_XLA : PLAIN_OPS);
  const names = given.map((input, i) => writer.give(`input_${i}`, backend.lend(input)));
  const nameOf = (x: Metadata) => writer.nameOf(x.id);
  const attentions: RecordedAttention[] = [];
  context.recorder = writer;
  try {
    const results = listenToAttention(({ query, key, value, heads }, result) => {
      const [batch, queries, features] = query.shape;
      const [q, out] = [backend.lend(query), backend.lendAsItLies(result)];
      attentions.push({
        query: nameOf(q), key: nameOf(backend.lend(key)), value: nameOf(backend.lend(value)), dtype: q.dtype,
        result: nameOf(out), resultShape: out.shape,
        batch, queries, keys: key.shape[1]!, heads, headSize: features / heads,
      });
    }, () => tf.tidy(() => body(...given).map(result => result.clone())));
    return { inputs: names, outputs: results.map(result => nameOf(backend.lend(result))), captured: writer.captured, attentions, results };
  } finally {
    context.recorder = undefined;
    tf.dispose(given);
  }
}

/** A tensor that lies in the shape that `x` has, as a placeholder does. */
function settle(backend: NativeBackend, x: tf.Tensor): tf.Tensor {
  const lies = backend.lendAsItLies(x);
  return same(lies.shape, x.shape) ? x.clone() : backend.compute(scope => scope.reshape(lies, x.shape));
}

/** Writes down what it hears. */
class GraphWriter implements Recorder {
  readonly captured: Captured[] = [];
  private readonly values = new Map<number, Value>(); // by TensorFlow's id
  private readonly ofData = new WeakMap<TensorData, Value>();
  private readonly constants = new Map<string, Value>();
  private readonly written = new WeakSet<TensorData>();
  private ops = 0;

  constructor(private readonly graph: GraphDef, private readonly plainOps: Record<string, string>) {}

  nameOf(id: number): string {
    return this.values.get(id)!.name;
  }

  /** An input of the body. */
  give(name: string, { id, dtype, shape }: Metadata): string {
    this.values.set(id, { name: this.graph.placeholder(name, dtype, shape), dtype, computed: true });
    return name;
  }

  ran(op: string, attributes: readonly Attribute[], ids: readonly number[], results: readonly Metadata[]): void {
    const from = ids.map(id => this.values.get(id)!);
    const names = from.map(({ name }) => name);
    const typed = attributes.length ? attributes : (INFERRED_TYPES[op] ?? []).map((name, i) => type(name, from[i].dtype));
    const bias = op === '_MklNativeConv2DWithBias' ? names.splice(2) : [];
    const plain = this.plainOps[op];
    const kept = plain ? typed.filter(({ name }) => name !== '_kernel') : typed;
    let name = this.graph.add(`op_${this.ops++}`, plain ?? op, names, kept);
    if (bias.length > 0) name = this.graph.add(`${name}_bias`, 'BiasAdd', [name, ...bias], typed.filter(({ name }) => name === 'T'));
    results.forEach(({ id, dtype }, i) => this.values.set(id, { name: i ? `${name}:${i}` : name, dtype, computed: true }));
  }

  uploaded(id: number, shape: readonly number[], dtype: number, values: Values): void {
    const bytes = bytesOf(values as Float32Array).slice();
    const key = `${dtype} ${shape.join()} ${Buffer.from(bytes).toString('latin1')}`;
    const value = this.constants.get(key)
      ?? { name: this.graph.constant(`constant_${this.constants.size}`, dtype, shape, bytes), dtype, computed: false };
    this.constants.set(key, value);
    this.values.set(id, value);
  }

  wrote(data: TensorData): void {
    this.written.add(data);
  }

  /** What was neither computed nor written since the recording began is captured. */
  used(data: TensorData, id: number): void {
    let value = this.ofData.get(data);
    if (!value) {
      const known = this.values.get(id);
      value = known && (known.computed || this.written.has(data)) ? known : this.capture(data);
      this.ofData.set(data, value);
    }
    this.values.set(id, value);
  }

  reads(): void {
    throw new Error('compile: the network reads a value of a tensor, which a graph cannot do');
  }

  private capture(data: TensorData): Value {
    const { dtype, shape } = data;
    const name = `weight_${this.captured.length}`;
    this.captured.push({ data, name, dtype, shape });
    return { name, dtype, computed: false };
  }
}
