import type { ServerField } from '../protocol.js';

/** A server that gave no answer, or none that was wanted: one line, and what of what was said of it that is about. */
export class ServerError extends Error {
  constructor(message: string, readonly about?: ServerField) {
    super(message);
  }
}

/** The address that a text names, without what may be secret in it; undefined of a text that names none. This machine is asked by http. */
export function toAddress(text: string): string | undefined {
  if (/\s/.test(text)) return undefined;
  const scheme = /^https?:\/\//i.test(text) ? '' : /^(localhost|127\.|\[::1\])/i.test(text) ? 'http://' : 'https://';
  try {
    const { origin, pathname } = new URL(scheme + text);
    return origin + pathname.replace(/\/+$/, '');
  } catch {
    return undefined;
  }
}

/** Whom an address names, as people say it: 'localhost:7860'. */
export function hostOf(url: string): string {
  return url.replace(/^https?:\/\//, '');
}

/** Asks a server, by fetch alone: an EventSource could send no key. */
export class ServerClient {
  private readonly leaving = new AbortController();

  constructor(private readonly url: string, private readonly key?: string) {}

  get host(): string {
    return hostOf(this.url);
  }

  /** @throws ServerError unless the answer is a good one. */
  async ask(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = { ...this.key && { authorization: `Bearer ${this.key}` }, ...init.body ? { 'content-type': 'application/json' } : {} };
    let response: Response;
    try {
      response = await fetch(this.url + path, { ...init, headers, signal: AbortSignal.any([this.leaving.signal, ...init.signal ? [init.signal] : []]) });
    } catch {
      throw new ServerError(`${this.host} cannot be reached, or does not let this page ask (serve --cors ${location.origin})`, 'address');
    }
    if (response.ok) return response;
    if (response.status === 401) throw new ServerError(`${this.host} takes ${this.key ? 'another key' : 'a key'}`, 'key');
    const said = await messageOf(response);
    if (said !== undefined) throw new ServerError(`${this.host}: ${said}`);
    const after = response.headers.get('retry-after');
    throw new ServerError(`${this.host} answers with ${response.status}${after ? `; try again in ${after} s` : ''}`, 'address');
  }

  async json<T>(path: string, init?: RequestInit): Promise<T> {
    try {
      return await (await this.ask(path, init)).json() as T;
    } catch (error) {
      throw error instanceof ServerError ? error : new ServerError(`${this.host} is no server of pictures: ${path} is no JSON`, 'address');
    }
  }

  /** What server-sent events say, until the server ends them or the signal does. @throws ServerError if they break off. */
  async *events<T>(path: string, signal: AbortSignal): AsyncGenerator<T> {
    const { body } = await this.ask(path, { signal });
    const reader = body!.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read().catch(() => { throw new ServerError(`${this.host} is gone`); });
      if (done) return;
      const events = (rest + value).split('\n\n');
      rest = events.pop()!;
      for (const event of events) yield JSON.parse(event.replace(/^data: /, '')) as T;
    }
  }

  /** Ends whatever is asked. */
  close(): void {
    this.leaving.abort();
  }
}

/** What our server says of an error. */
async function messageOf(response: Response): Promise<string | undefined> {
  try {
    return (await response.json() as { error?: { message?: string } }).error?.message;
  } catch {
    return undefined; // another program answers in its place
  }
}
