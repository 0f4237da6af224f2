import * as tf from '@tensorflow/tfjs';
import { Generator } from '../core/random.js';
import type { Image } from '../image/image.js';
import { checkGuidanceOf, pickGuidance } from './guidance_request.js';
import type { Job, StoredPicture } from './job.js';
import type { Metrics } from './metrics.js';
import type { LoadedModel, ModelPool } from './model_pool.js';
import { DEFAULT_LIMITS, pictureBytes, type ServerLimits } from './picture_request.js';
import { decodePicture } from './decode_picture.js';
import { pictureName, previewName } from './stores/picture_names.js';
import type { PictureStore } from './stores/picture_store.js';
import { describePicture, textsOf } from './texts.js';
import { traceSince, traced } from './tracing.js';

/** A picture to make: the job that wants it, and which of its pictures it is. */
interface Wanted {
  readonly job: Job;
  readonly index: number;
  readonly seed: number;
}

/** Draws what jobs ask for, by the models of a pool, into a store. */
export class Painter {
  /** @param limits steps of a request that says none, where the model's own number is larger; pixels of pictures to begin from. */
  constructor(
    private readonly pool: ModelPool, private readonly store: PictureStore, private readonly metrics: Metrics,
    private readonly limits: Pick<ServerLimits, 'maxSteps' | 'maxPixels'> = DEFAULT_LIMITS,
  ) {}

  /** Draws jobs as one batch: those that a BatchQueue put together. Each is over then, well or not. */
  async paint(jobs: readonly Job[]): Promise<void> {
    for (const job of jobs) {
      this.metrics.took('waiting', Date.now() - job.createdAt);
      traceSince('waiting', job.createdAt, job.trace);
      job.begin();
    }
    await traced('pictures', () => this.attempt(jobs), jobs.map(({ trace }) => trace));
  }

  private async attempt(jobs: readonly Job[]): Promise<void> {
    try {
      const pictures = await this.draw(jobs);
      jobs.forEach((job, i) => job.succeed(pictures[i]));
      this.metrics.drewBatch(jobs.length);
      this.metrics.made(jobs[0].request.model, pictures.flat().length);
    } catch (error) {
      if (jobs.length > 1) { // whose fault it was shows when each is drawn by itself
        for (const job of jobs) if (job.endedAt === undefined) await this.attempt([job]);
        return;
      }
      if (!jobs[0].signal.aborted) this.metrics.failed(error as Error);
      jobs[0].fail(error as Error);
    }
  }

  private async draw(jobs: readonly Job[]): Promise<StoredPicture[][]> {
    const [{ request }] = jobs;
    const model = await this.metrics.time('loading', () => this.pool.get(request.model));
    checkGuidanceOf(model.description, request);
    const { image, mask } = request;
    const size = { maxPixels: this.limits.maxPixels, resized: mask !== undefined }; // without one, it keeps its size
    const start = {
      ...image && { image: await decodePicture('image', pictureBytes(image), size) },
      ...mask && { maskImage: await decodePicture('mask', pictureBytes(mask), size) },
    };
    const pipe = await model.pipelineFor(request);
    const { width, height, guidanceScale, clipSkip, strength, paddingMaskCrop } = request;
    const steps = request.steps ?? Math.min(model.steps, this.limits.maxSteps);
    const wanted = jobs.flatMap(job => Array.from({ length: job.request.count }, (_, index): Wanted => (
      { job, index, seed: job.request.seed + index }
    )));
    const { prompt, ...texts } = await textsOf(pipe, wanted.map(({ job }) => job.request));
    const { images, nsfwContentDetected } = await this.metrics.time('drawing', () => pipe.generate(prompt, {
      ...texts, ...pickGuidance(request),
      ...start as { image: Image; maskImage: Image }, // as far as the task takes them
      ...!request.image || request.mask ? { width, height } : {},
      ...strength !== undefined && { strength },
      ...paddingMaskCrop !== undefined && { paddingMaskCrop },
      numInferenceSteps: steps, guidanceScale, clipSkip,
      generator: wanted.map(({ seed }) => new Generator().manualSeed(seed)),
      signal: whenAll(jobs.map(({ signal }) => signal)),
      callbackOnStepEnd: async (_, index, __, { latents, numTimesteps }) => {
        const latentsOf = (job: Job) => () => firstOf(job, wanted, latents);
        for (const job of jobs) job.advance(index + 1, numTimesteps, await this.look(job, model, index + 1, numTimesteps, latentsOf(job)));
      },
    })).finally(() => tf.dispose(texts as object as tf.TensorContainer));
    const stored = await this.metrics.time('storing', async () => {
      const pictures: StoredPicture[] = []; // one after the other, so that a server answers between them
      for (const [i, image] of images.entries()) pictures.push(await this.keep(image, wanted[i], nsfwContentDetected?.[i]));
      return pictures;
    });
    return jobs.map(each => stored.filter((_, i) => wanted[i].job === each));
  }

  /** The name of a quick look at a job's first picture, where it wants one after this step. */
  private async look(job: Job, model: LoadedModel, step: number, steps: number, latentsOf: () => tf.Tensor): Promise<string | undefined> {
    const place = previewSteps(job.request.previews ?? 0, steps).indexOf(step);
    if (place < 0 || job.signal.aborted || model.checksPictures) return undefined;
    const preview = await model.latentsPreview();
    const latents = latentsOf();
    const [image] = await preview.toImages(latents).finally(() => latents.dispose());
    const { scaleFactor } = preview;
    const name = previewName(job.id, place);
    await this.store.write(name, await image.resize(image.width * scaleFactor, image.height * scaleFactor).toPng());
    return name;
  }

  private async keep(image: Image, { job, index, seed }: Wanted, nsfwContentDetected?: boolean): Promise<StoredPicture> {
    const name = pictureName(job.id, index);
    await this.store.write(name, await image.toPng({ ...image.text, parameters: describePicture(image, job.request) }));
    return { name, seed, width: image.width, height: image.height, nsfwContentDetected };
  }
}

/** After which steps to look: as many as are wanted, evenly. */
function previewSteps(previews: number, steps: number): number[] {
  return Array.from({ length: previews }, (_, i) => Math.ceil((i + 1) * steps / (previews + 1)));
}

/** Aborted when all are: as long as one is wanted, a batch goes on. */
function whenAll(signals: readonly AbortSignal[]): AbortSignal {
  const controller = new AbortController();
  const look = () => {
    if (signals.every(({ aborted }) => aborted)) controller.abort(signals[0].reason);
  };
  for (const signal of signals) signal.addEventListener('abort', look);
  look();
  return controller.signal;
}

function firstOf(job: Job, wanted: readonly Wanted[], latents: tf.Tensor): tf.Tensor {
  return tf.slice(latents, wanted.findIndex(each => each.job === job), 1);
}
