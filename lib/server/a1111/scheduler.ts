import { RequestError } from '../../jobs/errors.js';
import { quote } from '../../jobs/picture_request.js';
import { findSampler, findSchedule, fromCommonName, samplers, schedules, type NamedScheduler } from '../../schedulers/common_names.js';
import { schedulerClasses } from '../../schedulers/index.js';
import type { Fields } from '../fields.js';

const AUTOMATIC = 'Automatic';

/** Those that go by timesteps, to which the web UI applies no schedule whatever it is told. */
const UNSCHEDULED = ['DDIM', 'PLMS', 'UniPC'];

/**
 * The scheduler of the web UI's fields: a sampler, with a schedule behind its name as in 'DPM++ 2M Karras', or in a field of its own. Where
 * neither says one it is the sampler's usual one, as there; where no sampler is named, the model's.
 * @throws RequestError for a name that stands for none here, with those that do.
 */
export function toScheduler({ sampler_name, sampler_index, scheduler }: Fields): Partial<NamedScheduler> {
  const given = textOf('sampler_name', sampler_name) ?? textOf('sampler_index', sampler_index);
  const wanted = textOf('scheduler', scheduler)?.replaceAll('_', ' ') ?? AUTOMATIC; // by its name or its label
  const schedule = wanted.toLowerCase() === AUTOMATIC.toLowerCase() ? undefined : findSchedule(wanted);
  if (schedule === undefined && wanted.toLowerCase() !== AUTOMATIC.toLowerCase()) {
    throw new RequestError(`scheduler: got ${quote(wanted)}, takes ${[AUTOMATIC, ...Object.keys(schedules)].join(', ')}`);
  }
  const name = given?.replace(/ Automatic$/i, '');
  if (name === undefined) return schedule ? { schedulerOptions: schedules[schedule] } : {};
  const named = fromCommonName(name);
  if (!named) throw new RequestError(`sampler_name: got ${quote(name)}, takes ${samplers.map(sampler => sampler.name).join(', ')}`);
  const sampler = findSampler(name);
  if (!sampler) return fit(name, named); // it ends with its schedule
  if (UNSCHEDULED.includes(sampler.name)) return named;
  const taken = schedule ?? sampler.usual;
  if (!taken) return named;
  return fit(`${sampler.name} ${taken}`, { ...named, schedulerOptions: { ...named.schedulerOptions, ...schedules[taken] } });
}

/** What the class takes of it. @throws RequestError for a schedule that it cannot have. */
function fit(name: string, { scheduler, schedulerOptions }: NamedScheduler): NamedScheduler {
  const { timestep_spacing: spacing, ...others } = schedulerOptions;
  const takes = (option: string) => Object.hasOwn(schedulerClasses[scheduler].defaults, option);
  if (!Object.keys(others).every(takes) || (spacing && spacing !== 'linspace' && !takes('timestep_spacing'))) {
    throw new RequestError(`scheduler: ${quote(name)} is not here: ${scheduler} cannot space its steps so`);
  }
  return { scheduler, schedulerOptions: takes('timestep_spacing') ? schedulerOptions : others }; // evenly is how the others do
}

/** As `/samplers` lists them. */
export function listSamplers(): object[] {
  return samplers.map(({ name, usual }) => ({ name, aliases: [], options: usual ? { scheduler: usual.toLowerCase() } : {} }));
}

/** As `/schedulers` lists them. */
export function listSchedulers(): object[] {
  return [AUTOMATIC, ...Object.keys(schedules)].map(label => (
    { name: label.toLowerCase().replaceAll(' ', '_'), label, aliases: null, default_rho: -1, need_inner_model: false }
  ));
}

function textOf(field: string, value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value !== 'string') throw new RequestError(`${field}: must be string`);
  return value;
}
