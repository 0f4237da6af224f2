import * as tf from '@tensorflow/tfjs';
import { releaseProxy, type ProxyMarked, type Remote } from 'comlink';
import type { GeneratorState } from '../core/random.js';
import { describeModel } from '../pipelines/describe_model.js';
import {
  AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image, DiffusionPipeline,
} from '../pipelines/index.js';
import { LatentsPreview } from '../pipelines/run/latents_preview.js';
import { makePipeline } from '../pipelines/components/make_pipeline.js';
import { pipelineClass, pipelineClasses, type UsualPipeline } from '../pipelines/components/registry.js';
import { weightedPromptFor, type WeightedPromptOptions } from '../pipelines/weighted_prompt.js';
import type { Device } from '../runtime/devices.js';
import type { Scheduler } from '../schedulers/index.js';
import { newLuggage, pack, packAndFree, unpack } from './message.js';

/** One of the caller's functions, by its place: takes packed inputs, gives a packed result. */
export type Callback = (index: number, inputs: unknown) => Promise<unknown>;

/** What came of a call: packed, and where its generators are now. */
export interface Reply {
  readonly result: unknown;
  readonly generators: readonly GeneratorState[];
}

/** What a caller can know of a pipeline. */
export interface PipelineDescription {
  readonly className: string;
  readonly device?: Device;
  readonly numParameters: number;
  readonly numBytes: number;
  /** What `generate` takes where its options say nothing. */
  readonly defaults?: { readonly numInferenceSteps: number; readonly guidanceScale: number };
}

interface Made extends DiffusionPipeline {
  scheduler: Scheduler;
}

const AUTO_PIPELINES = { AutoPipelineForText2Image, AutoPipelineForImage2Image, AutoPipelineForInpainting };

/** The worker's end: pipelines by number, of which the first is loaded and the others are made of its components. */
export class PipelineHost {
  private readonly pipelines: Made[] = [];
  private readonly calls = new Map<number, AbortController>();

  /**
   * Calls a method of a pipeline, or one of ours.
   * @param call its number, to abort it by.
   */
  async call(call: number, pipeline: number, method: string, inputs: unknown, callback: Callback & ProxyMarked): Promise<Reply> {
    const controller = new AbortController();
    this.calls.set(call, controller);
    const luggage = newLuggage();
    const answers: Array<Promise<unknown>> = []; // also of progress, which nobody awaits
    const receiver = {
      luggage, pipeline: undefined, signal: controller.signal,
      call: (index: number, given: unknown[]) => {
        const answer = callback(index, pack(given, newLuggage())).then(packed => unpack(packed, { ...receiver, luggage: newLuggage() }));
        answers.push(answer);
        answer.catch(() => {});
        return answer;
      },
    };
    try {
      const result = await this.run(pipeline, method, unpack(inputs, receiver) as unknown[]);
      await Promise.all(answers);
      const packed = packAndFree(result);
      return { result: packed, generators: luggage.generators.map(generator => generator.getState()) };
    } finally {
      this.calls.delete(call);
      tf.dispose(luggage.tensors);
      (callback as unknown as Remote<Callback>)[releaseProxy]();
    }
  }

  abort(call: number): void {
    this.calls.get(call)?.abort();
  }

  private async run(number: number, method: string, inputs: unknown[]): Promise<unknown> {
    if (method === 'load') return this.load(...inputs as [string, string | undefined, object]);
    const pipe = this.pipelines[number];
    switch (method) {
      case 'as': return this.keep(as(pipe, inputs[0]));
      case 'encodeWeightedPrompt': return weightedPromptFor(pipe as UsualPipeline, ...inputs as [string, WeightedPromptOptions]);
      case 'fitLatentsPreview': return fitLatentsPreview(pipe as UsualPipeline);
      case 'describe': return describe(pipe);
      case 'describeModel': return describeModel(pipe as UsualPipeline);
      case 'setInterrupt': return void (pipe.interrupt = inputs[0] === true);
      case 'getScheduler': return pipe.scheduler;
      case 'setScheduler': return void (pipe.scheduler = inputs[0] as Scheduler);
    }
    const { [method as 'dispose']: found } = pipe;
    if (typeof found !== 'function') throw new TypeError(`${pipe.constructor.name}: has no method ${method}`);
    return await found.apply(pipe, inputs as []);
  }

  private async load(source: string, className: string | undefined, options: object): Promise<number> {
    const Pipeline = className === undefined ? DiffusionPipeline : loadable(className);
    return this.keep(await Pipeline.fromPretrained(source, options) as Made);
  }

  private keep(pipe: Made): number {
    return this.pipelines.push(pipe) - 1;
  }
}

function describe(pipe: DiffusionPipeline): PipelineDescription {
  const [className] = Object.entries(pipelineClasses).find(([, Pipeline]) => pipe.constructor === Pipeline) ?? [pipe.constructor.name];
  const { device, numParameters, numBytes, defaults } = pipe as DiffusionPipeline & Partial<Pick<UsualPipeline, 'defaults'>>;
  return { className, device, numParameters, numBytes, defaults };
}

function as(pipe: Made, className: unknown): Made {
  const { [className as 'AutoPipelineForText2Image']: auto } = AUTO_PIPELINES;
  return auto ? auto.fromPipe(pipe) : makePipeline(pipelineClass(className, 'as'), pipe.components) as Made;
}

async function fitLatentsPreview({ vae }: UsualPipeline): Promise<Pick<LatentsPreview, 'coefficients' | 'scaleFactor'>> {
  const { coefficients, scaleFactor } = await LatentsPreview.fit(vae);
  return { coefficients, scaleFactor };
}

/** A class of pipelines, which has what the base class has. @throws RangeError for a name that is none. */
function loadable(className: string): typeof DiffusionPipeline {
  return pipelineClass(className, 'pipeline') as unknown as typeof DiffusionPipeline;
}
