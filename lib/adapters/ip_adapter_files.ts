import { safetensorsView, type Checkpoint, type CheckpointTensor } from '../checkpoints/checkpoint.js';
import { rowsOf } from '../checkpoints/tensors.js';
import { brief, printable } from '../core/checks.js';
import type { WeightFile } from '../files/byte_source.js';
import { PLUS_HEAD_SIZE, type ImageProjectionConfig } from '../layers/image_projection.js';
import { closeWeightFiles } from '../loading/weight_files.js';
import type { IPAdapters } from '../models/ip_adapters.js';
import type { UNet2DConditionModel } from '../models/unet_2d_condition_model.js';
import { loadWeights, WeightsError } from '../weights/load_weights.js';

type Tensors = ReadonlyMap<string, CheckpointTensor>;

const MAX_LAYERS = 64;

/**
 * IP-Adapters of files, with weights like the UNet's, for its `setIpAdapters`.
 * @param offload whether to leave the weights off the device until they are used.
 * @throws WeightsError for a file of another kind, or for another UNet.
 */
export async function loadIpAdapters(
  unet: UNet2DConditionModel, checkpoints: readonly Checkpoint[], offload: boolean,
): Promise<IPAdapters> {
  const configs = checkpoints.map(checkpoint => projectionConfig(checkpoint));
  const paths = [...unet.textAttentions.keys()];
  const renamed = checkpoints.map((checkpoint, i) => new Map([
    ...projectionTensors(checkpoint, configs[i], `encoder_hid_proj.image_projection_layers.${i}.`),
    ...attentionTensors(checkpoint, paths, i),
  ]));
  const adapters = unet.newIpAdapters(configs);
  const files: WeightFile[] = [];
  try {
    for (const [i, { name, open }] of checkpoints.entries()) files.push({ name, source: safetensorsView(renamed[i], await open()) });
    await loadWeights(adapters, files, { dtype: unet.weightDtype, offload });
    return adapters;
  } finally {
    await closeWeightFiles(files);
  }
}

/** Of what kind the image projection of a file is, and how large. @throws WeightsError for a file of something else. */
export function projectionConfig({ name, tensors }: Checkpoint): ImageProjectionConfig {
  const fail = (problem: string): never => { throw new WeightsError(printable(`${name}: ${problem}`)); };
  const has = (key: string) => tensors.has(`image_proj.${key}`);
  const shape = (key: string, rank: number): readonly number[] => {
    const found = tensors.get(`image_proj.${key}`)?.shape ?? fail(`is no whole IP-Adapter: image_proj.${key} is missing`);
    return found.length === rank && found.every(size => size > 0) ? found
      : fail(`image_proj.${key} has shape [${brief(found.join(', '))}], takes ${rank} sizes`);
  };
  const whole = (what: string, count: number, most: number) => (
    Number.isInteger(count) && count >= 1 && count <= most ? count : fail(`its image projection would have ${count} ${what}`)
  );
  if (has('perceiver_resampler.proj_in.weight') || (has('norm.weight') && has('proj.0.weight') && !has('proj.3.weight'))) {
    return fail('is an IP-Adapter FaceID, which takes embeddings of faces and no pictures; takes IP-Adapter, Plus or Full Face');
  }
  if (has('proj.weight')) {
    const [rows, imageEmbedDim] = shape('proj.weight', 2);
    const [crossAttentionDim] = shape('norm.weight', 1);
    return { kind: 'base', imageEmbedDim, crossAttentionDim, tokens: whole('tokens', rows / crossAttentionDim, rows) };
  }
  if (has('proj.3.weight')) {
    return { kind: 'full', imageEmbedDim: shape('proj.0.weight', 2)[0], crossAttentionDim: shape('proj.3.weight', 1)[0] };
  }
  if (has('latents')) {
    const [, tokens, hiddenDim] = shape('latents', 3);
    const [queries] = shape(has('layers.0.attn.to_q.weight') ? 'layers.0.attn.to_q.weight' : 'layers.0.0.to_q.weight', 2);
    const layers = new Set([...tensors.keys()].flatMap(key => /^image_proj\.layers\.(\d+)\./.exec(key)?.[1] ?? [])).size;
    return {
      kind: 'plus', tokens, hiddenDim, embedDim: shape('proj_in.weight', 2)[1], outputDim: shape('proj_out.weight', 2)[0],
      heads: whole('heads', queries / PLUS_HEAD_SIZE, queries), layers: whole('layers', layers, MAX_LAYERS),
    };
  }
  const first = [...tensors.keys()].slice(0, 3).map(brief).join(', ') || 'no tensor at all';
  return fail(`is no IP-Adapter: it holds ${first}, takes image_proj.* and ip_adapter.*`);
}

/** The names that diffusers gives parts of an image projection. */
const RENAMES: Record<ImageProjectionConfig['kind'], ReadonlyArray<readonly [RegExp, string]>> = {
  base: [[/^proj\./, 'image_embeds.']],
  full: [[/^proj\.0\./, 'ff.net.0.proj.'], [/^proj\.2\./, 'ff.net.2.'], [/^proj\.3\./, 'norm.']],
  plus: [
    [/^(layers\.\d+)\.0\.norm1\./, '$1.ln0.'], [/^(layers\.\d+)\.0\.norm2\./, '$1.ln1.'], [/^(layers\.\d+)\.0\.to_/, '$1.attn.to_'],
    [/\.attn\.to_out\.weight$/, '.attn.to_out.0.weight'], [/^(layers\.\d+)\.1\.0\./, '$1.ff.0.'],
    [/^(layers\.\d+)\.1\.1\./, '$1.ff.1.net.0.proj.'], [/^(layers\.\d+)\.1\.3\./, '$1.ff.1.net.2.'],
  ],
};

/** The tensors of an image projection, below `prefix`. Keys and values that are one are taken apart. */
function projectionTensors({ tensors }: Checkpoint, { kind }: ImageProjectionConfig, prefix: string): Tensors {
  return new Map([...tensors].flatMap(([key, tensor]) => {
    if (!key.startsWith('image_proj.')) return [];
    const name = RENAMES[kind].reduce((name, [from, to]) => name.replace(from, to), key.slice('image_proj.'.length));
    if (!name.endsWith('.to_kv.weight')) return [[prefix + name, tensor] as const];
    return ['to_k', 'to_v'].map((part, i) => [prefix + name.replace('to_kv', part), rowsOf(tensor, { of: 2, take: [i] })] as const);
  }));
}

/** The keys and values of an adapter, by the attentions that they are for: files number all attentions, and those to the text are odd. */
function attentionTensors({ name, tensors }: Checkpoint, paths: readonly string[], adapter: number): Tensors {
  const own = [...tensors].filter(([key]) => key.startsWith('ip_adapter.'));
  const numbers = new Set(own.map(([key]) => key.split('.')[1]));
  if (numbers.size !== paths.length) {
    throw new WeightsError(printable(`${name}: is for another UNet: it has ${numbers.size} attentions, takes ${paths.length}`));
  }
  return new Map(own.map(([key, tensor]) => {
    const [, number, part] = /^ip_adapter\.(\d+)\.(to_[kv]_ip)\.weight$/.exec(key) ?? [];
    const path = part && Number(number) % 2 === 1 ? paths[(Number(number) - 1) / 2] : undefined;
    return [path ? `${path}.processor.${part}.${adapter}.weight` : key, tensor]; // what is unknown is unexpected
  }));
}
