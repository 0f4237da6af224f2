/**
 * `npm run bench -- overhead`: how much of a denoising step of the bundled model is not arithmetic, on the native CPU backend, op by op and compiled.
 * Overhead is what passes outside TensorFlow (JavaScript), and inside it what an op costs that has hardly anything to compute, for every op.
 * Exits with 1 if the compiled step's is above 15%.
 */
import * as tf from '@tensorflow/tfjs';
import { GraphCache } from '../lib/core/graph.js';
import { DiffusionPipeline, Generator, type StableDiffusionPipeline } from '../lib/index.js';
import type { Binding } from '../lib/runtime/native/binding.js';
import type { NativeBackend } from '../lib/runtime/native/native_backend.js';
import { table } from './report.js';

const STEPS = 20;
const PICTURES = 3;
const CHAIN = 1000;
const LIMIT = 0.15;

/** What passed in TensorFlow since the last look, in milliseconds, and how many ops and graphs ran. */
class Watch {
  private milliseconds = 0;
  private ops = 0;

  constructor({ context }: NativeBackend) {
    const { binding } = context;
    const timed = <K extends 'executeOp' | 'runOp' | 'runFunction' | 'createTensor' | 'deleteTensor'>(name: K, ops: number) => ({
      value: (...inputs: unknown[]) => {
        const start = performance.now();
        try {
          return (binding[name] as (...inputs: unknown[]) => unknown)(...inputs);
        } finally {
          this.milliseconds += performance.now() - start;
          this.ops += ops;
        }
      },
    });
    context.binding = Object.create(binding, {
      executeOp: timed('executeOp', 1), runOp: timed('runOp', 1), runFunction: timed('runFunction', 0),
      createTensor: timed('createTensor', 0), deleteTensor: timed('deleteTensor', 0),
    }) as Binding;
  }

  take(): { milliseconds: number; ops: number } {
    const { milliseconds, ops } = this;
    this.milliseconds = this.ops = 0;
    return { milliseconds, ops };
  }
}

await tf.ready();
const pipe = await DiffusionPipeline.fromPretrained('models/shapes', { device: 'cpu' });
pipe.setProgressBarConfig({ disable: true });
const backend = tf.backend() as NativeBackend;
const watch = new Watch(backend);
const ahead = await steps(pipe);
backend.context.runAhead(false); // to tell apart what passes in JavaScript and in TensorFlow
const eager = await steps(pipe);
pipe.compile();
await steps(pipe, 1); // records
const compiled = await steps(pipe);
pipe.dispose();

const x = tf.tensor1d([0.5]);
const chain = (start: tf.Tensor) => Array.from({ length: CHAIN }).reduce<tf.Tensor>(last => tf.squaredDifference(last, x), start); // fuses with nothing
const graphs = new GraphCache();
tf.dispose(graphs.run('chain', x => [chain(x)], [x])); // records
const perOp = { eager: perTinyOp(() => tf.tidy(() => chain(x))), compiled: perTinyOp(() => graphs.run('chain', x => [chain(x)], [x])[0]) };

const rows = [
  row('op by op, in turn', eager, eager.ops * perOp.eager),
  row('compiled', compiled, (eager.ops - compiled.ops) * perOp.compiled + compiled.ops * perOp.eager), // the graph has the ops that are not run one by one
];
const head = ['step', 'ms', 'JavaScript ms', 'TensorFlow ms', 'of it dispatch ms', 'overhead'];
console.log(table(head, [['op by op, JavaScript ahead', ahead.milliseconds.toFixed(1), '', '', '', ''], ...rows.map(({ cells }) => cells)]));
console.log(`${eager.ops} ops; a tiny one takes ${(1000 * perOp.eager).toFixed(1)} us by itself and ${(1000 * perOp.compiled).toFixed(1)} us in a graph`);
if (rows[1].overhead > LIMIT) {
  console.error(`overhead of the compiled step: ${(100 * rows[1].overhead).toFixed(0)}%, at most ${100 * LIMIT}% is wanted`);
  process.exitCode = 1;
}

interface Step {
  milliseconds: number;
  inTensorflow: number;
  ops: number;
}

/** The fastest step of some pictures, which others that share the machine delayed least, without each one's first. */
async function steps(pipeline: StableDiffusionPipeline, pictures = PICTURES): Promise<Step> {
  const found: Step[] = [];
  for (let picture = 0; picture < pictures; picture++) {
    let start = 0;
    await pipeline.generate('a red circle on a blue background', {
      numInferenceSteps: STEPS, generator: new Generator().manualSeed(picture), outputType: 'tensor',
      callbackOnStepEnd: (_, step) => {
        const now = performance.now();
        const { milliseconds, ops } = watch.take();
        if (step > 0) found.push({ milliseconds: now - start, inTensorflow: milliseconds, ops });
        start = performance.now();
      },
    }).then(({ images }) => (images as unknown as tf.Tensor).dispose());
  }
  return found.reduce((best, step) => step.milliseconds < best.milliseconds ? step : best);
}

/** Milliseconds in TensorFlow of an op that has one number to compute. */
function perTinyOp(run: () => tf.Tensor): number {
  return Math.min(...Array.from({ length: 21 }, () => {
    watch.take();
    run().dispose();
    return watch.take().milliseconds / CHAIN;
  }));
}

function row(name: string, { milliseconds, inTensorflow }: Step, dispatch: number): { cells: string[]; overhead: number } {
  const outside = milliseconds - inTensorflow;
  const overhead = (outside + dispatch) / milliseconds;
  return { cells: [name, ...[milliseconds, outside, inTensorflow, dispatch].map(value => value.toFixed(1)), `${(100 * overhead).toFixed(0)}%`], overhead };
}
