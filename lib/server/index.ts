export { createServer, type ServerOptions } from './create_server.js';
export type { PictureRequest, ServerLimits } from './picture_request.js';
