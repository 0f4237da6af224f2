import type { Device } from '../../../lib/index.js';
import { announce, byId, make } from '../page/dom.js';
import { missing, verdict, type Found } from './advice.js';
import { describeBrowser, describePage, type Navigator } from './browser.js';
import { drawChart, PART_NAMES, pictureCaption, tableRows } from './chart.js';
import type { Reply, Request } from './measuring_worker.js';
import { FULL_GIGABYTES, PARTS, type Outcome, type Part, type Report } from './report.js';

/** Set by the bundler. */
declare const WORKER: string;
declare const LIBRARY_VERSION: string;

/** Whether all is to be as small as it can be: `benchmark.html?quick`. */
const quick = new URLSearchParams(location.search).has('quick');
const form = byId<HTMLFormElement>('form');
const startButton = byId<HTMLButtonElement>('start');
const stopButton = byId<HTMLButtonElement>('stop');

let found: Found;
let outcomes: Outcome[] = [];
let end: (() => void) | undefined; // what is being measured

byId('quick').hidden = !quick;
form.onsubmit = event => {
  event.preventDefault();
  void measure();
};
stopButton.onclick = () => end?.();
document.addEventListener('keydown', event => {
  if (event.key === 'Escape') end?.();
});
byId('copy').onclick = () => void copy();
if ('serviceWorker' in navigator) void navigator.serviceWorker.register('service_worker.js').catch(() => undefined); // then not offline, and perhaps without threads
await look();

/** Shows what the browser has, and offers what can be measured. */
async function look(): Promise<void> {
  const failed = await ask({ type: 'describe' }, reply => {
    if (reply.type === 'abilities') found = { browser: describeBrowser(navigator as Navigator), page: describePage(), abilities: reply.abilities };
  });
  if (failed) {
    byId('verdict').textContent = 'No: this browser does not run the library.';
    return showProblem(failed);
  }
  byId('verdict').textContent = verdict(found);
  byId('missing').replaceChildren(...missing(found).map(sentence => make('li', {}, sentence)));
  byId('facts').replaceChildren(...facts(found).map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value))));
  const { devices, webgpu } = found.abilities;
  const hasGpu = 'name' in webgpu && !webgpu.isSoftware;
  offer('devices', devices.map(({ device, label, detail, isSoftware }) => ({
    id: `on-${device}`, value: device, text: `${label} (${detail})`, checked: !isSoftware && !(device === 'webgl' && hasGpu),
  })));
  const small = found.browser.mobile || (found.page.memoryGiB ?? 8) < 8;
  offer('parts', [
    ...PARTS.map(part => ({ id: `part-${part}`, value: part, text: PART_NAMES[part], checked: true })),
    ...hasGpu ? [{ id: 'full', value: 'full', text: `the UNet as large as Stable Diffusion's, on WebGPU: ${FULL_GIGABYTES} GB of the GPU's memory`, checked: !small }] : [],
  ]);
  startButton.disabled = false;
  announce(byId('verdict').textContent!);
}

function offer(id: 'devices' | 'parts', choices: Array<{ id: string; value: string; text: string; checked: boolean }>): void {
  byId(id).hidden = false;
  byId(id).append(...choices.map(({ text, ...input }) => make('label', { className: 'check' }, make('input', { type: 'checkbox', ...input }), ` ${text}`)));
}

function facts({ browser, page, abilities: { wasm, webgpu } }: Found): Array<[name: string, value: string]> {
  const gpu = 'name' in webgpu ? webgpu : undefined;
  const has = (feature: string) => gpu!.features.includes(feature) ? 'yes' : 'no';
  return [
    ['Browser', `${browser.name} ${browser.version.split('.')[0]} on ${browser.system}`],
    ['Threads', `${wasm.threads}, of ${page.cores} cores${page.crossOriginIsolated ? '' : '; the page is not isolated'}`],
    ['SIMD', wasm.simd ? 'yes' : 'no'],
    ['WebGPU', gpu ? `${gpu.name}${gpu.isSoftware ? ', in software' : ''}` : 'no'],
    ...gpu ? [
      ...gpu.name.includes(gpu.architecture) ? [] : [['GPU', [gpu.vendor, gpu.architecture].filter(Boolean).join(' ')]],
      ['Buffers', `${bytes(gpu.limits.maxBufferSize)} at most, ${bytes(gpu.limits.maxStorageBufferBindingSize)} in a kernel`],
      ['Workgroup', `${bytes(gpu.limits.maxComputeWorkgroupStorageSize)} of memory, ${gpu.limits.maxComputeInvocationsPerWorkgroup} threads`],
      ['Halves', has('shader-f16')], ['Subgroups', has('subgroups')],
    ] as Array<[string, string]> : [],
  ];
}

