/** How a picture was generated. */
export interface GenerationParameters {
  prompt: string;
  negativePrompt?: string;
  numInferenceSteps: number;
  /** The scheduler's class. */
  scheduler: string;
  guidanceScale: number;
  /** Where the noise came from, if it came from a seed. */
  seed?: number | bigint;
  width: number;
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
  };
  const pairs = Object.entries(settings)
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([key, value]) => `${key}: ${quote(`${value}`)}`);
  return [prompt, negativePrompt && NEGATIVE + negativePrompt, pairs.join(', ')].filter(Boolean).join('\n');
}

/** What `formatGenerationParameters` or another tool wrote, as far as it is there and can be read. */
export function parseGenerationParameters(text: string): Partial<GenerationParameters> {
  const lines = text.replaceAll('\r', '').trim().split('\n');
  const pairs = new Map<string, string>();
  if (/^Steps: /.test(lines.at(-1)!)) {
    for (const [, key, quoted, plain] of lines.pop()!.matchAll(PAIR)) pairs.set(key, quoted ? unquote(quoted) : plain);
  }
  const negative = lines.findIndex(line => line.startsWith(NEGATIVE));
  const numberAt = (key: string) => pairs.has(key) && Number.isFinite(Number(pairs.get(key))) ? Number(pairs.get(key)) : undefined;
  const seed = /^-?\d{1,20}$/.exec(pairs.get('Seed') ?? '')?.[0];
  const [, width, height] = /^(\d{1,6})x(\d{1,6})$/.exec(pairs.get('Size') ?? '') ?? [];
  const clipSkip = numberAt('Clip skip');
  const found: Partial<GenerationParameters> = {
    prompt: (negative < 0 ? lines : lines.slice(0, negative)).join('\n'),
    negativePrompt: negative < 0 ? undefined : lines.slice(negative).join('\n').slice(NEGATIVE.length),
    numInferenceSteps: numberAt('Steps'),
    scheduler: pairs.get('Sampler'),
    guidanceScale: numberAt('CFG scale'),
    seed: seed === undefined ? undefined : Number.isSafeInteger(Number(seed)) ? Number(seed) : BigInt(seed),
    width: width === undefined ? undefined : Number(width),
    height: height === undefined ? undefined : Number(height),
    clipSkip: clipSkip === undefined ? undefined : clipSkip - 1,
    strength: numberAt('Denoising strength'),
    model: pairs.get('Model'),
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
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
