import type * as tf from '@tensorflow/tfjs';
import { createHash } from 'node:crypto';
import type { Graph, GraphCompiler } from '../../core/graph.js';
import { Ops, type Metadata, type NativeBackend } from './backend.js';
import { fuseAttention } from './fused_attention.js';
import { GraphDef, type Proto } from './graph_def.js';
import { record } from './graph_recorder.js';
import type { XlaCache } from './xla_cache.js';

/**
 * Records what a network does and makes a function of it in TensorFlow's eager context: one call runs it, without JavaScript between. Weights are
 * inputs, by handle, so that there is no second copy of them. A function has its name from what it does: networks alike share it.
 */
export function graphCompiler(backend: NativeBackend, proto: Proto, cache: XlaCache): GraphCompiler {
  const functions = new Functions(backend, cache);
  const onGpu = backend.binding.isUsingGpuDevice();
  const ops = new Ops(backend);

  /** Handles of their own of the same values, below tfjs, which does not count them. */
  function hold(tensors: tf.Tensor[]): number[] {
    return backend.getInputTensorIds(tensors).map((id, i) => ops.reshape(id, backend.tensorMap.get(tensors[i].dataId).dtype, tensors[i].shape));
  }
  return (body, inputs, { xla = onGpu }) => {
    const def = new GraphDef(proto, backend.binding);
    const recording = record(backend, def, body, inputs);
    const { outputs, captured, results } = recording;
    const names = [...recording.inputs, ...captured.map(({ name, dtype, shape }) => def.placeholder(name, dtype, shape))];
    const weights = captured.map(({ id }) => id);
    const idsOf = (tensors: tf.Tensor[]) => Int32Array.from([...backend.getInputTensorIds(tensors), ...weights]);
    const add = (instead?: Map<string, string>) => {
      const graph = def.serialize(names, outputs, instead);
      return functions.add(graph.bytes, names, graph.outputs);
    };
    const used: TensorFunction[] = [];
    let called: TensorFunction;
    try {
      used.push(called = add());
    } catch (error) {
      results.forEach(result => result.dispose());
      throw error;
    }

    /** With fused attention if XLA takes that, else without. */
    async function compile(): Promise<void> {
      const held = hold(inputs); // their owner may dispose them meanwhile
      const ids = Int32Array.from([...held, ...weights]);
      try {
        const fused = onGpu ? fuseAttention(def, recording.attentions) : new Map<string, string>();
        if (fused.size > 0) {
          const other = add(fused);
          used.push(other);
          if (await functions.compile(other, ids).then(() => true, () => false)) {
            called = other;
            return;
          }
        }
        await functions.compile(called, ids);
      } finally {
        held.forEach(id => backend.binding.deleteTensor(id));
      }
    }
    const graph: Graph = {
      run: tensors => functions.run(called, idsOf(tensors)).map(made => backend.createOutputTensor(made)),
      compiled: xla ? compile() : Promise.resolve(),
      dispose: () => used.forEach(each => functions.remove(each)),
    };
    graph.compiled.catch(() => {}); // who waits for it hears of it
    return { graph, results };
  };
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

/** The functions of TensorFlow's context. */
class Functions {
  private readonly known = new Map<string, TensorFunction>();

  constructor(private readonly backend: NativeBackend, private readonly cache: XlaCache) {}

  add(graph: Uint8Array, inputs: readonly string[], outputs: readonly string[]): TensorFunction {
    const name = `graph_${createHash('sha256').update(graph).update(outputs.join()).digest('hex').slice(0, 32)}`;
    const known = this.known.get(name);
    if (known) {
      known.users++;
      return known;
    }
    const define = (name: string) => this.backend.binding.addFunction(name, graph, inputs, outputs);
    define(name);
    const made = { name, outputs: outputs.length, define, users: 1, isCompiled: false };
    this.known.set(name, made);
    return made;
  }

  run({ name, outputs, isCompiled }: TensorFunction, inputs: Int32Array): Metadata[] {
    return this.backend.binding.runFunction(name, inputs, outputs, isCompiled);
  }

  /** Makes machine code of a function by XLA, once; what lies on disk is read. */
  compile(called: TensorFunction, inputs: Int32Array): Promise<void> {
    called.compiled ??= this.compileOnce(called, inputs);
    return called.compiled;
  }

  private async compileOnce(called: TensorFunction, inputs: Int32Array): Promise<void> {
    const compile = (name: string) => this.backend.binding.compileFunction(name, inputs, called.outputs);
    try {
      await compile(called.name);
    } catch (error) {
      if (!this.cache.mend(error as Error)) throw error;
      const again = `${called.name}_again`; // TensorFlow remembers that the other one failed
      called.define(again);
      this.backend.binding.removeFunction(called.name);
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
      this.backend.binding.removeFunction(called.name);
    };
    if (called.compiled && !called.isCompiled) called.compiled.then(remove, remove);
    else remove();
  }
}
