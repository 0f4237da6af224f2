import { show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import { compileRegex, RegexError, type Budget } from '../core/python_regex.js';
import { WeightsError } from '../weights/load_weights.js';

/** What a config of peft says of one module, where it says so. */
export interface ModuleSettings {
  readonly rank?: number;
  readonly alpha?: number;
  /** Whether alpha is over the rank's square root (rsLoRA, arXiv:2312.03732), not the rank. */
  readonly rankStabilized: boolean;
}

const maxSteps = 5e7; // some seconds

/**
 * Reads a config of peft (`LoraConfig`, `LoHaConfig` or `LoKrConfig`): the content of an `adapter_config.json`, or of a file's metadata,
 * where each key can have the network's name before it (`unet.lora_alpha`).
 * @param name what errors call the config.
 * @returns a function of a network's name and what a module there may be called.
 * @throws WeightsError for what is no config of an adapter, or has a pattern that is broken or takes too long.
 */
export function readPeftSettings(name: string, config: unknown): (network: string, modules: readonly string[]) => ModuleSettings {
  if (!isObject(config)) throw new WeightsError(`${name}: takes an object`);
  const budget = { steps: maxSteps };
  const byNetwork = new Map<string, (modules: readonly string[]) => ModuleSettings>();
  const read = (network: string) => {
    const value = (key: string) => config[`${network}.${key}`] ?? config[key];
    const pattern = (key: string) => readPattern(`${name}: ${key}`, value(key), budget);
    const number = (key: string) => value(key) == null ? undefined : checkNumber(`${name}: ${key}`, value(key));
    const [ranks, alphas] = [pattern('rank_pattern'), pattern('alpha_pattern')];
    const [rank, alpha, rankStabilized] = [number('r'), number('lora_alpha') ?? number('alpha'), value('use_rslora') === true];
    return (modules: readonly string[]) => ({ rank: ranks(modules) ?? rank, alpha: alphas(modules) ?? alpha, rankStabilized });
  };
  return (network, modules) => {
    if (!byNetwork.has(network)) byNetwork.set(network, read(network));
    return byNetwork.get(network)!(modules);
  };
}

/** The value of the first pattern that fits a module as a whole or behind a dot, as in peft's `get_pattern_key`. */
function readPattern(name: string, values: unknown, budget: Budget): (modules: readonly string[]) => number | undefined {
  if (values == null) return () => undefined;
  if (!isObject(values)) throw new WeightsError(`${name}: got ${show(values)}, takes an object of numbers`);
  const explained = <T>(pattern: string, work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw error instanceof RegexError ? new WeightsError(`${name}: ${show(pattern)}: ${error.message}`, { cause: error }) : error;
    }
  };
  const entries = Object.entries(values).map(([pattern, value]) =>
    ({ pattern, value: checkNumber(name, value), test: explained(pattern, () => compile(pattern, budget)) }));
  return modules => entries.find(({ pattern, test }) => explained(pattern, () => modules.some(module => test(module))))?.value;
}

/** The test for peft's `(.*\.)?(pattern)$`. A pattern that is whole by itself is tried behind each dot instead, which is much faster. */
function compile(pattern: string, budget: Budget): (module: string) => boolean {
  try {
    compileRegex(pattern, budget);
  } catch {
    return compileRegex(`(.*\\.)?(${pattern})$`, budget);
  }
  const test = compileRegex(`(${pattern})$`, budget);
  return module => test(module, segmentStarts(module));
}

function segmentStarts(module: string): number[] {
  const starts = [0];
  for (let dot = module.indexOf('.'); dot >= 0; dot = module.indexOf('.', dot + 1)) starts.push(dot + 1);
  return starts;
}

function checkNumber(name: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new WeightsError(`${name}: got ${show(value)}, takes a number`);
  return value;
}
