import type { CheckpointTensor } from './checkpoint_tensor.js';
import { CLIP_TOKENS, clipVocabulary } from './clip_vocabulary.js';
import type { TextPart } from './generations.js';
import { clipConfig, openClipConfig } from './ldm_config.js';
import { openClipKeys } from './ldm_keys.js';
import { needed } from './shapes.js';
import { below, rowsOf, shapesOf, transposed, type Tensors } from './tensors.js';

/** A text encoder of a checkpoint. */
export interface FoundText {
  readonly config: Record<string, unknown>;
  readonly weights: Tensors;
}

export type ReadMerges = () => Promise<string>;

/** The files of a tokenizer, which no checkpoint has: all of CLIP's are one but for what they fill texts up with. */
export function tokenizerFiles({ tokenizer, padding }: TextPart, readMerges: ReadMerges): Record<string, unknown> {
  const special = (content: string) => (
    { __type: 'AddedToken', content, lstrip: false, normalized: true, rstrip: false, single_word: false }
  );
  return {
    [`${tokenizer}/vocab.json`]: async () => clipVocabulary(await readMerges()).vocab,
    [`${tokenizer}/merges.txt`]: readMerges,
    [`${tokenizer}/tokenizer_config.json`]: {
      tokenizer_class: 'CLIPTokenizer', model_max_length: 77, bos_token: special('<|startoftext|>'), eos_token: special('<|endoftext|>'),
      unk_token: special('<|endoftext|>'), pad_token: padding,
    },
  };
}

/** The text encoder of that part, if the checkpoint has it. @throws RangeError for one of another vocabulary. */
export function textEncoder(tensors: Tensors, part: TextPart): FoundText | undefined {
  const { clip, openClip, projected } = part;
  const found = clip === undefined ? undefined : clipWeights(below(tensors, clip), part);
  const encoder = found ?? (openClip === undefined ? undefined : openClipWeights(below(tensors, openClip), projected));
  if (encoder && encoder.config.vocab_size !== CLIP_TOKENS) {
    throw new RangeError(`its text encoder knows ${String(encoder.config.vocab_size)} tokens, takes CLIP's ${CLIP_TOKENS}`);
  }
  return encoder;
}

function clipWeights(clip: Tensors, { projected, activation, unprojected }: TextPart): FoundText | undefined {
  if (clip.size === 0) return undefined;
  const ofWhole = /^(text_projection|logit_scale|vision_model|visual_projection)(\.|$)/; // what a whole CLIP has besides
  const weights: Tensors = new Map([...clip].filter(([key]) => !ofWhole.test(key)));
  const shapes = shapesOf(clip);
  if (!projected) return { config: clipConfig(shapes), weights };
  const key = 'text_projection.weight';
  const features = clipConfig(shapes).hidden_size as number;
  const [projection] = unprojected ? [features] : needed('text encoder', shapes)(key);
  weights.set(key, unprojected ? identity(features) : clip.get(key)!);
  return { config: clipConfig(shapes, { activation, projection }), weights };
}

/** What leaves all as it is. */
function identity(size: number): CheckpointTensor {
  return {
    dtype: 'F16', shape: [size, size],
    read: async () => {
      const words = new Uint16Array(size * size);
      for (let i = 0; i < size; i++) words[i * (size + 1)] = 0x3c00; // 1
      return new Uint8Array(words.buffer);
    },
  };
}

function openClipWeights(openClip: Tensors, projected: boolean): FoundText | undefined {
  if (openClip.size === 0) return undefined;
  const config = openClipConfig(shapesOf(openClip), projected);
  const unused = projected ? /^(logit_scale|attn_mask)$/ : /^(text_projection|logit_scale|attn_mask)$/;
  const weights: Tensors = new Map();
  for (const [key, tensor] of openClip) {
    const layer = /^transformer\.resblocks\.(\d+)\./.exec(key);
    if ((layer && Number(layer[1]) >= config.num_hidden_layers) || unused.test(key)) continue;
    const keys = openClipKeys(key).map(name => projected && name !== 'text_projection.weight' ? `text_model.${name}` : name);
    if (key === 'text_projection') weights.set(keys[0], transposed(tensor));
    else keys.forEach((name, i) => weights.set(name, keys.length === 1 ? tensor : rowsOf(tensor, { of: keys.length, take: [i] })));
  }
  return { config, weights };
}
