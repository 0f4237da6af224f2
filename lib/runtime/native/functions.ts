import type * as tf from '@tensorflow/tfjs';
import { createHash } from 'node:crypto';
import type { Graph, GraphRecorder, Weights } from '../../core/graph.js';
import type { Metadata } from './binding.js';
import type { EagerContext } from './eager_context.js';
import { fuseAttention } from './fused_attention.js';
import { GraphDef, type Proto } from './graph_def.js';
import type { NativeBackend } from './native_backend.js';
import { record, type Recording } from './recording.js';
import { Scope } from './scope.js';
import { same } from './tensor_data.js';
import type { XlaCache } from './xla_cache.js';

/**
 * Records what a network does and makes a function of it in TensorFlow's eager context: one call runs it, without JavaScript between.
 * Weights are inputs, by handle, and have no second copy. A function has its name from what it does: networks alike share it.
 */
export function graphRecorder(backend: NativeBackend, proto: Proto, cache: XlaCache): GraphRecorder {
  const functions = new Functions(backend.context, cache);
  return (body, inputs, weights, { xla = backend.onGpu }) => {
    const def = new GraphDef(proto);
    const recording = record(backend, def, body, inputs, xla);
    try {
      return { graph: new FunctionGraph(backend, functions, def, recording, inputs, weights, xla), results: recording.results };
    } catch (error) {
      recording.results.forEach(result => result.dispose());
      throw error;
    }
  };
}

/** A recording that runs as a function, and as machine code when there is some. */
class FunctionGraph implements Graph {
  readonly compiled: Promise<void>;
  /** Names of tensors of the graph: what is put in, weights last. */
  private readonly inputs: string[];
  /** Of what was captured, which of the weights it is. What is none stays where it is, as long as the network does. */
  private readonly weightNames: Array<string | undefined>;
  /** The weights that were last seen to fit. */
  private fitting: Weights;
  private readonly used: TensorFunction[] = [];
  private called: TensorFunction;

  constructor(
    private readonly backend: NativeBackend, private readonly functions: Functions,
    private readonly def: GraphDef, private readonly recording: Recording,
    inputs: tf.Tensor[], weights: Weights, xla: boolean,
  ) {
    const { captured } = recording;
    const names = new Map(Object.entries(weights).map(([name, { dataId }]) => [dataId, name]));
    this.weightNames = captured.map(({ data }) => names.get(data));
    this.fitting = weights;
    this.inputs = [...recording.inputs, ...captured.map(({ name, dtype, shape }) => def.placeholder(name, dtype, shape))];
    this.called = this.add();
    this.compiled = xla ? this.compile(inputs, weights) : Promise.resolve();
    this.compiled.catch(() => {}); // who waits for it hears of it
  }

  fits(weights: Weights): boolean {
    if (weights === this.fitting) return true;
    const fit = Object.keys(weights).join() === Object.keys(this.fitting).join() && this.recording.captured.every(({ dtype, shape }, i) => {
      const name = this.weightNames[i];
      if (name === undefined) return true;
      const data = this.backend.dataOf(weights[name].dataId);
      return data.dtype === dtype && same(data.shape, shape);
    });
    if (fit) this.fitting = weights;
    return fit;
  }

  run(inputs: tf.Tensor[], weights: Weights): tf.Tensor[] {
    const ids = inputs.map(input => this.backend.lend(input).id);
    return this.functions.run(this.called, this.withWeights(ids, weights)).map(made => this.backend.make(made));
  }

  dispose(): void {
    this.used.forEach(each => this.functions.remove(each));
  }

  private withWeights(ids: number[], weights: Weights): Int32Array {
    const { recording: { captured }, weightNames, backend } = this;
    const weightIds = captured.map(({ data }, i) => {
      const name = weightNames[i];
      return name === undefined ? data.id : backend.lendAsItLies(weights[name]).id;
    });
    return Int32Array.from([...ids, ...weightIds]);
  }

  private add(instead?: Map<string, string>): TensorFunction {
    const graph = this.def.serialize(this.inputs, this.recording.outputs, instead);
    const added = this.functions.add(graph.bytes, this.inputs, graph.outputs);
    this.used.push(added);
    return added;
  }

  /** With fused attention if XLA takes that, else without. */
  private async compile(inputs: tf.Tensor[], weights: Weights): Promise<void> {
    const { backend, functions, def, recording } = this;
    // Handles of their own of the same values, below tfjs, which does not count them: their owner may dispose the inputs meanwhile.
    const held = inputs.map(input => Scope.run(backend.context, scope => scope.reshape(backend.lendAsItLies(input), input.shape)));
    const ids = this.withWeights(held.map(({ id }) => id), weights);
    try {
      const fused = backend.onGpu ? fuseAttention(def, recording.attentions) : new Map<string, string>();
      if (fused.size > 0) {
        const other = this.add(fused);
        if (await functions.compile(other, ids).then(() => true, () => false)) {
          this.called = other;
          return;
        }
      }
      await functions.compile(this.called, ids);
    } finally {
      held.forEach(({ id }) => backend.context.free(id));
    }
  }
}

interface TensorFunction {
  name: string;
  readonly outputs: number;
  /** Adds it to TensorFlow's context under a name. */
  readonly define: (name: string) => void;
  /** How many graphs call it. */
  users: number;
  isCompiled: boolean;
  compiled?: Promise<void>;
}

/** The functions of an eager context. */
class Functions {
  private readonly known = new Map<string, TensorFunction>();

  constructor(private readonly context: EagerContext, private readonly cache: XlaCache) {}

  add(graph: Uint8Array, inputs: readonly string[], outputs: readonly string[]): TensorFunction {
    const name = `graph_${createHash('sha256').update(graph).update(outputs.join()).digest('hex').slice(0, 32)}`;
    const known = this.known.get(name);
    if (known) {
      known.users++;
      return known;
    }
    const define = (name: string) => this.context.binding.addFunction(name, graph, inputs, outputs);
    define(name);
    const made = { name, outputs: outputs.length, define, users: 1, isCompiled: false };
    this.known.set(name, made);
    return made;
  }

  run({ name, outputs, isCompiled }: TensorFunction, inputs: Int32Array): Metadata[] {
    return this.context.call(name, inputs, outputs, isCompiled);
  }

  /** Makes machine code of a function by XLA, once; what lies on disk is read. */
  compile(called: TensorFunction, inputs: Int32Array): Promise<void> {
    called.compiled ??= this.compileOnce(called, inputs);
    return called.compiled;
  }

  private async compileOnce(called: TensorFunction, inputs: Int32Array): Promise<void> {
    const compile = (name: string) => this.context.binding.compileFunction(name, inputs, called.outputs);
    try {
      await compile(called.name);
    } catch (error) {
      if (!this.cache.mend(error as Error)) throw error;
      const again = `${called.name}_again`; // TensorFlow remembers that the other one failed
      called.define(again);
      this.context.binding.removeFunction(called.name);
      called.name = again;
      await compile(again);
    }
    called.isCompiled = true;
  }

  /** A function that is being compiled stays until that is done. */
  remove(called: TensorFunction): void {
    if (--called.users > 0) return;
    const remove = () => {
      if (called.users > 0) return; // taken up again meanwhile
      this.known.forEach((each, key) => { if (each === called) this.known.delete(key); });
      this.context.binding.removeFunction(called.name);
    };
    if (called.compiled && !called.isCompiled) called.compiled.then(remove, remove);
    else remove();
  }
}
