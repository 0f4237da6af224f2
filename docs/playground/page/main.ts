import type { LoadReply, Settings, WorkReply } from '../protocol.js';
import { announce, byId, duration, make, megabytes } from './dom.js';
import { Engine } from './engine.js';
import { Gallery } from './gallery.js';
import { recall, remember } from './memory.js';
import { ModelPanel, progressText } from './model_panel.js';
import { Notice } from './notice.js';
import { PictureStore, type Picture } from './picture_store.js';
import { SettingsForm } from './settings_form.js';
import { Stage } from './stage.js';

const SUGGESTIONS = ['a green tree on a yellow background', 'a purple star on a black background', 'an orange fish on a cyan background', 'a pink heart on a gray background'];

const generateButton = byId<HTMLButtonElement>('generate');
const cancelButton = byId<HTMLButtonElement>('cancel');
const store = await PictureStore.open();
const settings = new SettingsForm();
const stage = new Stage();
const notice = new Notice();
const gallery = new Gallery(picture => void show(picture));
const engine = new Engine(onLoad, reply => void onWork(reply));
const models = new ModelPanel({ load: (source, device) => engine.load(source, device), stop: () => engine.stopLoading() });

let hasModel = false;
let running: { settings: Settings; began: number } | undefined;
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
byId('reuse').onclick = () => {
  if (shown) settings.write(shown.settings);
  byId('prompt').focus();
};
byId('remove').onclick = async () => {
  if (!shown) return;
  const picture = shown;
  await store.remove(picture);
  gallery.remove(picture);
  clear();
  notice.show('Removed', { label: 'Undo', run: () => void bringBack(picture) }, true);
};

byId('suggestions').append(...SUGGESTIONS.map(prompt => make('li', {}, make('button', {
  type: 'button',
  onclick: () => {
    settings.writePrompt(prompt);
    generate();
  },
}, prompt.replace(/^an? /, '').replace(/ on an? (\w+) background/, ' on $1')))));

const pictures = await store.all();
pictures.forEach(picture => gallery.add(picture));
const last = pictures.find(({ id }) => id === recall().shown);
if (last) await show(last);
else stage.showProgress(0);
models.begin();
if ('serviceWorker' in navigator) void navigator.serviceWorker.register('service_worker.js').catch(() => undefined); // then not offline

function generate(): void {
  if (!hasModel || running) return;
  const next = settings.next();
  if (!next) return;
  notice.hide();
  running = { settings: next, began: performance.now() };
  showError();
  shown = undefined;
  gallery.mark();
  stage.showText('Reading the prompt');
  stage.showProgress(0);
  generateButton.hidden = true;
  cancelButton.hidden = false;
  if (document.activeElement === document.body || document.activeElement === generateButton) cancelButton.focus();
  announce('Making the picture');
  engine.generate(next);
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
  remember({ shown: undefined });
  gallery.mark();
  stage.showText(hasModel ? 'Your picture appears here' : 'No model is loaded');
  stage.showProgress(null);
}

async function show(picture: Picture): Promise<void> {
  if (running) return;
  shown = picture;
  remember({ shown: picture.id });
  gallery.mark(picture.id);
  stage.showProgress(null);
  await stage.showPicture(picture);
}

async function bringBack(picture: Picture): Promise<void> {
  await store.restore(picture);
  gallery.add(picture);
  await show(picture);
  byId('remove').focus();
}

function onLoad(reply: LoadReply): void {
  models.take(reply);
  if (reply.type === 'loaded') {
    hasModel = true;
    settings.offerModel(reply.model);
    byId('suggestions').hidden = models.source.kind !== 'bundled';
    generateButton.disabled = false;
    announce('The model is ready');
  }
  if (running || shown) return;
  if (reply.type === 'loading' && !hasModel) {
    stage.showText(progressText(reply));
    stage.showProgress(reply.loaded / Math.max(1, reply.total));
  }
  if (reply.type === 'loaded' || reply.type === 'failed') clear();
}

async function onWork(reply: WorkReply): Promise<void> {
  if (!running) return;
  switch (reply.type) {
    case 'step': {
      const { step, steps, milliseconds, memory, preview } = reply;
      const left = (performance.now() - running.began) / step * (steps - step);
      stage.showPreview(preview, running.settings.prompt, [
        `step ${step} of ${steps}`, `${duration(milliseconds)} a step`, `${megabytes(memory)} of memory`, ...step < steps ? [`${duration(left)} left`] : [],
      ]);
      stage.showProgress(step / steps);
      if (step === Math.ceil(steps / 2)) announce('Half of the steps are done');
      break;
    }
    case 'done': {
      const picture = await store.add(reply.result);
      endRun();
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
  }
}

function showError(message = ''): void {
  byId('error').textContent = message;
  byId('error').hidden = !message;
}
