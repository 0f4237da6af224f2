import type { LoadReply, Settings, Sources } from '../protocol.js';
import { AdaptersPanel } from './adapters_panel.js';
import { Comparison } from './comparison.js';
import { announce, byId, make } from './dom.js';
import { Engine } from './engine.js';
import { Gallery } from './gallery.js';
import { receivePictures } from './incoming.js';
import { recall, remember } from './memory.js';
import { ModelPanel, progressText } from './model_panel.js';
import { Notice } from './notice.js';
import { PictureStore, type Picture } from './picture_store.js';
import { fromFragment, readPngSettings, toFragment } from './read_settings.js';
import { Runs, type Order } from './runs.js';
import { newSeed, SettingsForm } from './settings_form.js';
import { facts, Stage } from './stage.js';
import { StartPicture } from './start_picture.js';
import { Steering } from './steering.js';
import { StylePicture } from './style_picture.js';
import { zipPictures } from './zip.js';

const SUGGESTIONS = ['a green tree on a yellow background', 'a purple star on a black background', 'an orange fish on a cyan background', 'a pink heart on a gray background'];
const VARIATIONS = 4;
const VARIATION_SHARE = 0.4;

const store = await PictureStore.open();
const start = new StartPicture();
const steering = new Steering();
const style = new StylePicture();
const settings = new SettingsForm(size => [start, steering].forEach(each => each.resize(size)));
const stage = new Stage();
const notice = new Notice();
const comparison = new Comparison();
const gallery = new Gallery(picture => void show(picture));
const engine = new Engine({ load: onLoad, work: reply => void runs.take(reply), adapt: reply => adapters.take(reply) });
const runs = new Runs(engine, stage, {
  began: () => {
    before = shown;
    shown = undefined;
    notice.hide();
    gallery.mark();
  },
  made: async (result, sources) => {
    const picture = await store.add(result, sources);
    gallery.add(picture);
    shown = picture;
    return picture;
  },
  ended: (picture = before) => picture ? show(picture) : clear(),
  failed: (message, orders) => {
    if (!/(^|: )webgpu: /.test(message) || !adapters.isEmpty || !models.fallBack()) return message;
    waiting = orders;
    return `${message}. The same is made by WebAssembly, once the model is there.`;
  },
});
const models = new ModelPanel({ load: (source, device, key) => engine.load(source, device, key), stop: () => engine.stopLoading() });
const adapters = new AdaptersPanel({
  adapt: (kind, name, file) => engine.adapt(kind, name, file), insert: word => settings.insert(word), changed: () => undefined,
});

let hasModel = false;
let shown: Picture | undefined;
let before: Picture | undefined; // shown when the work began
let waiting: Order[] = []; // for the model to be on another device, as the GPU failed

settings.form.onsubmit = event => {
  event.preventDefault();
  void generate();
};
byId('prompt').onkeydown = event => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void generate();
};

byId('suggestions').append(...SUGGESTIONS.map(prompt => make('li', {}, make('button', {
  type: 'button',
  onclick: () => {
    settings.write({ prompt });
    void generate();
  },
}, prompt.replace(/^an? /, '').replace(/ on an? (\w+) background/, ' on $1')))));

