import { Generator } from '../core/random.js';
import { Image } from '../image/image.js';
import type { StableDiffusionInpaintPipeline } from '../pipelines/stable_diffusion_inpaint.js';
import { schedulerClass, type Scheduler } from '../schedulers/index.js';
import { createWorkerPipeline, type WorkerPipeline, type WorkerPipelineOptions } from '../worker/worker_pipeline.js';
import type { Engine } from './engine.js';
import { QueueFullError, RequestError } from './errors.js';
import { Job, type MadePicture } from './job.js';
import type { PictureRequest } from './picture_request.js';

/** What the operator offers, by the names that requests use. */
export interface EmbeddedEngineOptions {
  /** Where each model is: what `fromPretrained` takes. */
  readonly models: Readonly<Record<string, string>>;
  /** Where each LoRA is. */
  readonly loras?: Readonly<Record<string, string>>;
  readonly load?: Omit<WorkerPipelineOptions, 'pipeline' | 'progressCallback' | 'signal'>;
  readonly maxQueue: number;
  /** Of a request that says none, where the model's own number is larger. */
  readonly maxSteps?: number;
  /** How long a job that is over can be asked for, in milliseconds; ten minutes by default. */
  readonly keepJobs?: number;
}

/** A model in memory, in a worker of its own. */
interface LoadedModel {
  readonly name: string;
  readonly pipe: WorkerPipeline;
  readonly scheduler: Scheduler;
  readonly family: string;
  /** Steps where a request says none. */
  readonly steps: number;
  readonly tasks: Map<string, Promise<WorkerPipeline>>;
  readonly loras: Set<string>;
}

const ENDING = new RequestError('the server is about to end', 503);
/** How long what runs may go on then, in milliseconds. */
const PATIENCE = 30_000;
const KEEP_JOBS = 10 * 60_000;
/** Of pictures that nobody asked for yet. */
const KEEP_BYTES = 2 ** 28;

/** A queue in this process, and one model at a time in a worker thread. */
export class EmbeddedEngine implements Engine {
  private readonly queue: Job[] = [];
  private readonly jobs = new Map<string, Job>();
  private running?: Promise<void>;
  private atWork?: Job;
  private model?: LoadedModel;
  private closed = false;
  /** Of the last jobs, in milliseconds: for saying when to try again. */
  private meanDuration = 5000;

  constructor(private readonly options: EmbeddedEngineOptions) {}

  /** Loads the first model, so that the first request need not wait for it. */
  async start(): Promise<void> {
    await this.load();
  }

  get waiting(): number { return this.queue.length; }
  get ready(): boolean { return this.model !== undefined && !this.closed; }

  submit(request: PictureRequest): Job {
    if (this.closed) throw ENDING;
    const { maxQueue } = this.options;
    if (this.queue.length >= maxQueue) throw new QueueFullError(this.queue.length, Math.ceil(this.meanDuration / 1000));
    this.forgetOld();
    const job = new Job(request);
    this.jobs.set(job.id, job);
    this.queue.push(job);
    job.signal.addEventListener('abort', () => {
      const place = this.queue.indexOf(job);
      if (place < 0) return; // it runs, and ends by itself
      this.queue.splice(place, 1);
      job.fail(job.signal.reason as Error);
    });
    this.running ??= this.work();
    return job;
  }

  find(id: string): Job | undefined {
    return this.jobs.get(id);
  }

