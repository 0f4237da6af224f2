import type { Device } from '../../../lib/index.js';
import type { DeviceInfo, LoadReply, ModelInfo, ModelSource } from '../protocol.js';
import { announce, byId, megabytes, showProblem } from './dom.js';
import { recall, remember } from './memory.js';
import { hostOf } from './server_client.js';
import { ServerPanel } from './server_panel.js';

/** Parameters of four bytes each, beside which a picture is made in the 4 GiB that WebAssembly has. */
const MOST_IN_WASM = 750e6;

/** What the panel asks for. */
export interface ModelWishes {
  load(source: ModelSource, device: Device | 'auto', key?: string): void;
  stop(): void;
}

/** Which model, and where: in this page on one of its devices, or on a server. A load that fails leaves the model that is there, and is told of beside the control that asked for it. */
export class ModelPanel {
  private readonly fold = byId<HTMLDetailsElement>('model-fold');
  private readonly name = byId<HTMLInputElement>('model-name');
  private readonly files = byId<HTMLInputElement>('model-files');
  private readonly file = byId<HTMLInputElement>('model-file');
  private readonly bundled = byId<HTMLButtonElement>('load-bundled');
  private readonly device = byId<HTMLSelectElement>('device');
  private readonly progress = byId('model-loading');
  private readonly places = { page: byId<HTMLInputElement>('place-page'), server: byId<HTMLInputElement>('place-server') };
  private readonly server = new ServerPanel((source, control) => this.ask(source, control));
  private asked: { source: ModelSource; control: HTMLElement; instead?: boolean } = { source: { kind: 'bundled' }, control: this.bundled };
  private loaded?: { source: ModelSource; device: string; numParameters: number };
  /** What was last there, or asked for, in this page. */
  private inPage: ModelSource = { kind: 'bundled' };

  constructor(private readonly wishes: ModelWishes) {
    byId('load-name').onclick = () => this.loadName();
    this.name.onkeydown = event => {
      if (event.key !== 'Enter') return;
      event.preventDefault(); // or a picture would be made
      this.loadName();
    };
    this.files.onchange = () => {
      const files = [...this.files.files ?? []].map(file => [file.webkitRelativePath || file.name, file] as [string, File]);
      if (files.length > 0) this.ask({ kind: 'files', files }, this.files);
    };
    this.file.onchange = () => {
      const [file] = this.file.files ?? [];
      if (file) this.ask({ kind: 'file', file }, this.file);
    };
    this.bundled.onclick = () => this.ask({ kind: 'bundled' }, this.bundled);
    this.device.onchange = () => this.ask(this.inPage, this.device);
    this.places.server.onchange = () => this.showPlace();
    this.places.page.onchange = () => {
      this.showPlace();
      if (this.source.kind === 'server') this.ask(this.inPage, this.bundled);
    };
    byId('stop-loading').onclick = () => {
      this.wishes.stop();
      this.restore();
      announce('Stopped loading');
    };
    byId('reload').onclick = () => location.reload();
  }

  get source(): ModelSource {
    return this.loaded?.source ?? this.asked.source;
  }

  /** Loads what was there at the last visit. */
  begin(): void {
    const { source = { kind: 'bundled' }, device = 'auto' } = recall();
    if (device !== 'auto') this.device.append(new Option(device, device));
    this.device.value = device;
    if (source.kind === 'server') {
      this.server.show(source);
      this.places.server.checked = true;
      this.showPlace();
      return this.ask(source, this.server.fields.address);
    }
    this.ask(source, source.kind === 'name' ? this.name : device === 'auto' ? this.bundled : this.device);
  }

  /** Loads the model of a GPU that failed on WebAssembly, for this visit. @returns whether it may have room there. */
  fallBack(): boolean {
    if (!this.loaded || this.loaded.numParameters > MOST_IN_WASM) return false;
    this.device.value = 'wasm';
    this.ask(this.inPage, this.device);
    this.asked.instead = true;
    return true;
  }

  take(reply: LoadReply): void {
    switch (reply.type) {
      case 'devices':
        this.offerDevices(reply.devices);
        break;
      case 'models':
        this.server.offer(this.asked.source as Extract<ModelSource, { kind: 'server' }>, reply.models);
        break;
      case 'loading':
        byId('model-progress-text').textContent = progressText(reply);
        byId<HTMLProgressElement>('model-progress').value = reply.loaded / Math.max(1, reply.total);
        break;
      case 'loaded':
        if (this.asked.source.kind === 'server') this.server.show(this.asked.source = { ...this.asked.source, model: reply.model.name });
        else this.inPage = this.asked.source;
        this.loaded = { source: this.asked.source, device: this.device.value, numParameters: reply.model.numParameters };
        this.showModel(reply.model);
        this.restore();
        if (this.asked.instead) break;
        this.remember(this.asked.source);
        remember({ device: this.device.value as Device | 'auto' });
        break;
      case 'failed':
        if (reply.about) this.asked.control = this.server.fields[reply.about];
        this.failed(reply.message);
    }
  }

