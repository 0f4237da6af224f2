import * as tf from '@tensorflow/tfjs';

/** What a graph is made of: tensors in, tensors out, and weights that it finds by itself. */
export type GraphBody = (...inputs: tf.Tensor[]) => tf.Tensor;

/** One call in place of thousands: the ops that a body ran, recorded. For inputs of the shapes that it was recorded with. */
export interface Graph {
  run(inputs: tf.Tensor[]): tf.Tensor;
  dispose(): void;
}

/** Runs `body` once, op by op, and records it. */
export type GraphCompiler = (body: GraphBody, inputs: tf.Tensor[]) => { graph: Graph; result: tf.Tensor };

const compilers = new Map<string, GraphCompiler>();

/** Gives a tfjs backend a way to run graphs. */
export function registerGraphCompiler(backend: string, compile: GraphCompiler): void {
  compilers.set(backend, compile);
}

/** Whether the current backend can run graphs. */
export function canCompile(): boolean {
  return compilers.has(tf.getBackend());
}

/** The graphs of one network, by what they compute and the shapes of their inputs; made when first asked for. */
export class GraphCache {
  private readonly graphs = new Map<string, Graph>();

  /** `body(...inputs)`, by a graph where the backend has them. */
  run(name: string, body: GraphBody, inputs: tf.Tensor[]): tf.Tensor {
    const compile = compilers.get(tf.getBackend());
    if (!compile) return tf.tidy(() => body(...inputs));
    const key = `${name} ${JSON.stringify(inputs.map(({ shape, dtype }) => [shape, dtype]))}`;
    const known = this.graphs.get(key);
    if (known) return known.run(inputs);
    const { graph, result } = compile(body, inputs);
    this.graphs.set(key, graph);
    return result;
  }

  get isEmpty(): boolean {
    return this.graphs.size === 0;
  }

  /** Forgets all graphs: what they were made of has changed. */
  clear(): void {
    this.graphs.forEach(graph => graph.dispose());
    this.graphs.clear();
  }
}
