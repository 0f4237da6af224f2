import * as tf from '@tensorflow/tfjs';
import { createHash } from 'node:crypto';
import type { Graph, GraphCompiler } from '../../core/graph.js';
import type { Binding, NativeBackend } from './backend.js';
import { fuseAttention } from './fused_attention.js';
import { GraphDef, type Proto } from './graph_def.js';
import { record } from './graph_recorder.js';
import type { XlaCache } from './xla_cache.js';

/**
 * Records what a network does and makes a function of it in TensorFlow's eager context: one call runs it, without JavaScript between. Weights are
 * inputs, by handle, so that there is no second copy of them. A function has its name from what it does: networks alike share it.
 */
export function graphCompiler(backend: NativeBackend, proto: Proto, cache: XlaCache): GraphCompiler {
  const { binding } = backend;
  const fusesAttention = binding.isUsingGpuDevice();
  const functions = new Functions(binding, cache);
  return (body, inputs, { xla = binding.isUsingGpuDevice() }) => {
    const def = new GraphDef(proto, binding);
    const recording = record(backend, def, body, inputs);
    const { outputs, captured, results } = recording;
    const names = [...recording.inputs, ...captured.map(({ name, dtype, shape }) => def.placeholder(name, dtype, shape))];
    const weights = captured.map(({ id }) => id);
    const idsOf = (tensors: tf.Tensor[]) => Int32Array.from([...backend.getInputTensorIds(tensors), ...weights]);
    const add = (instead?: Map<string, string>) => functions.add(def.serialize(names, outputs, instead), names, outputs);
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
      const fused = fusesAttention ? fuseAttention(def, recording.attentions) : new Map<string, string>();
      if (fused.size === 0) return functions.compile(called, idsOf(inputs));
      const other = add(fused);
      used.push(other);
      const kept = inputs.map(input => tf.keep(input.clone())); // their owner may dispose them meanwhile
      try {
        await functions.compile(other, idsOf(kept));
        called = other;
      } catch {
        await functions.compile(called, idsOf(kept));
      } finally {
        tf.dispose(kept);
      }
    }
    const graph: Graph = {
      run: tensors => binding.runFunction(called.name, idsOf(tensors), outputs.length, called.isCompiled).map(made => backend.createOutputTensor(made)),
      compiled: xla ? compile() : Promise.resolve(),
      dispose: () => used.forEach(each => functions.remove(each)),
    };
    graph.compiled.catch(() => {}); // who waits for it hears of it
    return { graph, results };
  };
}

interface TensorFunction {
  readonly name: string;
  readonly outputs: number;
  /** How many graphs call it. */
  users: number;
  isCompiled: boolean;
  compiled?: Promise<void>;
}

/** The functions of TensorFlow's context. */
class Functions {
  private readonly byName = new Map<string, TensorFunction>();

  constructor(private readonly binding: Binding, private readonly cache: XlaCache) {}

  add(graph: Uint8Array, inputs: readonly string[], outputs: readonly string[]): TensorFunction {
    const name = `graph_${createHash('sha256').update(graph).update(outputs.join()).digest('hex').slice(0, 32)}`;
    const known = this.byName.get(name);
    if (known) {
      known.users++;
      return known;
    }
    this.binding.addFunction(name, graph, inputs, outputs);
    const made = { name, outputs: outputs.length, users: 1, isCompiled: false };
    this.byName.set(name, made);
    return made;
  }

  /** Makes machine code of a function by XLA, once; what lies on disk is read. */
  compile(called: TensorFunction, inputs: Int32Array): Promise<void> {
    called.compiled ??= this.cache.compile(called.name, () => this.binding.compileFunction(called.name, inputs, called.outputs))
      .then(() => { called.isCompiled = true; });
    return called.compiled;
  }

  /** A function that is being compiled stays until that is done. */
  remove(called: TensorFunction): void {
    if (--called.users > 0) return;
    const remove = () => {
      if (called.users > 0) return; // taken up again meanwhile
      this.byName.delete(called.name);
      this.binding.removeFunction(called.name);
    };
    if (called.compiled && !called.isCompiled) called.compiled.then(remove, remove);
    else remove();
  }
}
