import type { Text2ImagePipeline } from '../pipelines/auto_pipeline.js';
import { describeModel } from '../pipelines/describe_model.js';
import type { PerturbedAttentionOptions } from '../pipelines/inputs/perturbed_attention.js';
import type { SkipLayerOptions } from '../pipelines/stable_diffusion_3/sd3_options.js';
import type { GenerateCommandOptions } from './generate_command_options.js';
import { refuseWithout, UsageError } from './usage_error.js';

/** How to guide besides by the prompt, in the pipelines' words. */
export type Guidance = PerturbedAttentionOptions & SkipLayerOptions;

/** @throws UsageError for options that do not go together. */
export function readGuidance(options: GenerateCommandOptions): Guidance {
  const { pagScale, pagAdaptiveScale, pagLayers, image, controlnet } = options;
  const { skipLayers, skipLayerGuidanceScale, skipLayerGuidanceStart, skipLayerGuidanceStop } = options;
  refuseWithout('--pag-scale', pagScale, { '--pag-adaptive-scale': pagAdaptiveScale, '--pag-layers': pagLayers });
  refuseWithout('--skip-layers', skipLayers, {
    '--skip-layer-guidance-scale': skipLayerGuidanceScale, '--skip-layer-guidance-start': skipLayerGuidanceStart,
    '--skip-layer-guidance-stop': skipLayerGuidanceStop,
  });
  if (skipLayers && (image ?? controlnet)) {
    throw new UsageError(`--skip-layers: got ${image ? '--image' : '--controlnet'} too, is for pictures of a prompt alone`);
  }
  return {
    pagScale, pagAdaptiveScale, pagAppliedLayers: pagLayers,
    skipGuidanceLayers: skipLayers, skipLayerGuidanceScale, skipLayerGuidanceStart, skipLayerGuidanceStop,
  };
}

/** @throws UsageError for what the model does not have. */
export function checkGuidance(pipe: Text2ImagePipeline, { pagScale, skipGuidanceLayers }: Guidance): void {
  const { takesPerturbedAttention, takesSkippedLayers } = describeModel(pipe);
  if (pagScale !== undefined && !takesPerturbedAttention) {
    throw new UsageError('--pag-scale: takes a model with a UNet, and this one has a transformer');
  }
  if (skipGuidanceLayers && !takesSkippedLayers) {
    throw new UsageError('--skip-layers: takes a model of Stable Diffusion 3, and this one is of another family');
  }
}