/** All that is chosen, device by device, each in a worker of its own: what one takes is free again for the next. */
async function measure(): Promise<void> {
  const devices = chosen<Device>('devices');
  const parts = chosen<Part | 'full'>('parts').filter(part => part !== 'full');
  showProblem(devices.length === 0 ? 'Choose what to measure on.' : parts.length === 0 ? 'Choose what to measure.' : '');
  if (devices.length === 0 || parts.length === 0) return;
  outcomes = [];
  byId('picture-figure').hidden = true;
  show();
  working(true);
  let stopped = false;
  const take = (outcome: Outcome) => {
    outcomes.push(outcome);
    byId<HTMLProgressElement>('progress').value = outcomes.length / (devices.length * parts.length);
    show();
  };
  for (const device of devices) {
    announce(`Measuring ${label(device)}`);
    const full = device === 'webgpu' && (document.getElementById('full') as HTMLInputElement | null)?.checked === true;
    const stopping = new Promise<void>(resolve => {
      end = () => {
        stopped = true;
        resolve();
      };
    });
    const failed = await ask({ type: 'measure', device, parts, quick, full }, reply => {
      if (reply.type === 'progress') byId('doing').textContent = `${PART_NAMES[reply.part]} on ${label(device)}: ${reply.text}`;
      if (reply.type === 'figure') take(reply.figure);
      if (reply.type === 'failed') take({ part: reply.part, device, failed: reply.message });
      if (reply.type === 'picture') showPicture(reply.png);
    }, stopping);
    if (stopped) break;
    if (failed) parts.filter(part => !outcomes.some(each => each.device === device && each.part === part)).forEach(part => take({ part, device, failed }));
  }
  end = undefined;
  working(false);
  announce(stopped ? 'Stopped' : 'All is measured');
}

/** Has a worker do something. @returns why it did not, if so; once `stopping` is there it is ended. */
async function ask(request: Request, take: (reply: Reply) => void, stopping?: Promise<void>): Promise<string | undefined> {
  const worker = new Worker(new URL(WORKER, document.baseURI), { type: 'module' });
  const answered = new Promise<string | undefined>(resolve => {
    worker.onmessage = ({ data }: MessageEvent<Reply>) => data.type === 'done' ? resolve(undefined) : take(data);
    worker.onerror = ({ message }) => resolve(message || 'the worker could not be started');
    worker.postMessage(request);
  });
  try {
    return await Promise.race([answered, ...stopping ? [stopping.then(() => undefined)] : []]);
  } finally {
    worker.terminate();
  }
}

function chosen<T extends string>(id: 'devices' | 'parts'): T[] {
  return [...byId(id).querySelectorAll<HTMLInputElement>('input:checked')].map(({ value }) => value as T);
}

function label(device: Device): string {
  return found.abilities.devices.find(each => each.device === device)!.label;
}

function working(on: boolean): void {
  const focused = document.activeElement === startButton || document.activeElement === stopButton;
  startButton.hidden = on;
  stopButton.hidden = !on;
  byId('work').hidden = !on;
  byId<HTMLFieldSetElement>('devices').disabled = byId<HTMLFieldSetElement>('parts').disabled = on;
  byId<HTMLProgressElement>('progress').value = 0;
  byId('doing').textContent = '';
  if (focused) (on ? stopButton : startButton).focus();
}

function show(): void {
  byId('none').hidden = outcomes.length > 0;
  byId('results').hidden = outcomes.length === 0;
  byId('chart').replaceChildren(...drawChart(outcomes, label));
  byId('picture-caption').textContent = pictureCaption(outcomes, label);
  byId('rows').replaceChildren(...tableRows(outcomes, label));
  const json = JSON.stringify(report(), null, 2);
  byId('json').textContent = json;
  const download = byId<HTMLAnchorElement>('download');
  URL.revokeObjectURL(download.href);
  download.href = URL.createObjectURL(new Blob([json], { type: 'application/json' }));
}

function report(): Report {
  const { browser, page, abilities: { devices, wasm, webgpu, tfjs } } = found;
  return {
    format: 'tfjs-diffusers benchmark', version: 1, date: new Date().toISOString(), quick, versions: { 'tfjs-diffusers': LIBRARY_VERSION, tfjs },
    browser, page, wasm, webgpu, devices, results: outcomes,
  };
}

function showPicture(png: Uint8Array<ArrayBuffer>): void {
  const picture = byId<HTMLImageElement>('picture');
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(new Blob([png], { type: 'image/png' }));
  byId('picture-figure').hidden = false;
}

async function copy(): Promise<void> {
  try {
    await navigator.clipboard.writeText(byId('json').textContent!);
    announce('Copied');
    byId('copy').textContent = 'Copied';
    setTimeout(() => { byId('copy').textContent = 'Copy as JSON'; }, 2000);
  } catch { // a browser that does not let a page write there: then the text is there to be copied
    byId('json').closest('details')!.open = true;
    byId('json').focus();
    getSelection()!.selectAllChildren(byId('json'));
  }
}

function showProblem(message: string): void {
  byId('problem').textContent = message;
  byId('problem').hidden = !message;
}

/** '2 GiB', '128 MiB', '32 KiB' */
function bytes(count: number): string {
  const power = Math.min(3, Math.floor(Math.log2(count) / 10));
  return `${Number((count / 2 ** (10 * power)).toFixed(1))} ${['bytes', 'KiB', 'MiB', 'GiB'][power]}`;
}
