import { checkOneOf, show } from '../core/checks.js';

/** The highest number that any key of a config can mean; a config comes from strangers, and sizes beyond would only exhaust memory. */
const MAX_NUMBER = 1e6;
const LIST = { least: 1, most: 16 };

/** How many layers a network can have, and each of its blocks: their product with the blocks is what counts. */
export const LAYERS = { most: 256 };
export const LAYERS_PER_BLOCK = { most: 16 };

interface KeyOptions {
  /** The values that it takes, if they are few. */
  readonly accepts?: readonly unknown[];
  /** Whether it takes null, though its default is not. */
  readonly nullable?: boolean;
  /** Whether it takes a list of what its default is, as with one value for each block. */
  readonly listable?: boolean;
  /** Whether it takes lists of that: a list for each block, one value for each of its layers. */
  readonly nestable?: boolean;
  /** How many values its list has: 1 to 16 where it says nothing. */
  readonly lengths?: { readonly least: number; readonly most: number };
}

/** What a key of a config may be. */
export interface ConfigKey<T> extends KeyOptions {
  /** What it is where a config says nothing. */
  readonly value: T;
  /** Of the type that it takes. */
  readonly like: unknown;
  /** Takes whole numbers, up to this and from `least` on, which is 1 where it is not said: most are sizes. */
  readonly most?: number;
  readonly least?: number;
  /** Takes numbers below 0. */
  readonly signed?: boolean;
  /** Takes numbers above 0 alone, as what something is divided by. */
  readonly positive?: boolean;
}

export type ConfigKeys<Config> = { readonly [K in keyof Config]-?: ConfigKey<Config[K]> };

/** A whole number from 1 on, or from `least`, or a list of them. */
export function whole<T extends number | number[]>(value: T, options: KeyOptions & { most?: number; least?: number } = {}): ConfigKey<T> {
  const { most = MAX_NUMBER, ...others } = options;
  return { value, like: value, most, ...others };
}

/** Any number from 0 on, or above it, or a list of them. */
export function real<T extends number | number[]>(value: T, options: { signed?: boolean; positive?: boolean } = {}): ConfigKey<T> {
  return { value, like: value, ...options };
}

/** A list of whole numbers up to `most`, each of which it has once or not: none by default. */
export function wholes(most: number): ConfigKey<number[]> {
  return { value: [], like: [0], most, least: 0, lengths: { least: 0, most: most + 1 } };
}

/** A text, or a list of them. */
export function text<T extends string | string[]>(value: T, options: KeyOptions = {}): ConfigKey<T> {
  return { value, like: value, ...options };
}

export function flag(value: boolean, options: KeyOptions = {}): ConfigKey<boolean> {
  return { value, like: value, ...options };
}

/** A key that is null where a config says nothing, and else takes what `key` does. */
export function optional(key: ConfigKey<unknown>): ConfigKey<null> {
  return { ...key, value: null, nullable: true };
}

/**
 * What `config` sets, and the defaults of what it does not; keys that mean nothing here are left out.
 * @param foreign keys of other architectures, with the only values that mean this one.
 * @throws TypeError, RangeError naming the key whose value does not fit.
 */
export function mergeConfig<Config extends object>(
  name: string, keys: ConfigKeys<Config>, config: object, foreign: Readonly<Record<string, readonly unknown[]>> = {},
): Config {
  const known = keys as Record<string, ConfigKey<unknown>>;
  const merged = Object.fromEntries(Object.entries(known).map(([key, { value }]) => [key, value]));
  for (const [key, value] of Object.entries(config)) {
    if (Object.hasOwn(foreign, key)) checkOneOf(`${name}: ${key}`, value, foreign[key]);
    if (!Object.hasOwn(known, key) || value === undefined) continue;
    check(`${name}: ${key}`, value, known[key]);
    merged[key] = value;
  }
  return merged as Config;
}

function check(name: string, value: unknown, key: ConfigKey<unknown>): void {
  const { like, most, least = 1, accepts, positive } = key;
  if (accepts) checkOneOf(name, value, accepts);
  if (!(value === null && key.nullable) && !fits(value, key)) {
    throw new TypeError(`${name}: got ${show(value)}, takes a value like ${show(like)}`);
  }
  const isWhole = (item: unknown) => typeof item !== 'number' || (Number.isInteger(item) && item <= most!);
  if (most !== undefined && ![value].flat(2).every(isWhole)) {
    throw new RangeError(`${name}: got ${show(value)}, takes whole numbers up to ${most}`);
  }
  const numbers = [value].flat(2).filter(item => typeof item === 'number');
  if (most !== undefined && numbers.some(item => item < least)) {
    const takes = Array.isArray(value) ? 'whole numbers' : 'a whole number';
    throw new RangeError(`${name}: got ${show(value)}, takes ${takes}, ${least} or more`);
  }
  if (positive && numbers.includes(0)) {
    throw new RangeError(`${name}: got ${show(value)}, takes ${Array.isArray(value) ? 'numbers' : 'a number'} above 0`);
  }
}

/** Whether a value has the type that a key takes, or is a list of such where the key takes lists. */
function fits(value: unknown, { like, signed, listable, nestable, lengths = LIST }: ConfigKey<unknown>): boolean {
  const isList = (of: (item: unknown) => boolean) => (list: unknown) =>
    Array.isArray(list) && list.length >= lengths.least && list.length <= lengths.most && list.every(of);
  const isOne = (item: unknown): boolean => {
    if (Array.isArray(like)) return isList(each => alike(each, like[0], signed))(item);
    return alike(item, like, signed);
  };
  if (isOne(value) || (listable === true && isList(isOne)(value))) return true;
  return nestable === true && isList(item => isOne(item) || isList(isOne)(item))(value);
}

function alike(value: unknown, like: unknown, signed = false): boolean {
  return typeof value === typeof like && (typeof value !== 'number' || ((signed || value >= 0) && Math.abs(value) <= MAX_NUMBER));
}

/** One value for each block: a list as it is, a single value repeated. @throws RangeError for a list of another length. */
export function perBlock<T>(name: string, value: T | T[], blocks: number): T[] {
  if (!Array.isArray(value)) return Array<T>(blocks).fill(value);
  if (value.length !== blocks) throw new RangeError(`${name}: got ${show(value)}, takes ${blocks} values, one for each block`);
  return value;
}
