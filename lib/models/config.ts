import { checkOneOf, show } from '../core/checks.js';

/** The highest number that any key of a config can mean; a config comes from strangers, and sizes beyond would only exhaust memory. */
const MAX_NUMBER = 1e6;
const MAX_LIST = 16;
const MAX_LAYERS = 256;
const MAX_LAYERS_PER_BLOCK = 16; // their product with the blocks is what counts

/** What a model's config may hold, besides the types that its defaults show. */
export interface ConfigRules<Config> {
  /** Keys that take a list of what their default is, one value for each block. */
  listable?: ReadonlyArray<keyof Config>;
  /** Keys that take lists of what `listable` ones do: a list for each block, one value for each of its layers. */
  nestable?: ReadonlyArray<keyof Config>;
  /** Keys that may be null though their default is not. */
  nullable?: ReadonlyArray<keyof Config>;
  /** Keys whose default is null, with a value like those that they take else. */
  optional?: Partial<Config>;
  /** Keys of other architectures, with the only values that mean this one. */
  fixed?: Readonly<Record<string, readonly unknown[]>>;
}

/**
 * The defaults overlaid with what `config` sets; keys that mean nothing here are left out.
 * @throws TypeError, RangeError naming the key whose value does not fit.
 */
export function mergeConfig<Config extends object>(
  name: string, defaults: Config, config: object, { listable = [], nestable = [], nullable = [], optional = {}, fixed = {} }: ConfigRules<Config> = {},
): Config {
  const merged: Config = { ...defaults };
  for (const [key, value] of Object.entries(config)) {
    if (Object.hasOwn(fixed, key)) checkOneOf(`${name}: ${key}`, value, fixed[key]);
    if (!Object.hasOwn(defaults, key) || value === undefined) continue;
    const known = key as keyof Config;
    const like = optional[known] ?? defaults[known];
    const mayBeNull = nullable.includes(known) || defaults[known] === null;
    const fits = (each: unknown, list: boolean) => alike(key, each, like) || (list && alike(key, each, [like]));
    const isNested = nestable.includes(known) && Array.isArray(value) && value.length <= MAX_LIST && value.every(each => fits(each, true));
    if (!(value === null && mayBeNull) && !fits(value, listable.includes(known)) && !isNested) {
      throw new TypeError(`${name}: ${key}: got ${show(value)}, takes a value like ${show(like)}`);
    }
    const most = /per_block$|^num_\w+_blocks$/.test(key) ? MAX_LAYERS_PER_BLOCK : key.includes('layers') ? MAX_LAYERS : MAX_NUMBER;
    const isCount = (item: unknown) => typeof item !== 'number' || (Number.isInteger(item) && item <= most);
    if (!/(eps|factor|shift|mean|std)$/.test(key) && ![value].flat(2).every(isCount)) {
      throw new RangeError(`${name}: ${key}: got ${show(value)}, takes whole numbers up to ${most}`);
    }
    merged[known] = value as Config[keyof Config];
  }
  return merged;
}

/** Whether the value of a key has the type of `like`; null says nothing of the type. */
function alike(key: string, value: unknown, like: unknown): boolean {
  if (like === null) return value === null || typeof value !== 'object' || (Array.isArray(value) && value.length <= MAX_LIST);
  if (Array.isArray(like)) return Array.isArray(value) && value.length > 0 && value.length <= MAX_LIST && value.every(item => alike(key, item, like[0]));
  if (typeof value === 'number') return typeof like === 'number' && (value >= 0 || /(mean|shift_factor)$/.test(key)) && Math.abs(value) <= MAX_NUMBER;
  return typeof value === typeof like;
}

/** One value for each block: a list as it is, a single value repeated. @throws RangeError for a list of another length. */
export function perBlock<T>(name: string, value: T | T[], blocks: number): T[] {
  if (!Array.isArray(value)) return Array<T>(blocks).fill(value);
  if (value.length !== blocks) throw new RangeError(`${name}: got ${show(value)}, takes ${blocks} values, one for each block`);
  return value;
}
