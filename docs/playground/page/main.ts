import type { Device } from '../../../lib/index.js';
import type { ModelInfo, ModelSource, Reply, Settings } from '../protocol.js';
import { announce, byId, duration, make, megabytes } from './dom.js';
import { Engine } from './engine.js';
import { Gallery } from './gallery.js';
import { ModelDialog } from './model_dialog.js';
import { PictureStore, type Picture } from './picture_store.js';
import { SettingsForm } from './settings_form.js';
import { Stage } from './stage.js';

const SUGGESTIONS = ['a green tree on a yellow background', 'a purple star on a black background', 'an orange fish on a cyan background', 'a pink heart on a gray background'];

const generateButton = byId<HTMLButtonElement>('generate');
const cancelButton = byId<HTMLButtonElement>('cancel');
const deviceSelect = byId<HTMLSelectElement>('device');
const store = await PictureStore.open();
const settings = new SettingsForm();
const stage = new Stage();
const gallery = new Gallery(show);
const engine = new Engine(onReply);
new ModelDialog(load);

let source: ModelSource = { kind: 'bundled' };
let running: Settings | undefined;
let shown: Picture | undefined;

settings.form.onsubmit = event => {
  event.preventDefault();
  generate();
};
byId('prompt').onkeydown = event => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) generate();
};
document.addEventListener('keydown', event => {
  if (event.key === 'Escape' && running) engine.cancel();
});
cancelButton.onclick = () => engine.cancel();
deviceSelect.onchange = () => load(source);
byId('reload').onclick = () => location.reload();
byId('reuse').onclick = () => {
  if (shown) settings.write(shown.settings);
  byId('prompt').focus();
};
byId('remove').onclick = async () => {
  if (!shown) return;
  await store.remove(shown);
  gallery.remove(shown);
  announce('Removed');
  clear();
};

byId('suggestions').append(...SUGGESTIONS.map(prompt => make('li', {}, make('button', {
  type: 'button',
  onclick: () => {
    settings.writePrompt(prompt);
    if (!generateButton.disabled) generate();
  },
}, prompt.replace(/^an? /, '').replace(/ on an? (\w+) background/, ' on $1')))));

for (const picture of await store.all()) gallery.add(picture, 'last');
load(source);
if ('serviceWorker' in navigator) void navigator.serviceWorker.register('service_worker.js').catch(() => undefined); // then not offline

function load(from: ModelSource): void {
  source = from;
  endRun();
  generateButton.disabled = true;
  showError();
  byId('model').textContent = 'Loading';
  byId('model-note').textContent = '';
  stage.showText('Fetching the model');
  stage.showProgress(0);
  engine.load(source, deviceSelect.value as Device | 'auto');
}

function generate(): void {
  if (generateButton.disabled || running) return;
  running = settings.read();
  if (!running) return;
  showError();
  shown = undefined;
  gallery.mark();
  stage.showText('Reading the prompt');
  stage.showProgress(0);
  generateButton.hidden = true;
  cancelButton.hidden = false;
  if (document.activeElement === document.body || document.activeElement === generateButton) cancelButton.focus();
  announce('Making the picture');
  engine.generate(running);
}

function endRun(): void {
  const focused = document.activeElement === cancelButton;
  running = undefined;
  cancelButton.hidden = true;
  generateButton.hidden = false;
  if (focused) generateButton.focus();
}

function clear(): void {
  shown = undefined;
  gallery.mark();
  stage.showText(generateButton.disabled ? 'No model is loaded' : 'Your picture appears here');
  stage.showProgress(null);
}

async function show(picture: Picture): Promise<void> {
  if (running) return;
  shown = picture;
  gallery.mark(picture.id);
  stage.showProgress(null);
  await stage.showPicture(picture);
}

async function onReply(reply: Reply): Promise<void> {
  switch (reply.type) {
    case 'devices':
      settings.offerDevices(reply.devices);
      break;
    case 'loading': {
      const { stage: what, loaded, total } = reply;
      stage.showText(what === 'download' ? `Fetching the model: ${megabytes(loaded)} of ${megabytes(total)}` : 'Reading the weights');
      stage.showProgress(loaded / Math.max(1, total));
      break;
    }
    case 'loaded':
      showModel(reply.model);
      generateButton.disabled = false;
      announce('The model is ready');
      clear();
      break;
    case 'step': {
      if (!running) break;
      const { step, steps, milliseconds, memory, preview } = reply;
      stage.showPreview(preview, running.prompt, [`step ${step} of ${steps}`, `${duration(milliseconds)} a step`, `${megabytes(memory)} of memory`]);
      stage.showProgress(step / steps);
      if (step === Math.ceil(steps / 2)) announce('Half of the steps are done');
      break;
    }
    case 'done': {
      endRun();
      settings.next();
      const picture = await store.add(reply.result);
      gallery.add(picture);
      await show(picture);
      announce(`The picture is ready, after ${duration(picture.milliseconds)}`);
      break;
    }
    case 'cancelled':
      endRun();
      clear();
      announce('Cancelled');
      break;
    case 'failed':
      endRun();
      clear();
      showError(reply.message);
      if (generateButton.disabled) byId('model').textContent = 'None';
      break;
  }
}

function showModel(model: ModelInfo): void {
  const { name, device, numParameters } = model;
  const bundled = source.kind === 'bundled';
  settings.offerModel(model);
  byId('model').textContent = `${name}, ${(numParameters / 1e6).toFixed(1)} million parameters`;
  byId('model-note').textContent = bundled ? 'Made for this page: it draws one or two figures in a dozen colours, as the prompts above do, and nothing else.' : '';
  byId('suggestions').hidden = !bundled;
  const single = device.device === 'wasm' && !crossOriginIsolated;
  byId('device-note').textContent = `Now: ${device.label}, ${device.detail}.${
    single ? ' More threads take a page that its server isolates from others (headers COOP and COEP).' : ''}`;
  byId('reload').hidden = !(single && navigator.serviceWorker?.controller);
}

function showError(message = ''): void {
  byId('error').textContent = message;
  byId('error').hidden = !message;
}
