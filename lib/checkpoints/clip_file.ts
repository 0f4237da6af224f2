import { CLIP_TOKENS } from './clip_vocabulary.js';
import type { TextPart } from './generations.js';
import type { Tensors } from './tensors.js';
import { textEncoder, type FoundText } from './text_encoders.js';

const TOKENS = 'text_model.embeddings.token_embedding.weight';
const PROJECTION = 'text_projection.weight';

/** The text encoder of a CLIP alone, as a class by itself has it, and as the first and the second of a pipeline. */
export interface ClipFile {
  readonly alone: FoundText;
  /** Which does not project the text as a whole: of Stable Diffusion 3 by the identity, whatever the file says, as in diffusers. */
  readonly first: FoundText;
  /** Undefined for a CLIP that has nothing to project by. */
  readonly second?: FoundText;
}

/** What lies in files as clip_l.safetensors and clip_g.safetensors, in transformers' names; undefined if there is none. */
export function findClip(tensors: Tensors): ClipFile | undefined {
  const [words, features] = tensors.get(TOKENS)?.shape ?? [];
  if (words !== CLIP_TOKENS) return undefined;
  const projects = tensors.has(PROJECTION);
  // No shape tells the activation: OpenAI's own have up to 768 features, and those of OpenCLIP that Stable Diffusion reads by more.
  const activation = features >= 1024 ? 'gelu' : undefined;
  const as = (part: Partial<TextPart>): FoundText => textEncoder(tensors, {
    component: 'text_encoder', tokenizer: 'tokenizer', clip: '', projected: true, padding: '!', prefixes: '', activation, ...part,
  })!;
  return {
    alone: as({ unprojected: !projects }), first: as({ unprojected: true }), ...projects && { second: as({ activation: 'gelu' }) },
  };
}
