import { ModelFileError } from '../files/model_folder.js';

/** A model, revision or file that the hub does not have or does not give, or a hub that does not answer. */
export class HubError extends ModelFileError {
  override name = 'HubError';
  /** Whether it may help to try again. */
  readonly transient: boolean;
  /** The HTTP status of the hub's answer, if it answered. */
  readonly status?: number;
  /** The hub's own word for what is wrong, as in `RevisionNotFound`, if it gave one. */
  readonly code?: string | null;
  /** Milliseconds that the hub asks to wait. */
  readonly retryAfter?: number;

  constructor(message: string, options: Partial<Pick<HubError, 'transient' | 'status' | 'code' | 'retryAfter' | 'cause'>> = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.transient = options.transient ?? false;
    this.status = options.status;
    this.code = options.code;
    this.retryAfter = options.retryAfter;
  }
}
