import type { ModelDescription } from '../pipelines/describe_model.js';
import type { Job } from './job.js';
import type { Metrics } from './metrics.js';
import type { AcceptedRequest } from './picture_request.js';
import type { PictureStore } from './stores/picture_store.js';

/** What makes the pictures of a server: in its own process, or elsewhere. */
export interface Engine {
  /** Where pictures are. */
  readonly store: PictureStore;
  /** Counts and times, as Prometheus takes them. */
  readonly metrics: Metrics;
  /** Names of models that requests can give at this moment. */
  readonly models: readonly string[];
  /** Names of LoRAs that requests can give at this moment. */
  readonly loras: readonly string[];
  /** What can be asked of a model; undefined where that is not known, for nobody has loaded it yet. */
  describe(model: string): ModelDescription | undefined;
  /** Whether a request would be worked at. */
  readonly ready: boolean;
  /** Comes back when requests can be taken. */
  start(): Promise<void>;
  /** Whether a request would be taken, before it is looked at. @throws what `submit` does. */
  admit(): Promise<void>;
  /** Takes a request that was checked; nothing that it took is lost. @throws QueueFullError if too many wait. */
  submit(request: AcceptedRequest): Promise<Job>;
  /** The job of that id; undefined if there is none, or none any more. */
  find(id: string): Promise<Job | undefined>;
  /** How many are before a job that waits; 0 for the next one, undefined for one that does not wait. */
  placeOf(job: Job): Promise<number | undefined>;
  /** How many wait. */
  waiting(): Promise<number>;
  /** The machines that draw, where they are others. */
  workers?(): Promise<readonly object[]>;
  /** Takes nothing more, and comes back when what runs here has ended. */
  close(): Promise<void>;
}
