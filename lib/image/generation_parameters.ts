/** How a picture was generated. */
export interface GenerationParameters {
  /** The text that says what to show. */
  prompt: string;
  /** The text that says what not to show. */
  negativePrompt?: string;
  /** How many denoising steps. */
  numInferenceSteps: number;
  /** What other tools call the scheduler as a sampler ('DPM++ 2M'), or its class. */
  scheduler: string;
  /** What they call the way its steps are spaced ('Karras'). */
  schedule?: string;
  /** How closely it follows the prompt. */
  guidanceScale: number;
  /** Where the noise came from, if it came from a seed. */
  seed?: number | bigint;
  /** In pixels. */
  width: number;
  /** In pixels. */
  height: number;
  /** How many of the text encoder's last layers were left out. */
  clipSkip?: number;
  /** How much of a picture it began from was given up. */
  strength?: number;
  /** What a user would call the model. */
  model?: string;
}

const NEGATIVE = 'Negative prompt: ';
const PAIR = /([^:,]+): (?:("(?:[^"\\]|\\.)*")|([^,]*))(?:, ?|$)/gy; // one right behind the other: texts come from strangers

/**
 * The lines that other tools read under the keyword `parameters` of a PNG file: prompt, negative prompt, and the rest separated by commas.
 */
export function formatGenerationParameters(parameters: GenerationParameters): string {
  const { prompt, negativePrompt, numInferenceSteps, scheduler, guidanceScale, width, height, clipSkip, strength } = parameters;
  const settings = {
    Steps: numInferenceSteps, Sampler: scheduler, 'CFG scale': guidanceScale, Seed: parameters.seed,
    Size: `${width}x${height}`, Model: parameters.model,
    'Denoising strength': strength, 'Clip skip': clipSkip ? clipSkip + 1 : undefined, // others count from the last layer, as 1
    'Schedule type': parameters.schedule, // at the end: some readers go by the place of what came before it
  };
  const pairs = Object.entries(settings)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([key, value]) => `${key}: ${quote(`${value}`)}`);
  return [prompt, negativePrompt && NEGATIVE + negativePrompt, pairs.join(', ')].filter(Boolean).join('\n');
}

/** What `formatGenerationParameters` or another tool wrote, as far as it is there and can be read. */
export function parseGenerationParameters(text: string): Partial<GenerationParameters> {
  const { prompt, negativePrompt, settings } = splitGenerationParameters(text);
  const numberAt = (key: string) => settings.has(key) && Number.isFinite(Number(settings.get(key))) ? Number(settings.get(key)) : undefined;
  const seed = /^-?\d{1,20}$/.exec(settings.get('Seed') ?? '')?.[0];
  const [, width, height] = /^(\d{1,6})x(\d{1,6})$/.exec(settings.get('Size') ?? '') ?? [];
  const clipSkip = numberAt('Clip skip');
  const found: Partial<GenerationParameters> = {
    prompt, negativePrompt,
    numInferenceSteps: numberAt('Steps'),
    scheduler: settings.get('Sampler'),
    schedule: settings.get('Schedule type'),
    guidanceScale: numberAt('CFG scale'),
    seed: seed === undefined ? undefined : Number.isSafeInteger(Number(seed)) ? Number(seed) : BigInt(seed),
    width: width === undefined ? undefined : Number(width),
    height: height === undefined ? undefined : Number(height),
    clipSkip: clipSkip === undefined ? undefined : clipSkip - 1,
    strength: numberAt('Denoising strength'),
    model: settings.get('Model'),
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

/** The parts of such a text: the prompts, and whatever else it says, by the keys of who wrote it. */
export function splitGenerationParameters(text: string): { prompt: string; negativePrompt?: string; settings: Map<string, string> } {
  const lines = text.replaceAll('\r', '').trim().split('\n');
  const settings = new Map<string, string>();
  if (/^Steps: /.test(lines.at(-1)!)) {
    for (const [, key, quoted, plain] of lines.pop()!.matchAll(PAIR)) settings.set(key, quoted ? unquote(quoted) : plain);
  }
  const negative = lines.findIndex(line => line.startsWith(NEGATIVE));
  return {
    prompt: (negative < 0 ? lines : lines.slice(0, negative)).join('\n'),
    negativePrompt: negative < 0 ? undefined : lines.slice(negative).join('\n').slice(NEGATIVE.length),
    settings,
  };
}

/** A value that would be taken for several is quoted. */
function quote(value: string): string {
  return /[,:\n"]/.test(value) ? JSON.stringify(value) : value;
}

function unquote(text: string): string {
  try {
    return JSON.parse(text) as string;
  } catch {
    return text;
  }
}
