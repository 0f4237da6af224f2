import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Milliseconds that a client may go on sending what nobody reads, when it was answered. */
const MOST_TIME = 5000;
/** Milliseconds between two looks at how much that is. */
const LOOK_EVERY = 50;

/**
 * Lets answers arrive that come before their request has: what a client goes on sending is read and forgotten for a while, and the
 * connection is closed only then. Node closes it at once where no other request is to come, which a client learns while it writes; many
 * then read no answer.
 * @param maxBytes that are read and forgotten.
 */
export function linger(server: Server, maxBytes: number): void {
  const latest = new WeakMap<Socket, IncomingMessage>();
  server.on('connection', (socket: Socket) => {
    const close = socket.destroySoon.bind(socket);
    socket.destroySoon = () => {
      const request = latest.get(socket);
      if (!request || request.complete || socket.destroyed) close();
      else forget(request, socket, { maxBytes, close });
    };
  });
  server.on('request', (request: IncomingMessage, answer: ServerResponse) => {
    latest.set(request.socket, request);
    answer.once('finish', () => { // one that was read in part would hold up what comes behind it
      if (!request.complete) request.on('data', () => {}).resume();
    });
  });
}

function forget(
  request: IncomingMessage, socket: Socket, { maxBytes, close }: { maxBytes: number; close: () => void },
): void {
  const most = socket.bytesRead + maxBytes;
  socket.end(() => { // the answer is written
    const enough = performance.now() + MOST_TIME;
    const looking = setInterval(() => { // Node tells of nothing that it forgets
      if (socket.bytesRead > most || performance.now() > enough) socket.destroy();
      if (socket.destroyed) clearInterval(looking);
    }, LOOK_EVERY);
  });
  request.once('end', close).once('error', () => socket.destroy());
}
