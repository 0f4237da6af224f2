import type { Extra, ModelInfo, Settings } from '../protocol.js';
import { byId } from './dom.js';
import { recall, remember } from './memory.js';
import { SchedulerChoice } from './schedulers.js';
import { SizeChoice } from './size_choice.js';

/** The form with everything that a picture is made of. What is in it is there again at the next visit. */
export class SettingsForm {
  readonly form = byId<HTMLFormElement>('settings');
  private readonly prompt = byId<HTMLTextAreaElement>('prompt');
  private readonly negativePrompt = byId<HTMLInputElement>('negative-prompt');
  private readonly steps = byId<HTMLInputElement>('steps');
  private readonly guidance = byId<HTMLInputElement>('guidance');
  private readonly seed = byId<HTMLInputElement>('seed');
  private readonly newSeed = byId<HTMLInputElement>('new-seed');
  private readonly deepCache = byId<HTMLSelectElement>('deep-cache');
  private readonly tokenMerging = byId<HTMLSelectElement>('token-merging');
  private readonly scheduler = new SchedulerChoice();
  private readonly size: SizeChoice;
  /** Of the seed that is said; another seed has none. */
  private variation: Settings['variation'];
  private model?: ModelInfo;

  /** @param onSize told of another size. */
  constructor(onSize: (size: { width: number; height: number }) => void = () => undefined) {
    this.size = new SizeChoice(() => onSize(this.size.value));
    byId('dice').onclick = () => {
      this.drawSeed();
      this.keep();
    };
    this.seed.oninput = () => {
      this.newSeed.checked = false; // who says a seed wants that one
      this.variation = undefined;
    };
    this.form.addEventListener('input', () => this.changed());
    this.form.addEventListener('change', () => this.changed());
    const { settings, newSeed = true } = recall();
    if (settings) this.write(settings);
    this.newSeed.checked = newSeed;
    this.showValues();
  }

  /** How many pictures to make at a time, each of the next seed. */
  get count(): number {
    return Number(byId<HTMLSelectElement>('count').value);
  }

  /** What the form says; undefined, and the browser says what is wrong, unless all of it makes sense. */
  read(): Settings | undefined {
    const wrong = [...this.form.elements].find(element => !(element as HTMLInputElement).validity?.valid && 'validity' in element);
    const fold = wrong?.closest('details');
    if (fold) fold.open = true;
    return this.form.reportValidity() ? this.values() : undefined;
  }

  /** The settings of the picture to make now, with a new seed where one is wanted each time. */
  next(): Settings | undefined {
    if (this.newSeed.checked) this.drawSeed();
    const settings = this.read();
    this.keep();
    return settings;
  }

  /** Says these, and leaves the rest as it is. */
  write(part: Partial<Settings>): void {
    const settings = { ...this.values(), ...part };
    this.prompt.value = settings.prompt;
    this.negativePrompt.value = settings.negativePrompt;
    this.steps.valueAsNumber = settings.numInferenceSteps;
    this.guidance.valueAsNumber = settings.guidanceScale;
    this.seed.value = String(settings.seed);
    this.variation = part.seed === undefined ? this.variation : part.variation;
    this.newSeed.checked &&= part.seed === undefined;
    this.deepCache.value = String(settings.deepCache ?? '');
    this.tokenMerging.value = String(settings.tokenMerging ?? '');
    this.scheduler.value = { scheduler: settings.scheduler, schedulerOptions: settings.schedulerOptions ?? {} };
    this.size.value = settings;
    this.changed();
  }

  /** Writes into the prompt, where the caret is. */
  insert(text: string): void {
    this.prompt.setRangeText(text, this.prompt.selectionStart, this.prompt.selectionEnd, 'end');
    this.prompt.focus();
    this.keep();
  }

  /** Offers what the model can do. Guidance stays as it was chosen, unless that was what is usual with another model. */
  offerModel(model: ModelInfo): void {
    const usual = this.guidance.valueAsNumber === this.model?.guidanceScale;
    this.model = model;
    this.scheduler.offer(model.schedulers);
    this.size.offer(model);
    this.negativePrompt.disabled = !model.takesNegativePrompt;
    this.negativePrompt.placeholder = model.takesNegativePrompt ? 'What not to show' : 'This model cannot be told';
    for (const [select, extra] of [[this.deepCache, 'deepCache'], [this.tokenMerging, 'tokenMerging']] as const) select.closest<HTMLElement>('.field')!.hidden = !this.takes(extra);
    byId('faster-note').hidden = !this.takes('deepCache');
    this.showValues();
    if (!usual) return;
    this.guidance.valueAsNumber = model.guidanceScale;
    this.changed();
  }

  private values(): Settings {
    return {
      prompt: this.prompt.value.trim(), negativePrompt: this.negativePrompt.disabled ? '' : this.negativePrompt.value.trim(), numInferenceSteps: this.steps.valueAsNumber,
      guidanceScale: this.guidance.valueAsNumber, seed: this.seed.valueAsNumber, ...this.takes('variation') && this.variation && { variation: this.variation },
      ...this.scheduler.value, ...this.size.value,
      ...this.takes('deepCache') && this.deepCache.value && { deepCache: Number(this.deepCache.value) },
      ...this.takes('tokenMerging') && this.tokenMerging.value && { tokenMerging: Number(this.tokenMerging.value) },
    };
  }

  private takes(extra: Extra): boolean {
    return this.model?.takes.includes(extra) ?? true; // until it is known, what is chosen stays
  }

  private changed(): void {
    this.showValues();
    this.keep();
  }

  private keep(): void {
    if (this.form.checkValidity()) remember({ settings: this.values(), newSeed: this.newSeed.checked });
  }

  private drawSeed(): void {
    this.seed.value = String(newSeed());
    this.variation = undefined;
    this.showValues();
  }

  private showValues(): void {
    byId('steps-value').textContent = this.steps.value;
    byId('guidance-value').textContent = this.guidance.value === '1' ? 'off' : this.guidance.value;
    byId('variation-note').hidden = !(this.variation && this.takes('variation'));
    byId('variation-note').textContent = this.variation ? `${Math.round(this.variation.share * 100)} % towards ${this.variation.seed}` : '';
  }
}

export function newSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}