  placeOf(job: Job): number | undefined {
    const place = this.queue.indexOf(job);
    return place < 0 ? undefined : place;
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const job of [...this.queue]) job.cancel(ENDING);
    const enough = setTimeout(() => this.atWork?.cancel(ENDING), PATIENCE);
    await this.running;
    clearTimeout(enough);
    await this.model?.pipe.dispose();
  }

  private async work(): Promise<void> {
    for (let job = this.queue.shift(); job; job = this.queue.shift()) {
      const started = performance.now();
      this.atWork = job;
      job.begin();
      try {
        job.succeed(await this.draw(job));
        this.meanDuration += (performance.now() - started - this.meanDuration) / 4;
      } catch (error) {
        job.fail(error as Error);
      }
    }
    this.running = this.atWork = undefined;
  }

  private async draw(job: Job): Promise<MadePicture[]> {
    const { request } = job;
    const { prompt, negativePrompt, width, height, steps, guidanceScale, strength, count = 1, loras = [] } = request;
    const model = await this.load(request.model);
    const { seed = new Generator().seed() } = request;
    const start = {
      ...request.image && { image: await readPicture('image', request.image) },
      ...request.mask && { maskImage: await readPicture('mask', request.mask) },
    };
    const pipe = await this.pipelineFor(model, request);
    const { scheduler } = model;
    await pipe.setScheduler(request.scheduler ? schedulerClass(request.scheduler).fromConfig(scheduler.config) : scheduler);
    await this.wear(model, pipe, loras);
    const seeds = Array.from({ length: count }, (_, i) => seed + i);
    const inAll = steps ?? Math.min(model.steps, this.options.maxSteps ?? Infinity);
    const { images } = await (pipe as unknown as WorkerPipeline<StableDiffusionInpaintPipeline>).generate(prompt, {
      ...start as { image: Image; maskImage: Image }, // as far as the task takes them
      ...!request.image || request.mask ? { width, height } : {},
      negativePrompt, numInferenceSteps: inAll, guidanceScale, numImagesPerPrompt: count, signal: job.signal,
      ...strength !== undefined && { strength },
      generator: seeds.map(each => new Generator().manualSeed(each)),
      callbackOnStepEnd: (_, step) => job.advance(Math.min(step + 1, inAll), inAll),
    });
    return Promise.all(images.map(async (image, i) => (
      { seed: seeds[i], width: image.width, height: image.height, png: await image.toPng() }
    )));
  }

  /** One model at a time: the one before gives way. One whose worker has ended, as for want of memory, is loaded again. */
  private async load(name = Object.keys(this.options.models)[0]): Promise<LoadedModel> {
    const lives = await this.model?.pipe.describe().then(() => true, () => false);
    if (lives && this.model?.name === name) return this.model;
    await this.model?.pipe.dispose();
    this.model = undefined;
    const pipe = await createWorkerPipeline(this.options.models[name], { ...this.options.load, quiet: true }); // it may quote prompts
    await pipe.setProgressBarConfig({ disable: true });
    const { className, defaults } = await pipe.describe();
    return this.model = {
      name, pipe, scheduler: await pipe.getScheduler(), steps: defaults?.numInferenceSteps ?? 50,
      family: className.replace(/(Img2Img|Inpaint)?Pipeline$/, ''),
      tasks: new Map(), loras: new Set(),
    };
  }

  private pipelineFor({ pipe, family, tasks }: LoadedModel, { image, mask }: PictureRequest): Promise<WorkerPipeline> {
    const task = `${family}${mask ? 'Inpaint' : image ? 'Img2Img' : ''}Pipeline`;
    const made = tasks.get(task) ?? pipe.as(task).then(async made => {
      await made.setProgressBarConfig({ disable: true });
      return made;
    });
    tasks.set(task, made);
    return made;
  }

  /** These LoRAs and no other. */
  private async wear(model: LoadedModel, pipe: WorkerPipeline, loras: NonNullable<PictureRequest['loras']>): Promise<void> {
    for (const { name } of loras) {
      if (model.loras.has(name)) continue;
      await pipe.loadLoraWeights(this.options.loras![name], { adapterName: name });
      model.loras.add(name);
    }
    if (model.loras.size > 0) await pipe.setAdapters(loras.map(({ name }) => name), loras.map(({ scale = 1 }) => scale));
  }

  private forgetOld(): void {
    const before = Date.now() - (this.options.keepJobs ?? KEEP_JOBS);
    const bytesOf = (job: Job) => job.pictures.reduce((sum, { png }) => sum + png.length, 0);
    let bytes = [...this.jobs.values()].reduce((sum, job) => sum + bytesOf(job), 0);
    for (const [id, job] of this.jobs) { // the oldest first
      if (job.endedAt === undefined || (job.endedAt >= before && bytes <= KEEP_BYTES)) continue;
      bytes -= bytesOf(job);
      this.jobs.delete(id);
    }
  }
}

async function readPicture(field: string, base64: string): Promise<Image> {
  try {
    return await Image.fromBytes(Buffer.from(base64.replace(/^data:[^,]{0,100},/, ''), 'base64'));
  } catch (error) {
    throw new RequestError(`${field}: ${(error as Error).message}`);
  }
}
