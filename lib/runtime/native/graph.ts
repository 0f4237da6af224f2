import type * as tf from '@tensorflow/tfjs';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Graph, GraphCompiler } from '../../core/graph.js';
import type { NativeBackend } from './backend.js';
import { GraphDef, type Proto } from './graph_def.js';
import { record, type Captured } from './graph_recorder.js';

let count = 0;

/**
 * Records a function once and gives it to TensorFlow as a SavedModel: then one call runs all of it, on all cores, without JavaScript between.
 * Weights become variables that share the memory of the network's own on a CPU, and lie on the GPU where there is one.
 */
export function graphCompiler(backend: NativeBackend, proto: Proto): GraphCompiler {
  return (body, inputs) => {
    const def = new GraphDef(proto, backend.binding);
    const { inputs: names, output, captured, result } = record(backend, def, body, inputs);
    const ready = addVariables(def, captured, `graph_${count++}`);
    const session = load(backend, def);
    try {
      const feeds = captured.map(({ name }) => `${name}_feed:0`).join(',');
      const [{ id }] = backend.binding.runSavedModel(session, captured.map(weight => weight.id), feeds, `${ready}:0`);
      backend.binding.deleteTensor(id);
    } catch (error) {
      backend.binding.deleteSavedModel(session);
      result.dispose();
      throw error;
    }
    const from = names.map(name => `${name}:0`).join(',');
    const to = output.includes(':') ? output : `${output}:0`;
    const graph: Graph = {
      run: (tensors: tf.Tensor[]) => {
        const [made] = backend.binding.runSavedModel(session, backend.getInputTensorIds(tensors), from, to);
        return backend.createOutputTensor(made);
      },
      dispose: () => backend.binding.deleteSavedModel(session),
    };
    return { graph, result };
  };
}

/** A variable for each weight, and a node that sets them all. Returns that node's name. */
function addVariables(def: GraphDef, captured: readonly Captured[], prefix: string): string {
  const assigned = captured.map(({ name, dtype, shape }) => {
    const feed = def.placeholder(`${name}_feed`, dtype, shape);
    const type = def.type('dtype', dtype);
    def.add(name, 'VarHandleOp', [], [type, def.shape('shape', shape), def.text('shared_name', `${prefix}_${name}`), def.text('container', '')]);
    def.add(`${name}_value`, 'ReadVariableOp', [name], [type]);
    return def.add(`${name}_assign`, 'AssignVariableOp', [name, feed], [type]);
  });
  return def.constant('ready', 3, [], new Uint8Array(4), assigned.map(name => `^${name}`));
}

/** The binding loads graphs from folders only. */
function load({ binding }: NativeBackend, def: GraphDef): number {
  const folder = mkdtempSync(join(tmpdir(), 'tfjs-diffusers-graph-'));
  try {
    writeFileSync(join(folder, 'saved_model.pb'), def.serialize());
    return binding.loadSavedModel(folder, 'serve');
  } finally {
    rmSync(folder, { recursive: true });
  }
}
