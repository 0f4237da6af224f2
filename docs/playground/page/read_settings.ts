import { parseGenerationParameters } from '../../../lib/image/generation_parameters.js';
import { readChunks } from '../../../lib/image/png_chunks.js';
import { readTexts } from '../../../lib/image/png_text.js';
import { fromCommonName, SDE } from '../../../lib/schedulers/common_names.js';
import { SETTINGS_KEYWORD, type SchedulerOptions, type Settings } from '../protocol.js';

/** What a PNG file says of how it was made, here or by another tool; undefined if it says nothing, or is none. */
export async function readPngSettings(file: Blob): Promise<Partial<Settings> | undefined> {
  let texts: Record<string, string>;
  try {
    texts = readTexts(readChunks(new Uint8Array(await file.arrayBuffer())));
  } catch {
    return undefined;
  }
  const { [SETTINGS_KEYWORD]: own, parameters } = texts;
  if (own) return checkSettings(parseJson(own));
  if (!parameters) return undefined;
  const { scheduler, schedule, seed, ...rest } = parseGenerationParameters(parameters);
  const named = scheduler === undefined ? undefined : fromCommonName([scheduler, schedule].filter(Boolean).join(' ')) ?? fromCommonName(scheduler);
  const isOffered = Object.keys(named?.schedulerOptions ?? {}).every(option => Object.hasOwn(OPTION_CHECKS, option)); // DPM++ 3M SDE is none of 2M
  return checkSettings({ ...rest, seed: seed === undefined ? undefined : Number(seed), ...isOffered && named });
}

/** The part of an address behind #, which holds settings: `prompt=a+red+circle&seed=3&...`. */
export function toFragment(settings: Settings): string {
  const entries = Object.entries(settings).filter(([, value]) => value !== undefined && value !== '');
  return new URLSearchParams(entries.map(([key, value]) => [key, typeof value === 'object' ? JSON.stringify(value) : String(value)])).toString();
}

/** What such a part says; undefined if it says nothing. */
export function fromFragment(fragment: string): Partial<Settings> | undefined {
  const entries = [...new URLSearchParams(fragment.replace(/^#/, ''))];
  const isText = (key: string) => key === 'prompt' || key === 'negativePrompt' || key === 'scheduler';
  const settings = checkSettings(Object.fromEntries(entries.map(([key, value]) => [key, isText(key) ? value : parseJson(value)])));
  return Object.keys(settings).length > 0 ? settings : undefined;
}

const isNumber = (min: number, max: number) => (value: unknown) => typeof value === 'number' && value >= min && value <= max;
const isWhole = (min: number, max: number) => (value: unknown) => Number.isSafeInteger(value) && isNumber(min, max)(value);
const isText = (value: unknown) => typeof value === 'string' && value.length < 10_000;
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

const CHECKS: Record<keyof Settings, (value: unknown) => boolean> = {
  prompt: isText, negativePrompt: isText, numInferenceSteps: isWhole(1, 1000), guidanceScale: isNumber(0, 100), seed: isWhole(0, Number.MAX_SAFE_INTEGER),
  variation: value => isRecord(value) && isWhole(0, Number.MAX_SAFE_INTEGER)(value.seed) && isNumber(0, 1)(value.share),
  scheduler: value => isText(value) && /^\w+$/.test(value as string), schedulerOptions: isRecord, width: isWhole(1, 4096), height: isWhole(1, 4096),
  strength: isNumber(0, 1), controlScale: isNumber(0, 2), styleScale: isNumber(0, 2), deepCache: isWhole(1, 20), tokenMerging: isNumber(0, 0.75),
  loras: value => isRecord(value) && Object.values(value).every(isNumber(-10, 10)),
};

const isTrue = (value: unknown) => value === true;

const OPTION_CHECKS: Record<keyof SchedulerOptions, (value: unknown) => boolean> = {
  use_karras_sigmas: isTrue, use_exponential_sigmas: isTrue, use_beta_sigmas: isTrue, algorithm_type: value => value === SDE,
  timestep_spacing: value => ['leading', 'linspace', 'trailing'].includes(value as string),
};

/** What makes sense of what a stranger says. */
function checkSettings(said: unknown): Partial<Settings> {
  const settings = pick(said, CHECKS) as Partial<Settings>;
  if (settings.schedulerOptions) settings.schedulerOptions = pick(settings.schedulerOptions, OPTION_CHECKS);
  return settings;
}

function pick(said: unknown, checks: Record<string, (value: unknown) => boolean>): object {
  return Object.fromEntries(Object.entries(isRecord(said) ? said : {}).filter(([key, value]) => Object.hasOwn(checks, key) && checks[key](value)));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
