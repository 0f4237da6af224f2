import { commonName, RESPACINGS, respacingOf, SDE, type Respacing } from '../../../lib/schedulers/common_names.js';
import type { SchedulerInfo } from '../../../lib/pipelines/describe_model.js';
import type { SchedulerOptions } from '../protocol.js';
import { byId } from './dom.js';

/** Those that are offered first, where the model takes them. */
const USUAL = ['DPMSolverMultistepScheduler', 'EulerDiscreteScheduler', 'EulerAncestralDiscreteScheduler', 'UniPCMultistepScheduler', 'DDIMScheduler'];

/** What is in the list besides the plain classes. */
const VARIANTS: Record<string, SchedulerOptions[]> = {
  DPMSolverMultistepScheduler: [{ use_karras_sigmas: true }, { algorithm_type: SDE }, { algorithm_type: SDE, use_karras_sigmas: true }],
};

/** Classes for other ends than making a picture of noise, or the same as their namesakes. */
const UNOFFERED = /Inverse|Parallel|EDM|FlowMatch/;

/** A scheduler, by its class and what it is told besides. */
export interface Scheduling {
  scheduler: string;
  schedulerOptions: SchedulerOptions;
}

/** Which scheduler, and how it spaces its steps. */
export class SchedulerChoice {
  private readonly select = byId<HTMLSelectElement>('scheduler');
  private readonly respacing = byId<HTMLSelectElement>('noise-levels');
  private readonly spacing = byId<HTMLSelectElement>('timestep-spacing');
  private offered: SchedulerInfo[] = [];
  private chosen: Scheduling = { scheduler: 'DPMSolverMultistepScheduler', schedulerOptions: {} };

  constructor() {
    this.select.onchange = () => {
      const [scheduler, ...words] = this.select.value.split(' ');
      this.value = { scheduler, schedulerOptions: { ...this.spaced, ...Object.fromEntries(words.map(word => word === SDE ? ['algorithm_type', SDE] : [word, true])) } };
    };
    this.respacing.onchange = this.spacing.onchange = () => {
      const { scheduler, schedulerOptions: { algorithm_type } } = this.chosen;
      const respacing = this.respacing.value as Respacing | '';
      this.value = { scheduler, schedulerOptions: { ...this.spaced, ...algorithm_type && { algorithm_type }, ...respacing && { [RESPACINGS[respacing]]: true } } };
    };
  }

  get value(): Scheduling {
    const { scheduler, schedulerOptions } = this.chosen;
    const info = this.offered.find(({ name }) => name === scheduler) ?? this.offered[0];
    const taken = Object.entries(schedulerOptions).filter(([key]) => info?.takes.includes(key as keyof SchedulerOptions));
    return { scheduler: info?.name ?? scheduler, schedulerOptions: Object.fromEntries(taken) };
  }

  set value(chosen: Scheduling) {
    this.chosen = chosen;
    if (this.offered.length > 0) this.show();
  }

  /** Offers what a model can do. What was chosen counts if the model takes it, else the model's own. */
  offer(schedulers: SchedulerInfo[]): void {
    this.offered = schedulers;
    this.show();
  }

  private get spaced(): SchedulerOptions {
    return this.spacing.value ? { timestep_spacing: this.spacing.value as SchedulerOptions['timestep_spacing'] } : {};
  }

  private show(): void {
    const { scheduler, schedulerOptions } = this.value;
    const { takes } = this.offered.find(({ name }) => name === scheduler)!;
    this.listOptions();
    const value = toValue(scheduler, schedulerOptions);
    if (![...this.select.options].some(option => option.value === value)) this.select.append(this.option(scheduler, schedulerOptions));
    this.select.value = value;
    this.respacing.value = respacingOf(schedulerOptions) ?? '';
    for (const option of this.respacing.options) option.disabled = option.value !== '' && !takes.includes(RESPACINGS[option.value as Respacing]);
    this.respacing.disabled = [...this.respacing.options].every(option => !option.value || option.disabled);
    this.spacing.value = schedulerOptions.timestep_spacing ?? '';
    this.spacing.disabled = !takes.includes('timestep_spacing');
  }

  private listOptions(): void {
    const names = this.offered.map(({ name }) => name).filter((name, i) => i === 0 || !UNOFFERED.test(name));
    const usual = USUAL.filter(name => names.includes(name));
    const listed = [...usual, ...names.filter(name => !usual.includes(name))];
    this.select.replaceChildren(...listed.flatMap(name => [{}, ...VARIANTS[name] ?? []].map(options => this.option(name, options))));
  }

  private option(scheduler: string, options: SchedulerOptions): HTMLOptionElement {
    const common = commonName(scheduler, options);
    const words = common === scheduler ? common : `${common} · ${scheduler}`;
    const value = toValue(scheduler, options);
    return new Option(value === this.offered[0].name ? `${words} (the model's own)` : words, value);
  }
}

/** Without the spacing of timesteps, which no name tells. */
function toValue(scheduler: string, { algorithm_type, ...options }: SchedulerOptions): string {
  const respacing = respacingOf(options);
  return [scheduler, respacing && RESPACINGS[respacing], algorithm_type].filter(Boolean).join(' ');
}
