import { Type } from 'typebox';
import type { ModelDescription } from '../pipelines/describe_model.js';
import type { PerturbedAttentionOptions } from '../pipelines/inputs/perturbed_attention.js';
import type { SkipLayerOptions } from '../pipelines/stable_diffusion_3/sd3_options.js';
import { RequestError } from './errors.js';

const share = (description: string) => Type.Optional(Type.Number({ minimum: 0, maximum: 1, description }));

/** Fields of a request that guide besides the prompt, by the names of `generate`. */
export const GUIDANCE = {
  pagScale: Type.Optional(Type.Number({
    minimum: 0, maximum: 100, description: 'how strongly to guide by perturbed attention, where a UNet denoises; not at all by default',
  })),
  pagAdaptiveScale: Type.Optional(Type.Number({
    minimum: 0, maximum: 100, description: 'how much weaker that is with each of 1000 timesteps; 0 by default',
  })),
  pagAppliedLayers: Type.Optional(Type.Array(Type.String({ maxLength: 200 }), {
    minItems: 1, maxItems: 8, description: "in which self-attentions of the UNet, by parts of their paths; ['mid'] by default",
  })),
  skipGuidanceLayers: Type.Optional(Type.Array(Type.Integer({ minimum: 0, maximum: 999 }), {
    minItems: 1, maxItems: 64, description: 'layers without which Stable Diffusion 3 says what to guide away from; none by default',
  })),
  skipLayerGuidanceScale: Type.Optional(Type.Number({ minimum: 0, maximum: 100, description: 'how strongly; 2.8 by default' })),
  skipLayerGuidanceStart: share('behind which share of the steps to begin with it; 0.01 by default'),
  skipLayerGuidanceStop: share('before which share of the steps to end it; 0.2 by default'),
};

/** What a request says of it. */
export type GuidanceRequest = Pick<PerturbedAttentionOptions & SkipLayerOptions, keyof typeof GUIDANCE>;

/** Of a request, these fields alone. */
export function pickGuidance(request: GuidanceRequest): GuidanceRequest {
  const { pagScale, pagAdaptiveScale, pagAppliedLayers } = request;
  const { skipGuidanceLayers, skipLayerGuidanceScale, skipLayerGuidanceStart, skipLayerGuidanceStop } = request;
  return {
    pagScale, pagAdaptiveScale, pagAppliedLayers,
    skipGuidanceLayers, skipLayerGuidanceScale, skipLayerGuidanceStart, skipLayerGuidanceStop,
  };
}

/** @throws RequestError for fields that do not go together, whatever the model is. */
export function checkGuidance(request: GuidanceRequest & { image?: string }): void {
  const { pagScale, pagAdaptiveScale, pagAppliedLayers, skipGuidanceLayers, ...others } = pickGuidance(request);
  refuseWithout('pagScale', pagScale, { pagAdaptiveScale, pagAppliedLayers });
  refuseWithout('skipGuidanceLayers', skipGuidanceLayers, others);
  if (skipGuidanceLayers && request.image) throw new RequestError('skipGuidanceLayers: takes no image beside it');
}

/** @throws RequestError for what the model does not have. */
export function checkGuidanceOf(
  { takesPerturbedAttention, takesSkippedLayers }: ModelDescription, { pagScale, skipGuidanceLayers }: GuidanceRequest,
): void {
  if (pagScale !== undefined && !takesPerturbedAttention) throw new RequestError('pagScale: takes a model with a UNet');
  if (skipGuidanceLayers && !takesSkippedLayers) throw new RequestError('skipGuidanceLayers: takes a model of Stable Diffusion 3');
}

function refuseWithout(name: string, given: unknown, others: object): void {
  const [alone] = Object.entries(others).filter(([, value]) => value !== undefined && given === undefined);
  if (alone) throw new RequestError(`${alone[0]}: takes a ${name} too`);
}
