import * as tf from '@tensorflow/tfjs';
import { BackendAbility } from './backend_ability.js';

/** What a graph is made of: tensors in, tensors out, and weights that it finds by itself. */
export type GraphBody = (...inputs: tf.Tensor[]) => tf.Tensor[];

/** Tensors that a body uses and that may come and go, by name. */
export type Weights = Readonly<Record<string, tf.Tensor>>;

/** Options of `Model.compile`. */
export interface GraphOptions {
  /** Whether XLA makes machine code of a graph, on another thread, while the graph already runs without it. By default on GPUs. */
  xla?: boolean;
}

/**
 * One call in place of thousands: the ops that a body ran, recorded. For inputs of the shapes that it was recorded with, and for the
 * weights that it was recorded with or others in their place.
 */
export interface Graph {
  run(inputs: tf.Tensor[], weights: Weights): tf.Tensor[];
  /** Whether these weights have the names, types and shapes that it was recorded with. */
  fits(weights: Weights): boolean;
  /** When it runs as fast as it can: once it is machine code, or at once. Rejected with why that cannot be; it runs all the same. */
  readonly compiled: Promise<void>;
  dispose(): void;
}

/**
 * Runs `body` once, op by op, and records it. Of the tensors from before that it uses those among `weights` are given anew to each run; the
 * others must stay.
 */
export type GraphRecorder = (
  body: GraphBody, inputs: tf.Tensor[], weights: Weights, options: GraphOptions,
) => { graph: Graph; results: tf.Tensor[] };

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

/** A container of the same structure, with `to(tensor)` in the place of each tensor. */
export function mapTensors(container: unknown, to: (tensor: tf.Tensor) => unknown): unknown {
  if (container instanceof tf.Tensor) return to(container);
  if (Array.isArray(container)) return container.map(each => mapTensors(each, to));
  if (typeof container !== 'object' || container === null) return container;
  return Object.fromEntries(Object.entries(container).map(([key, each]) => [key, mapTensors(each, to)]));
}

/** How a backend makes graphs. */
export const graphRecorders = new BackendAbility<GraphRecorder>();

/** Whether the current backend can run graphs. */
export function canCompile(): boolean {
  return graphRecorders.current !== undefined;
}

/** The graphs of one network, by what they compute and the shapes of their inputs; made when first asked for. */
export class GraphCache {
  private readonly graphs = new Map<string, Graph>();
  private weights?: Weights;

  /** @param findWeights gives the weights, when they are needed. */
  constructor(private readonly options: GraphOptions = {}, private readonly findWeights: () => Weights = () => ({})) {}

  /** `body(...inputs)`, by a graph where the backend has them. */
  run(name: string, body: GraphBody, inputs: tf.Tensor[]): tf.Tensor[] {
    const record = graphRecorders.current;
    if (!record) return tf.tidy(() => body(...inputs));
    const weights = this.weights ??= this.findWeights();
    const key = `${name} ${JSON.stringify(inputs.map(({ shape, dtype }) => [shape, dtype]))}`;
    const known = this.graphs.get(key);
    if (known?.fits(weights)) return known.run(inputs, weights);
    known?.dispose();
    this.graphs.delete(key);
    const { graph, results } = record(body, inputs, weights, this.options);
    this.graphs.set(key, graph);
    return results;
  }

  /** Weights are about to be freed or replaced: the graphs ask for them when they run again, and those that fit them stay. */
  forgetWeights(): void {
    this.weights = undefined;
  }

  /** When all of them run as fast as they can. */
  async compiled(): Promise<void> {
    await Promise.all([...this.graphs.values()].map(graph => graph.compiled));
  }

  /** Forgets all graphs: what they were made of has changed. */
  clear(): void {
    this.graphs.forEach(graph => graph.dispose());
    this.graphs.clear();
    this.forgetWeights();
  }
}
