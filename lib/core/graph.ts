import * as tf from '@tensorflow/tfjs';
import { BackendAbility } from './backend_ability.js';

/** What a graph is made of: tensors in, tensors out, and weights that it finds by itself. */
export type GraphBody = (...inputs: tf.Tensor[]) => tf.Tensor[];

export interface GraphOptions {
  /** Whether XLA makes machine code of a graph, on another thread, while it runs as it is. By default on GPUs. */
  xla?: boolean;
}

/** One call in place of thousands: the ops that a body ran, recorded. For inputs of the shapes that it was recorded with. */
export interface Graph {
  run(inputs: tf.Tensor[]): tf.Tensor[];
  /** When it runs as fast as it can: when machine code is made of it, or at once. Rejected with the reason why that cannot be; it runs all the same. */
  readonly compiled: Promise<void>;
  dispose(): void;
}

/** Runs `body` once, op by op, and records it. */
export type GraphCompiler = (body: GraphBody, inputs: tf.Tensor[], options: GraphOptions) => { graph: Graph; results: tf.Tensor[] };

/** What some ops of a graph compute together, for which there may be something better than these ops. */
export interface NotedAttention {
  /** `[batch, queries, heads * headSize]`, not scaled. */
  readonly query: tf.Tensor;
  /** `[batch, keys, heads * headSize]` */
  readonly key: tf.Tensor;
  readonly value: tf.Tensor;
  readonly heads: number;
}

let listener: ((attention: NotedAttention, result: tf.Tensor) => void) | undefined;

/** Says that `result` is attention without a mask, to whoever records. */
export function noteAttention(attention: NotedAttention, result: tf.Tensor): void {
  listener?.(attention, result);
}

/** Hears of all attention during `work`. */
export function listenToAttention<T>(heard: (attention: NotedAttention, result: tf.Tensor) => void, work: () => T): T {
  listener = heard;
  try {
    return work();
  } finally {
    listener = undefined;
  }
}

/** How a backend runs graphs. */
export const graphCompilers = new BackendAbility<GraphCompiler>();

/** Whether the current backend can run graphs. */
export function canCompile(): boolean {
  return graphCompilers.current !== undefined;
}

/** The graphs of one network, by what they compute and the shapes of their inputs; made when first asked for. */
export class GraphCache {
  private readonly graphs = new Map<string, Graph>();

  constructor(private readonly options: GraphOptions = {}) {}

  /** `body(...inputs)`, by a graph where the backend has them. */
  run(name: string, body: GraphBody, inputs: tf.Tensor[]): tf.Tensor[] {
    const compile = graphCompilers.current;
    if (!compile) return tf.tidy(() => body(...inputs));
    const key = `${name} ${JSON.stringify(inputs.map(({ shape, dtype }) => [shape, dtype]))}`;
    const known = this.graphs.get(key);
    if (known) return known.run(inputs);
    const { graph, results } = compile(body, inputs, this.options);
    this.graphs.set(key, graph);
    return results;
  }

  get isEmpty(): boolean {
    return this.graphs.size === 0;
  }

  /** When all of them run as fast as they can. */
  async compiled(): Promise<void> {
    await Promise.all([...this.graphs.values()].map(graph => graph.compiled));
  }

  /** Forgets all graphs: what they were made of has changed. */
  clear(): void {
    this.graphs.forEach(graph => graph.dispose());
    this.graphs.clear();
  }
}
