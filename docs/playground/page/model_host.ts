import type { Request } from '../protocol.js';

/** Who has a model: a worker of this page, or a server. One loads one model in its life. */
export interface ModelHost {
  send(request: Request): void;
  /** Leaves, with its model. Nothing more is told. */
  close(): void;
}
