import type { InpaintingPipeline } from '../pipelines/auto_pipeline.js';
import type { ModelDescription, Task } from '../pipelines/describe_model.js';
import type { LatentsPreview } from '../pipelines/run/latents_preview.js';
import { schedulerClass, type Scheduler } from '../schedulers/index.js';
import { createWorkerPipeline, type WorkerPipeline, type WorkerPipelineOptions } from '../worker/worker_pipeline.js';
import { OfferError } from './errors.js';
import type { PictureRequest } from './picture_request.js';

/** What the operator offers, by the names that requests use. */
export interface ModelPoolOptions {
  /** Where each model is: what `fromPretrained` takes. */
  readonly models: Readonly<Record<string, string>>;
  /** Where each LoRA is. */
  readonly loras?: Readonly<Record<string, string>>;
  readonly load?: Omit<WorkerPipelineOptions, 'pipeline' | 'progressCallback' | 'signal'>;
  /** Bytes that the weights of all models in memory may take together; by default one model is in memory at a time. */
  readonly maxMemory?: number;
}

/** Any task's pipeline, as far as its task takes the options. */
export type Drawing = WorkerPipeline<InpaintingPipeline>;

const TASKS: Readonly<Record<Task, string>> = {
  text: 'AutoPipelineForText2Image', image: 'AutoPipelineForImage2Image', mask: 'AutoPipelineForInpainting',
};

/** A model in memory, in a worker of its own. */
export class LoadedModel {
  private readonly tasks = new Map<string, Promise<Drawing>>();
  private readonly known = new Set<string>();
  private preview?: Promise<LatentsPreview>;

  private constructor(
    private readonly pipe: WorkerPipeline, private readonly scheduler: Scheduler, private readonly loras: Readonly<Record<string, string>>,
    readonly description: ModelDescription,
    /** Of its weights. */
    readonly bytes: number,
    /** What it runs on. */
    readonly device: string | undefined,
    /** Whether a safety checker looks at pictures when they are done: nobody is to see them before. */
    readonly checksPictures: boolean,
  ) {}

  static async load(source: string, { load, loras = {} }: ModelPoolOptions): Promise<LoadedModel> {
    const pipe = await createWorkerPipeline(source, { ...load, quiet: true }); // it may quote prompts
    await pipe.setProgressBarConfig({ disable: true });
    const { device, numBytes } = await pipe.describe();
    const description = await pipe.describeModel();
    return new LoadedModel(pipe, await pipe.getScheduler(), loras, description, numBytes, device, load?.safetyChecker === true);
  }

  /** Steps where a request says none. */
  get steps(): number { return this.description.numInferenceSteps; }

  /** The pipeline for what a request asks for, with its scheduler and its LoRAs, and no other. */
  async pipelineFor({ image, mask, scheduler, schedulerOptions, loras = [] }: PictureRequest): Promise<Drawing> {
    const pipe = await this.task(TASKS[mask ? 'mask' : image ? 'image' : 'text']);
    const { config, constructor } = this.scheduler;
    const { className } = constructor as typeof Scheduler;
    await pipe.setScheduler(schedulerClass(scheduler ?? className).fromConfig(config, schedulerOptions));
    await this.wear(pipe, loras);
    return pipe;
  }

  /** Fitted when it is first asked for. */
  latentsPreview(): Promise<LatentsPreview> {
    return this.preview ??= this.pipe.fitLatentsPreview();
  }

  /** Whether its worker is there: one ends for want of memory. */
  lives(): Promise<boolean> {
    return this.pipe.describe().then(() => true, () => false);
  }

  dispose(): Promise<void> {
    return this.pipe.dispose();
  }

  private task(className: string): Promise<Drawing> {
    const made = this.tasks.get(className) ?? this.pipe.as<InpaintingPipeline>(className).then(async made => {
      await made.setProgressBarConfig({ disable: true });
      return made;
    });
    made.catch(() => this.tasks.delete(className));
    this.tasks.set(className, made);
    return made;
  }

  private async wear(pipe: Drawing, loras: NonNullable<PictureRequest['loras']>): Promise<void> {
    for (const { name } of loras) {
      if (this.known.has(name)) continue;
      await pipe.loadLoraWeights(this.loras[name], { adapterName: name });
      this.known.add(name);
    }
    if (this.known.size > 0) await pipe.setAdapters(loras.map(({ name }) => name), loras.map(({ scale = 1 }) => scale));
  }
}

/** Models in memory, as many as may be; the one that was not asked for longest gives way. */
export class ModelPool {
  private readonly loaded = new Map<string, LoadedModel>(); // the one that was asked for last comes last
  private readonly known = new Map<string, ModelDescription>();

  constructor(private readonly options: ModelPoolOptions) {}

  /** Of each model that was ever loaded, by name. */
  get descriptions(): ReadonlyMap<string, ModelDescription> { return this.known; }
  get inMemory(): readonly string[] { return [...this.loaded.keys()]; }
  get bytes(): number { return [...this.loaded.values()].reduce((sum, { bytes }) => sum + bytes, 0); }

  /** One whose worker has ended is loaded again. One call at a time. */
  async get(name: string): Promise<LoadedModel> {
    const found = this.loaded.get(name);
    if (found && await found.lives()) {
      this.loaded.delete(name);
      this.loaded.set(name, found);
      return found;
    }
    await this.drop(name);
    const { maxMemory = 0, models } = this.options;
    if (maxMemory === 0) await this.dispose(); // before, so that two are never there
    const model = await LoadedModel.load(models[name], this.options).catch((error: Error) => {
      throw error.name === 'OutOfMemoryError' ? error : new OfferError(error.message, { cause: error });
    });
    this.loaded.set(name, model);
    this.known.set(name, model.description);
    for (const other of this.inMemory) {
      if (other !== name && this.bytes > maxMemory) await this.drop(other);
    }
    return model;
  }

  async dispose(): Promise<void> {
    for (const name of this.inMemory) await this.drop(name);
  }

  private async drop(name: string): Promise<void> {
    await this.loaded.get(name)?.dispose();
    this.loaded.delete(name);
  }
}