  private loadName(): void {
    const name = this.name.value.trim();
    if (name) this.ask({ kind: 'name', name }, this.name);
    else this.name.focus();
  }

  private ask(source: ModelSource, control: HTMLElement): void {
    for (const each of [this.name, this.files, this.file, this.bundled, this.device, ...Object.values(this.server.fields)]) showProblem(each);
    this.asked = { source, control };
    this.progress.hidden = !this.loaded;
    byId('model-progress-text').textContent = 'Loading';
    this.wishes.load(source, this.device.value as Device | 'auto', this.server.key);
  }

  /** Files that were picked cannot be had again without being picked. */
  private remember(source: ModelSource): void {
    if (source.kind !== 'files' && source.kind !== 'file') remember({ source });
  }

  private failed(message: string): void {
    const { control } = this.asked;
    this.fold.open = true;
    this.bundled.hidden = this.loaded?.source.kind === 'bundled';
    showProblem(control, message);
    this.restore();
    if (!this.loaded) this.beginInstead();
  }

  /** What was there at the last visit is not to be had now: the bundled model makes do, without being what the next visit begins with. */
  private beginInstead(): void {
    byId('model').textContent = 'None is loaded';
    byId('model-summary').textContent = 'none';
    if (this.asked.source.kind === 'bundled' && this.device.value === 'auto' && this.asked.control !== this.device) return; // that failed itself
    this.device.value = 'auto';
    this.asked = { source: { kind: 'bundled' }, control: this.bundled, instead: true };
    this.wishes.load(this.asked.source, 'auto');
  }

  /** The controls as they are with the model that is there. */
  private restore(): void {
    this.progress.hidden = true;
    this.files.value = this.file.value = '';
    if (this.loaded) this.device.value = this.loaded.device;
    if (this.loaded?.source.kind === 'server') this.server.mark(this.loaded.source); // what was typed stays, to be mended
  }

  private showPlace(): void {
    byId('on-server').hidden = !this.places.server.checked;
    byId('in-page').hidden = this.places.server.checked;
  }

  private offerDevices(devices: DeviceInfo[]): void {
    const chosen = this.device.value;
    this.device.replaceChildren(new Option('Automatic', 'auto'), ...devices.map(({ device, label, detail }) => new Option(`${label} (${detail})`, device)));
    if (chosen === 'auto' || devices.some(({ device }) => device === chosen)) this.device.value = chosen;
    else if (this.loaded) this.device.value = this.loaded.device;
  }

  private showModel({ name, device, numParameters }: ModelInfo): void {
    const { source } = this.asked;
    const isBundled = source.kind === 'bundled';
    const host = source.kind === 'server' ? hostOf(source.url) : undefined;
    byId('model').textContent = numParameters > 0 ? `${name}, ${(numParameters / 1e6).toFixed(1)} million parameters` : name;
    byId('model-summary').textContent = `${name.split('/').at(-1)} on ${host ?? device!.label}`;
    byId('model-note').textContent = isBundled ? 'Made for this page: it draws one or two figures in a dozen colours, as the prompts above do, and nothing else.'
      : host && numParameters === 0 ? 'The server has not loaded it yet. Sizes and schedulers are the usual ones until it is chosen again.' : '';
    byId('where').textContent = host === undefined ? 'Everything runs in this browser. Nothing that you type leaves it.'
      : `Pictures are made by ${host}. Prompts, settings and pictures to begin from are sent there.`;
    this.bundled.hidden = isBundled;
    if (device) this.showDevice(device);
  }

  private showDevice({ device, label, detail }: DeviceInfo): void {
    const single = device === 'wasm' && !crossOriginIsolated;
    byId('device-note').textContent = `Now: ${label}, ${detail}.${single ? ' More threads take a page that its server isolates from others (headers COOP and COEP).' : ''}`;
    byId('reload').hidden = !(single && navigator.serviceWorker?.controller);
  }
}

/** 'Fetching the model: 3 MB of 14 MB' */
export function progressText({ stage, loaded, total }: Extract<LoadReply, { type: 'loading' }>): string {
  return stage === 'download' ? `Fetching the model: ${megabytes(loaded)} of ${megabytes(total)}` : 'Reading the weights';
}
