import { checkInteger, checkOneOf, show } from '../core/checks.js';
import { checkLimits } from './config_limits.js';
import type { SchedulerRules } from './types.js';

/** Makes whole configs of given ones, as ConfigMixin of diffusers does. */

/** What the classes say of their configs, by their names. Filled by index.ts. */
export const knownRules: Record<string, SchedulerRules> = {};

type Entries = Record<string, unknown>;

/**
 * Fills in the defaults, and notes under `_use_default_values` which those were, so that another class may use its own.
 * @throws TypeError for an option that the class does not have, RangeError for a value that it does not take.
 */
export function completeConfig({ className: name, defaults, choices, synonyms }: SchedulerRules, options: object): Entries {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Entries;
  const unknown = Object.keys(given).filter(key => !Object.hasOwn(defaults, key));
  if (unknown.length > 0) throw new TypeError(`${name}: got the option ${unknown.join(', ')}, takes ${Object.keys(defaults).join(', ')}`);
  const config: Entries = { ...defaults, ...given };
  for (const [key, meanings] of Object.entries(synonyms)) { // a relative's names
    const value = String(config[key]);
    if (Object.hasOwn(meanings, value)) config[key] = meanings[value];
  }
  for (const [key, accepted] of Object.entries(choices)) {
    if (Object.hasOwn(defaults, key)) checkOneOf(`${name} ${key}`, config[key], accepted);
  }
  for (const [key, value] of Object.entries(defaults)) checkKind(`${name} ${key}`, config[key], value);
  checkLimits(name, config);
  checkInteger(`${name} num_train_timesteps`, config.num_train_timesteps as number, 1, 100_000);
  const respacings = ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas'].filter(key => config[key]);
  if (respacings.length > 1) throw new RangeError(`${name}: got ${respacings.join(' and ')}, takes one of them`);
  return { ...config, _class_name: name, _use_default_values: Object.keys(defaults).filter(key => !(key in given)) };
}

/** A number stands for a number, true or false for either; JSON writes an infinite number as null. */
function checkKind(name: string, value: unknown, usual: unknown): void {
  if (typeof usual === 'number' && !(Number.isFinite(value) || value === usual || (value === null && !Number.isFinite(usual)))) {
    throw new RangeError(`${name}: got ${show(value)}, takes a number, as in ${usual}`);
  }
  if (typeof usual === 'boolean' && typeof value !== 'boolean') throw new RangeError(`${name}: got ${show(value)}, takes true or false`);
}

/**
 * Splits another scheduler's config into the options that `target` takes and the rest, which a later scheduler may take.
 * What was left at its default there is left at its default here; keys that no relative knows are named in a warning.
 */
export function adoptConfig(target: SchedulerRules, config: object, overrides: object): { options: Entries; rest: Entries } {
  const { _use_default_values: untouched, ...source } = config as Entries;
  const name = String(source._class_name);
  const origin = Object.hasOwn(knownRules, name) ? knownRules[name] : undefined;
  const isDefault = ([key, value]: [string, unknown]) => Array.isArray(untouched) && untouched.includes(key)
    && (!origin || value === (origin.defaults as Entries)[key]); // a copy of the config may have set it since
  const given = Object.entries(source).filter(entry => !isDefault(entry));
  const relatives = relativesOf(target);
  const known = [...relatives, ...(origin ? [origin] : [])];
  const isKnown = (key: string) => key.startsWith('_') || known.some(({ defaults }) => Object.hasOwn(defaults, key));
  const unexpected = given.filter(([key]) => !isKnown(key));
  if (unexpected.length > 0) {
    const list = unexpected.map(([key, value]) => `${key}: ${show(value)}`).join(', ');
    const reason = relatives.length > 1 ? 'which no scheduler here takes' : 'which it does not take';
    console.warn(`${target.className}: ignores { ${list} } of the config, ${reason}: see scheduler_config.json`);
  }
  checkLimits(target.className, Object.fromEntries(given)); // what a later one takes too: some act from there
  const isOption = ([key]: [string, unknown]) => Object.hasOwn(target.defaults, key);
  return {
    options: { ...Object.fromEntries(given.filter(isOption)), ...overrides },
    rest: { ...Object.fromEntries(given.filter(entry => !isOption(entry))), _class_name: target.className },
  };
}

/** The classes between whose configs and those of `target` there is a way: itself, and most of the others. */
export function relativesOf(target: SchedulerRules): SchedulerRules[] {
  const isRelated = target.interchangeable || target.adopts;
  return Object.values(knownRules).filter(each => each === target || (isRelated && each.interchangeable));
}
