import { CancelledError, RequestError } from '../errors.js';
import type { Job, StoredPicture } from '../job.js';
import { checkObject, MAX_PREVIEWS, pictureBytes, type AcceptedRequest } from '../picture_request.js';
import { pictureName, previewName, waitingName } from '../stores/picture_names.js';
import type { PictureStore } from '../stores/picture_store.js';
import type { TraceFields } from '../tracing.js';

/** What of a job goes through Redis. Pictures do not: they lie in the store, under names that follow from the job's id. */
export interface JobData {
  readonly request: Omit<AcceptedRequest, 'image' | 'mask'>;
  /** Which pictures of the request lie in the store. */
  readonly waiting: ReadonlyArray<'image' | 'mask'>;
  /** Where it was asked for. */
  readonly trace?: TraceFields;
}

/** How far it is. */
export interface JobProgress {
  readonly step: number;
  /** Undefined before the first. */
  readonly steps?: number;
  /** How many looks at its first picture there are. */
  readonly previews: number;
}

export interface JobResult {
  readonly pictures: readonly StoredPicture[];
  /** Milliseconds from when it was begun. */
  readonly took: number;
}

const FIELDS = ['image', 'mask'] as const;

/** Puts the pictures of a request that was accepted into the store. */
export async function layAside({ request, id, trace }: Job, store: PictureStore): Promise<JobData> {
  const { image, mask, ...rest } = request;
  const pictures = { image, mask };
  const waiting = FIELDS.filter(field => pictures[field] !== undefined);
  await Promise.all(waiting.map(field => store.write(waitingName(id, field), pictureBytes(pictures[field]!))));
  return { request: rest, waiting, ...Object.keys(trace).length > 0 && { trace } };
}

/** The request as it was, still to be checked: other programs can write to that Redis too. @throws RequestError if a picture is gone. */
export async function takeUp(data: unknown, id: string, store: PictureStore): Promise<Record<string, unknown>> {
  const pictures = waitingOf(data).map(async field => {
    const bytes = await store.read(waitingName(id, field));
    if (!bytes) throw new RequestError(`${field}: is no longer there`, 410);
    return [field, Buffer.from(bytes).toString('base64')] as const;
  });
  return { ...checkObject(checkObject(data).request), ...Object.fromEntries(await Promise.all(pictures)) };
}

export function traceOf({ trace }: JobData): TraceFields {
  return typeof trace === 'object' ? { ...trace as TraceFields | null } : {};
}

/** Removes what `layAside` put there, once it is needed no more. */
export async function forget(data: unknown, id: string, store: PictureStore): Promise<void> {
  await Promise.all(waitingOf(data).map(field => store.remove(waitingName(id, field))));
}

function waitingOf(data: unknown): Array<typeof FIELDS[number]> {
  const { waiting } = checkObject(data);
  return FIELDS.filter(field => Array.isArray(waiting) && waiting.includes(field));
}

export function progressOf({ step, steps, previews }: Job): JobProgress {
  return { step, steps, previews: previews.length };
}

/** Does to a job what its worker told, as far as a worker would: other programs can write to that Redis too. */
export function advance(job: Job, told: unknown): void {
  const { step, steps, previews } = told as JobProgress | null ?? { step: 0, previews: 0 };
  if (job.state === 'waiting') job.begin();
  if (!isCount(steps) || ![step, previews].every(isCount) || previews > MAX_PREVIEWS) return;
  for (let i = job.previews.length; i < previews; i++) job.advance(step, steps, previewName(job.id, i));
  if (job.step !== step) job.advance(step, steps);
}

export function resultOf({ pictures }: Job, took: number): JobResult {
  return { pictures, took };
}

export function succeed(job: Job, told: unknown): void {
  const { pictures } = told as Partial<JobResult> | null ?? {};
  if (!Array.isArray(pictures) || pictures.length !== job.request.count) return job.fail(new Error('a worker told no pictures of it'));
  job.succeed(pictures.map((picture, i) => ({ ...picture, name: pictureName(job.id, i) }))); // whoever wrote another name there
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && value as number >= 0;
}

/** An error in the one line that BullMQ keeps of it. */
export function errorToText({ name, message }: Error): string {
  return `${name}: ${message}`;
}

export function errorFromText(text: string): Error {
  const [, name = 'Error', message = text] = /^(\w{1,40}): (.*)$/s.exec(text) ?? [];
  if (name === 'CancelledError') return new CancelledError();
  return name === 'RequestError' ? new RequestError(message) : Object.assign(new Error(message), { name });
}
