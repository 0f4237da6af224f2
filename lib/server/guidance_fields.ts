import type { pictureRequestSchema } from '../jobs/picture_request.js';
import { toNumber, type Fields } from './fields.js';

/** What guides besides the prompt, in diffusers' words, which OpenAI's and Hugging Face's fields are beside: as fields of ours. */
export function toGuidance(fields: Fields): Record<string, unknown> {
  const { pag_scale, pag_adaptive_scale, pag_applied_layers: layers, skip_guidance_layers: skipGuidanceLayers } = fields;
  const { skip_layer_guidance_scale, skip_layer_guidance_start, skip_layer_guidance_stop } = fields;
  return {
    pagScale: toNumber(pag_scale), pagAdaptiveScale: toNumber(pag_adaptive_scale),
    pagAppliedLayers: typeof layers === 'string' ? [layers] : layers, skipGuidanceLayers,
    skipLayerGuidanceScale: toNumber(skip_layer_guidance_scale), skipLayerGuidanceStart: toNumber(skip_layer_guidance_start),
    skipLayerGuidanceStop: toNumber(skip_layer_guidance_stop),
  };
}

/** Their schemas. */
export function guidanceFields(ours: ReturnType<typeof pictureRequestSchema>['properties']) {
  return {
    pag_scale: ours.pagScale, pag_adaptive_scale: ours.pagAdaptiveScale, pag_applied_layers: ours.pagAppliedLayers,
    skip_guidance_layers: ours.skipGuidanceLayers, skip_layer_guidance_scale: ours.skipLayerGuidanceScale,
    skip_layer_guidance_start: ours.skipLayerGuidanceStart, skip_layer_guidance_stop: ours.skipLayerGuidanceStop,
  };
}

/** Their names. */
export const GUIDANCE_FIELDS: readonly string[] = Object.keys({
  pag_scale: true, pag_adaptive_scale: true, pag_applied_layers: true, skip_guidance_layers: true, skip_layer_guidance_scale: true,
  skip_layer_guidance_start: true, skip_layer_guidance_stop: true,
} satisfies Record<keyof ReturnType<typeof guidanceFields>, true>);
