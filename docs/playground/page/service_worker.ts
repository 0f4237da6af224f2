/** Set by the bundler: a name for this version of the site, its files, and where its models are. */
declare const VERSION: string;
declare const FILES: string[];
declare const MODELS: string[];

/** As much of a service worker as is used here; TypeScript keeps its types apart from those of pages. */
interface ServiceWorker {
  registration: { scope: string };
  clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(type: 'install' | 'activate', listener: (event: { waitUntil(work: Promise<unknown>): void }) => void): void;
  addEventListener(type: 'fetch', listener: (event: { request: globalThis.Request; respondWith(response: Promise<Response>): void }) => void): void;
}

const worker = self as unknown as ServiceWorker;

worker.addEventListener('install', event => event.waitUntil(install()));
worker.addEventListener('activate', event => event.waitUntil(activate()));
worker.addEventListener('fetch', event => {
  const { request } = event;
  if (request.method === 'GET' && isOurs(request.url)) event.respondWith(answer(request));
});

/** Keeps the site for when there is no connection. The model keeps itself. */
async function install(): Promise<void> {
  const cache = await caches.open(VERSION);
  await cache.addAll(FILES);
  await worker.skipWaiting();
}

async function activate(): Promise<void> {
  const old = (await caches.keys()).filter(name => name.startsWith('playground-') && name !== VERSION);
  await Promise.all(old.map(name => caches.delete(name)));
  const models = await caches.open('tfjs-diffusers'); // where the library keeps what it fetches
  const isOld = ({ url }: globalThis.Request) => url.startsWith(`${worker.registration.scope}models/`) && !MODELS.some(model => url.includes(`/${model}/`));
  await Promise.all((await models.keys()).filter(isOld).map(key => models.delete(key)));
  await worker.clients.claim();
}

function isOurs(url: string): boolean {
  return url.startsWith(worker.registration.scope) && !url.includes('/models/');
}

/** Pages from the network if there is one, so that a new version shows at once; files, whose names change with them, from the cache. */
async function answer(request: globalThis.Request): Promise<Response> {
  const cache = await caches.open(VERSION);
  const cached = () => cache.match(request, { ignoreSearch: true });
  if (request.mode !== 'navigate') return isolated(await cached() ?? await fetch(request));
  try {
    return isolated(await fetch(request));
  } catch (error) {
    const page = await cached();
    if (!page) throw error;
    return isolated(page);
  }
}

/** The same with the headers that allow threads, also where the server does not send them: a page takes them, and its workers. */
function isolated({ body, status, statusText, headers }: Response): Response {
  const more = new Headers(headers);
  more.set('Cross-Origin-Opener-Policy', 'same-origin');
  more.set('Cross-Origin-Embedder-Policy', 'require-corp');
  return new Response(body, { status, statusText, headers: more });
}
