/** How a picture was generated. */
export interface GenerationParameters {
  prompt: string;
  negativePrompt?: string;
  numInferenceSteps: number;
  /** The scheduler's class. */
  scheduler: string;
  guidanceScale: number;
  seed: number | bigint;
  width: number;
  height: number;
  /** What a user would call the model. */
  model?: string;
}

/** The lines that other tools read under the keyword `parameters` of a PNG file: prompt, negative prompt, and the rest separated by commas. */
export function formatGenerationParameters(parameters: GenerationParameters): string {
  const { prompt, negativePrompt, numInferenceSteps, scheduler, guidanceScale, seed, width, height, model } = parameters;
  const settings = { Steps: numInferenceSteps, Sampler: scheduler, 'CFG scale': guidanceScale, Seed: seed, Size: `${width}x${height}`, ...(model && { Model: model }) };
  const lines = [prompt, negativePrompt && `Negative prompt: ${negativePrompt}`, Object.entries(settings).map(([key, value]) => `${key}: ${value}`).join(', ')];
  return lines.filter(Boolean).join('\n');
}
