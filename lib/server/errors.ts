/** A request that is refused: told to who sent it. */
export class RequestError extends Error {
  override name = 'RequestError';

  constructor(message: string, readonly statusCode = 400) {
    super(message);
  }
}

/** Too many requests wait. */
export class QueueFullError extends Error {
  override name = 'QueueFullError';
  readonly statusCode = 429;

  /** @param retryAfter seconds after which there may be room. */
  constructor(waiting: number, readonly retryAfter: number) {
    super(`${waiting} requests wait already; try again in ${retryAfter} s`);
  }
}

/** What a client may know of an error: what is wrong with the request, and no more. */
export function tellable(error: Error): string {
  const own = ['RequestError', 'RangeError', 'TypeError', 'ImageError', 'PngError', 'OutOfMemoryError', 'WeightsError'];
  return own.includes(error.name) ? error.message : 'the picture failed; the server\'s log says why';
}
