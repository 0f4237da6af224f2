import { formatGenerationParameters } from '../../image/generation_parameters.js';
import { Image } from '../../image/image.js';
import { samplerName, scheduleName } from '../../schedulers/common_names.js';
import type { Scheduler } from '../../schedulers/scheduler.js';
import type { GenerateRequest } from '../inputs/generate_options.js';

/** The pictures of a request, each with how it was generated in its `text`, which goes into PNG files. */
export function describeImages(images: readonly Image[], request: GenerateRequest, scheduler: Scheduler): Image[] {
  const { prompts, negativePrompts, numImagesPerPrompt, numInferenceSteps, guidanceScale, guided, clipSkip, strength, generator } = request;
  const { config, constructor } = scheduler;
  const { className } = constructor as typeof Scheduler;
  return images.map(({ data, width, height }, i) => {
    const prompt = Math.floor(i / numImagesPerPrompt);
    const seed = (Array.isArray(generator) ? generator[i] : generator)?.initialSeed;
    const parameters = formatGenerationParameters({
      prompt: prompts?.[prompt] ?? '', negativePrompt: guided ? negativePrompts[prompt] : undefined, numInferenceSteps,
      scheduler: samplerName(className, config), schedule: scheduleName(config), guidanceScale, seed,
      width, height, clipSkip, strength,
    });
    return new Image(data, width, height, { parameters });
  });
}
