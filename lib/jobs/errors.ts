/** A request that is refused: told to who sent it. */
export class RequestError extends Error {
  override name: string = 'RequestError';

  constructor(message: string, readonly statusCode = 400) {
    super(message);
  }
}

/** Whoever asked for a job wants it no more. */
export class CancelledError extends RequestError {
  override name = 'CancelledError';

  constructor() {
    super('cancelled');
  }
}

/** The server takes nothing more. */
export class EndingError extends RequestError {
  constructor() {
    super('the server is about to end', 503);
  }
}

/** Too many requests wait. */
export class QueueFullError extends Error {
  override name = 'QueueFullError';
  readonly statusCode = 429;

  /** @param waiting what waits. @param retryAfter seconds after which there may be room. */
  constructor(waiting: string, readonly retryAfter: number) {
    super(`${waiting} wait already; try again in ${retryAfter} s`);
  }
}

/** A store has no room for a picture. */
export class StoreFullError extends RequestError {
  override name = 'StoreFullError';

  constructor() {
    super('there is no room left for pictures', 507);
  }
}

/** What the operator offers cannot be used, whatever a request says. */
export class OfferError extends Error {
  override name = 'OfferError';
}

/** Of errors that say what is wrong with a request: the same request would fail again. */
const ABOUT_THE_REQUEST = ['RequestError', 'CancelledError', 'ImageError', 'PngError'];
const TELLABLE = ['OutOfMemoryError', 'WeightsError', 'StoreFullError'];
/** What options are refused with, by a message that begins with the option's name; JavaScript throws them too, of our own mistakes. */
const OF_OPTIONS = ['RangeError', 'TypeError'];
const NAMES_AN_OPTION = /^[^\n:]{1,100}: /;

export function isAboutTheRequest({ name, message }: Error): boolean {
  return ABOUT_THE_REQUEST.includes(name) || (OF_OPTIONS.includes(name) && NAMES_AN_OPTION.test(message));
}

/** Whether whoever runs the server has to know of an error, which an answer was. */
export function isTrouble({ name, statusCode = 500, code }: Error & { statusCode?: number; code?: string }): boolean {
  return statusCode >= 500 && name !== 'RequestError' && code !== 'ERR_STREAM_PREMATURE_CLOSE'; // a client that has gone
}

/** A job's error as an answer's, whose reason was told where the job ran. */
export function toAnswer(error: Error): RequestError {
  if (isAboutTheRequest(error)) return error instanceof RequestError ? error : new RequestError(error.message);
  const status = error.name === 'StoreFullError' ? 507 : 500;
  return new RequestError(tellable(error), status);
}

/** An error in one line, for whoever runs the machine. */
export function toLine({ name, message }: Error): string {
  return `${name}: ${message}`.replace(/\s*\n\s*/g, ' ');
}

/** What a client may know of an error: what is wrong with the request, and no more. */
export function tellable(error: Error): string {
  return isAboutTheRequest(error) || TELLABLE.includes(error.name) ? error.message : 'the picture failed; the server\'s log says why';
}
