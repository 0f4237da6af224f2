import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json',
  '.webmanifest': 'application/manifest+json', '.wasm': 'application/wasm',
};

/** What has another name as soon as it has another content. */
const NAMED_BY_CONTENT = /-[0-9A-Z]{8}\.(js|css)$|^\/models\/|^\/tfjs-/;

/** What allows a page to have threads. */
const ISOLATION = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp', 'Cross-Origin-Resource-Policy': 'same-origin' };

/** A server of a folder's files on this machine alone. */
export class StaticServer {
  private constructor(private readonly server: Server) {}

  /**
   * @param options.port any free one by default.
   * @param options.isolated whether pages may have threads.
   */
  static async start(folder: string, { port = 0, isolated = true } = {}): Promise<StaticServer> {
    const server = createServer(async ({ url, method }, response) => {
      const path = new URL(url!, 'http://localhost').pathname; // without .. from here on
      const file = join(folder, decodeURIComponent(path.endsWith('/') ? `${path}index.html` : path));
      const found = path.includes('%2F') ? undefined : await stat(file).catch(() => undefined);
      if (!found?.isFile()) return response.writeHead(404).end();
      response.writeHead(200, {
        'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream', 'Content-Length': found.size,
        'Cache-Control': NAMED_BY_CONTENT.test(path) ? 'max-age=31536000, immutable' : 'no-cache', ...isolated && ISOLATION,
      });
      if (method === 'HEAD') response.end();
      else createReadStream(file).pipe(response);
    });
    await new Promise<void>((resolve, reject) => server.on('error', reject).listen(port, 'localhost', resolve));
    return new StaticServer(server);
  }

  get url(): string {
    return `http://localhost:${(this.server.address() as AddressInfo).port}/`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise(resolve => { this.server.close(resolve); });
  }
}
