import type { DeviceInfo, ModelInfo, Settings } from '../protocol.js';
import { byId } from './dom.js';

/** Offered sizes, relative to what the model was trained on. */
const SIZES = [[1, 1], [1.5, 1], [1, 1.5], [1.5, 1.5], [2, 2]];

/** The form with everything that a picture is made of. */
export class SettingsForm {
  readonly form = byId<HTMLFormElement>('settings');
  private readonly prompt = byId<HTMLTextAreaElement>('prompt');
  private readonly negativePrompt = byId<HTMLInputElement>('negative-prompt');
  private readonly steps = byId<HTMLInputElement>('steps');
  private readonly guidance = byId<HTMLInputElement>('guidance');
  private readonly seed = byId<HTMLInputElement>('seed');
  private readonly newSeed = byId<HTMLInputElement>('new-seed');
  private readonly size = byId<HTMLSelectElement>('size');
  private readonly scheduler = byId<HTMLSelectElement>('scheduler');
  private readonly device = byId<HTMLSelectElement>('device');

  constructor() {
    byId('dice').onclick = () => this.drawSeed();
    this.form.addEventListener('input', () => this.showValues());
    this.showValues();
  }

  /** Undefined, and the browser says what is wrong, unless all of it makes sense. */
  read(): Settings | undefined {
    if (!this.form.reportValidity()) return undefined;
    const [width, height] = this.size.value.split('x').map(Number);
    return {
      prompt: this.prompt.value.trim(), negativePrompt: this.negativePrompt.value.trim(), numInferenceSteps: this.steps.valueAsNumber,
      guidanceScale: this.guidance.valueAsNumber, seed: this.seed.valueAsNumber, scheduler: this.scheduler.value, width, height,
    };
  }

  write(settings: Settings): void {
    this.prompt.value = settings.prompt;
    this.negativePrompt.value = settings.negativePrompt;
    this.steps.valueAsNumber = settings.numInferenceSteps;
    this.guidance.valueAsNumber = settings.guidanceScale;
    this.seed.value = String(settings.seed);
    this.newSeed.checked = false;
    choose(this.scheduler, settings.scheduler);
    choose(this.size, `${settings.width}x${settings.height}`);
    this.showValues();
  }

  writePrompt(prompt: string): void {
    this.prompt.value = prompt;
  }

  /** After a picture. */
  next(): void {
    if (this.newSeed.checked) this.drawSeed();
  }

  /** Offers what the model can do; keeps what was chosen if it still can. */
  offerModel({ schedulers, width, height, vaeScaleFactor }: ModelInfo): void {
    const scheduler = this.scheduler.value;
    this.scheduler.replaceChildren(...schedulers.map((name, i) => new Option(i ? name : `${name} (the model's own)`, name)));
    choose(this.scheduler, scheduler);
    const size = this.size.value;
    const multiple = (pixels: number) => Math.round(pixels / vaeScaleFactor / 8) * vaeScaleFactor * 8 || vaeScaleFactor * 8;
    this.size.replaceChildren(...SIZES.map(([x, y]) => {
      const [w, h] = [multiple(width * x), multiple(height * y)];
      return new Option(`${w} × ${h}`, `${w}x${h}`);
    }));
    choose(this.size, size);
  }

  offerDevices(devices: DeviceInfo[]): void {
    const chosen = this.device.value;
    this.device.replaceChildren(new Option('Automatic', 'auto'), ...devices.map(({ device, label, detail }) => new Option(`${label} (${detail})`, device)));
    choose(this.device, chosen);
  }

  private drawSeed(): void {
    this.seed.value = String(crypto.getRandomValues(new Uint32Array(1))[0]);
  }

  private showValues(): void {
    byId('steps-value').textContent = this.steps.value;
    byId('guidance-value').textContent = this.guidance.value === '1' ? 'off' : this.guidance.value;
  }
}

/** Chooses an option if there is one of that value. */
function choose(select: HTMLSelectElement, value: string): void {
  if ([...select.options].some(option => option.value === value)) select.value = value;
}
