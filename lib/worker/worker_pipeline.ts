import * as tf from '@tensorflow/tfjs';
import { proxy } from 'comlink';
import type { StableDiffusionComponents } from '../pipelines/components/components.js';
import type { ModelDescription } from '../pipelines/describe_model.js';
import type { FromPretrainedOptions } from '../pipelines/components/load_components.js';
import { LatentsPreview } from '../pipelines/run/latents_preview.js';
import type { UsualPipeline } from '../pipelines/components/registry.js';
import type { XLWeightedPromptEmbeds, XLWeightedPromptOptions } from '../pipelines/weighted_prompt.js';
import type { Scheduler } from '../schedulers/index.js';
import type { Callback, PipelineDescription } from './host.js';
import { newLuggage, pack, packAndFree, unpack } from './message.js';
import { startWorker, type RunningWorker } from './start_worker.js';

/** The methods of a pipeline, each of which gives a promise. */
type Methods<P> = {
  readonly [Name in keyof P as P[Name] extends (...inputs: never[]) => unknown ? Name : never]:
  P[Name] extends (...inputs: never[]) => Promise<unknown> ? P[Name]
    : P[Name] extends (...inputs: infer Inputs) => infer Result ? (...inputs: Inputs) => Promise<Result> : never;
};

/**
 * A pipeline that works in a thread of its own, so that the calling thread stays responsive. It has the methods of the pipeline's class,
 * with the same options and results: pictures, generators (which go on from where the worker left them), tensors, signals and callbacks
 * come along as copies.
 */
export type WorkerPipeline<P = UsualPipeline> = Omit<Methods<P>, 'dispose'> & {
  /**
   * Another class of pipelines of the same components, in the same worker: `pipe.as('StableDiffusionImg2ImgPipeline')`, or for a task,
   * whatever the family: `pipe.as('AutoPipelineForInpainting')`.
   */
  as<Q = UsualPipeline>(className: string): Promise<WorkerPipeline<Q>>;
  /** Its class, what it runs on, and how many numbers it learned. */
  describe(): Promise<PipelineDescription>;
  /** What can be asked of its model. */
  describeModel(): Promise<ModelDescription>;
  /** A copy of the pipeline's scheduler, for its config. */
  getScheduler(): Promise<Scheduler>;
  /** As the function of that name, in the worker: what `generate` takes in place of a prompt. The tensors are the caller's. */
  encodeWeightedPrompt(prompt: string | string[], options?: XLWeightedPromptOptions): Promise<Partial<XLWeightedPromptEmbeds>>;
  /** A quick look at latents, for callbacks: fitted in the worker, and the caller's. */
  fitLatentsPreview(): Promise<LatentsPreview>;
  /** True in a callback ends the run with that step, and gives what it has come to. */
  set interrupt(interrupt: boolean);
  /** Takes a copy of a scheduler for the pipeline's own. */
  setScheduler(scheduler: Scheduler): Promise<void>;
  /** Ends the worker, whatever it is at, and all pipelines in it. Work that is under way is rejected. */
  dispose(): Promise<void>;
};

/** Options of `createWorkerPipeline`: those of `fromPretrained`, except that the only component is the scheduler, and the class. */
export interface WorkerPipelineOptions extends Omit<FromPretrainedOptions, Exclude<keyof StableDiffusionComponents, 'scheduler'>> {
  /** Whether the model's own safety checker is loaded. */
  safetyChecker?: boolean;
  /** Where text encoders are that do not come with the model; null for Stable Diffusion 3 without T5. */
  textEncoder?: string;
  textEncoder2?: string;
  textEncoder3?: string | null;
  tokenizer3?: string | null;
  /** The class, as in 'StableDiffusionImg2ImgPipeline'; by default the one that the model names. */
  pipeline?: string;
  /** Whether what the pipeline prints is dropped: warnings may quote prompts. */
  quiet?: boolean;
}

/**
 * Loads a pipeline in a worker thread (Node): the program can do other work meanwhile, such as answering requests. A signal ends the work
 * within a step, as without a worker; `dispose` at once.
 * @throws what `fromPretrained` does.
 */
export async function createWorkerPipeline<P = UsualPipeline>(
  source: string | URL, options: WorkerPipelineOptions = {},
): Promise<WorkerPipeline<P>> {
  const { pipeline, quiet, ...others } = options;
  const connection = new Connection(startWorker({ quiet }));
  try {
    return connection.pipeline(await connection.call(0, 'load', [source, pipeline, others]) as number) as WorkerPipeline<P>;
  } catch (error) {
    await connection.end();
    throw error;
  }
}

/** This thread's end. */
class Connection {
  private calls = 0;
  private underWay = 0;
  /** What was set and has perhaps not arrived yet. */
  private told: Promise<unknown> = Promise.resolve();

  constructor(private readonly worker: RunningWorker) {}

  /** The pipeline of that number: every method that is not ours is the worker's. */
  pipeline(number: number): WorkerPipeline<unknown> {
    const own: Record<string, unknown> = {
      as: async (className: string) => this.pipeline(await this.call(number, 'as', [className]) as number),
      fitLatentsPreview: async () => {
        const { coefficients, scaleFactor } = await this.call(number, 'fitLatentsPreview', []) as LatentsPreview;
        return new LatentsPreview(coefficients, scaleFactor);
      },
      dispose: () => this.end(),
      then: undefined, // or `await` would take it for a promise
    };
    const pipe: WorkerPipeline<unknown> = new Proxy(own, {
      get: (_, name) => typeof name === 'symbol' || name in own ? own[name as string]
        : (...inputs: unknown[]) => this.call(number, name, inputs, pipe),
      set: (_, name, value) => {
        if (name !== 'interrupt') throw new TypeError(`${String(name)}: is in the worker, cannot be set; there is setScheduler`);
        this.told = Promise.all([this.told, this.call(number, 'setInterrupt', [value])]).catch(() => undefined); // of an end all calls tell
        return true;
      },
    }) as never;
    return pipe;
  }

  async call(number: number, method: string, inputs: unknown[], pipe?: unknown): Promise<unknown> {
    const { host, ended } = this.worker;
    const luggage = newLuggage();
    const message = pack(inputs, luggage);
    luggage.signals.forEach(signal => signal.throwIfAborted());
    const call = this.calls++;
    const callback: Callback = async (index, given) => {
      const lent = newLuggage();
      const arrived = unpack(given, { luggage: lent, pipeline: pipe, call: () => undefined }) as never[];
      try {
        const answer = await luggage.functions[index](...arrived);
        await this.told;
        return packAndFree(answer);
      } finally {
        tf.dispose(lent.tensors);
      }
    };
    const abort = () => void host.abort(call);
    luggage.signals.forEach(signal => signal.addEventListener('abort', abort));
    this.worker.keepAlive(++this.underWay > 0);
    try {
      const { result, generators } = await Promise.race([host.call(call, number, method, message, proxy(callback)), ended]);
      generators.forEach((state, i) => luggage.generators[i].setState(state));
      return unpack(result, { luggage: newLuggage(), pipeline: pipe, call: () => undefined });
    } catch (error) {
      luggage.signals.forEach(signal => signal.throwIfAborted()); // with the reason itself, which did not travel
      throw error;
    } finally {
      luggage.signals.forEach(signal => signal.removeEventListener('abort', abort));
      this.worker.keepAlive(--this.underWay > 0);
    }
  }

  async end(): Promise<void> {
    await this.worker.terminate();
  }
}