/** What can be done with the picture that is shown. */
const ACTIONS: Record<string, (picture: Picture) => void> = {
  'vary': vary,
  'start-from': ({ file }) => void start.take(file),
  'reuse': picture => void reuse(picture.settings, picture),
  'compare': picture => {
    comparison.begin(picture, facts(picture));
    announce('Choose another picture to compare with');
  },
  'copy-link': ({ settings }) => void copyLink(settings),
  'remove': picture => void remove(picture),
};
for (const [id, act] of Object.entries(ACTIONS)) {
  byId(id).onclick = () => {
    byId<HTMLDetailsElement>('menu').open = false;
    if (shown) act(shown);
  };
}
byId('menu').onkeydown = event => {
  if (event.key !== 'Escape') return;
  byId<HTMLDetailsElement>('menu').open = false;
  byId('menu').querySelector('summary')!.focus();
};
document.addEventListener('click', ({ target }) => {
  if (!byId('menu').contains(target as Node)) byId<HTMLDetailsElement>('menu').open = false;
});
byId('download-all').onclick = async () => {
  const url = URL.createObjectURL(await zipPictures(gallery.pictures));
  make('a', { href: url, download: 'pictures.zip' }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // when it is surely saved
};

receivePictures(async (file, place) => {
  if (place === 'steer') return steering.take(file);
  if (place === 'style') return style.take(file);
  const found = place === 'start' ? undefined : await readPngSettings(file);
  if (!found) return start.take(file);
  await reuse(found);
  notice.show(`The settings of ${file.name}`, { label: 'Begin from the picture instead', run: () => void start.take(file) });
});

addEventListener('hashchange', takeLink);
takeLink();

const pictures = await store.all();
pictures.forEach(picture => gallery.add(picture));
const last = pictures.find(({ id }) => id === recall().shown);
if (last) await show(last);
else stage.showProgress(0);
models.begin();
if ('serviceWorker' in navigator) void navigator.serviceWorker.register('service_worker.js').catch(() => undefined); // then not offline

/** Makes what the form says: a picture, or several that differ in the seed. */
async function generate(): Promise<void> {
  if (!hasModel || runs.running) return;
  const first = settings.next();
  if (!first) return;
  const sources: Sources = { start: await start.read(), control: await steering.read(), style: await style.read() };
  const base = { ...first, strength: start.value, controlScale: steering.value, styleScale: style.value, loras: adapters.value };
  runs.begin(Array.from({ length: settings.count }, (_, i): Order => ({ settings: { ...base, seed: base.seed + i }, ...sources })));
}

/** More like a picture: noise near its own, or where it began from a picture, other noise on that. */
function vary({ settings, start, control, style }: Picture): void {
  if (!hasModel || runs.running) return;
  runs.begin(Array.from({ length: VARIATIONS }, (): Order => (
    { start, control, style, settings: start ? { ...settings, seed: newSeed() } : { ...settings, variation: { seed: newSeed(), share: VARIATION_SHARE } } })));
}

async function reuse(from: Partial<Settings>, { start: began, control, style: given }: Sources = {}): Promise<void> {
  settings.write(from);
  adapters.value = from.loras;
  await start.restore(began, from.strength);
  await steering.restore(control, from.controlScale);
  await style.restore(given, from.styleScale);
  byId('prompt').focus();
}

async function copyLink(of: Settings): Promise<void> {
  const link = `${location.href.split('#')[0]}#${toFragment(of)}`;
  try {
    await navigator.clipboard.writeText(link);
    notice.show('Link copied');
  } catch {
    location.hash = toFragment(of); // a browser that does not let a page write there: the link is the page's own then
    notice.show('The link is in the address bar');
  }
}

/** Takes over what the page's address says, once: afterwards the form counts. */
function takeLink(): void {
  const found = fromFragment(location.hash);
  if (!found) return;
  settings.write(found);
  history.replaceState(null, '', location.pathname + location.search);
}

function clear(): void {
  shown = undefined;
  remember({ shown: undefined });
  gallery.mark();
  stage.showText(hasModel ? 'Your picture appears here' : 'No model is loaded');
  stage.showProgress(null);
}

async function show(picture: Picture): Promise<void> {
  if (runs.running) return;
  shown = picture;
  remember({ shown: picture.id });
  gallery.mark(picture.id);
  stage.showProgress(null);
  await stage.showPicture(picture);
}

async function remove(picture: Picture): Promise<void> {
  await store.remove(picture);
  gallery.remove(picture);
  clear();
  notice.show('Removed', { label: 'Undo', run: () => void bringBack(picture) }, true);
}

async function bringBack(picture: Picture): Promise<void> {
  await store.restore(picture);
  gallery.add(picture);
  await show(picture);
  byId('download').focus();
}

function onLoad(reply: LoadReply): void {
  models.take(reply);
  const again = reply.type === 'loaded' || reply.type === 'failed' ? waiting.splice(0) : [];
  if (reply.type === 'loaded') {
    hasModel = true;
    settings.offerModel(reply.model);
    start.offerPainting(reply.model.tasks.includes('mask'));
    steering.offer(reply.model);
    style.offer(reply.model);
    stage.offer(reply.model);
    adapters.offer(reply.model);
    byId('suggestions').hidden = models.source.kind !== 'bundled';
    byId<HTMLButtonElement>('generate').disabled = false;
    announce('The model is ready');
    if (again.length > 0) {
      runs.begin(again);
      notice.show('By WebAssembly now, as the GPU failed');
    }
  }
  if (runs.running || shown) return;
  if (reply.type === 'loading' && !hasModel) {
    stage.showText(progressText(reply));
    stage.showProgress(reply.loaded / Math.max(1, reply.total));
  }
  if (reply.type === 'loaded' || reply.type === 'failed') clear();
}
