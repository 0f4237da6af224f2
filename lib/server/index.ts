export { EmbeddedEngine, type EmbeddedEngineOptions } from '../jobs/embedded_engine.js';
export type { Engine } from '../jobs/engine.js';
export type { PictureRequest, ServerLimits } from '../jobs/picture_request.js';
export type { PictureStore } from '../jobs/stores/picture_store.js';
export { createServer, type ServerOptions } from './create_server.js';
