import type { Block } from '../core/block.js';
import { brief, checkOneOf, printable } from '../core/checks.js';
import type { ParameterSpec } from '../core/parameter.js';
import type { WeightFile } from '../files/byte_source.js';
import type { FoundWeight } from './found_weight.js';
import { fileLayout, fits, torchShape } from './layouts.js';
import { numbersShape, quantizedProblem, quantizedWeights, type QuantizedWeights } from './quantized_weights.js';
import { floatDtypes, readSafetensorsHeader, SafetensorsError, type SafetensorsHeader } from './safetensors.js';
import { openWeightReader, WEIGHT_DTYPES, type WeightDtype } from './weight_reader.js';

export interface LoadWeightsOptions {
  /** What the parameters become; other float types of the file are converted. */
  dtype?: WeightDtype;
  /** Whether to leave each weight off the device until it is used: in its file on the native CPU backend, elsewhere in host memory. */
  offload?: boolean;
  /** Called after every parameter, with bytes of the files. */
  onProgress?: (progress: { loaded: number; total: number }) => void;
}

/**
 * What files hold and no network here has: a constant of older ones, and what a whole CLIP, or a whole T5, has besides its text encoder.
 */
const UNUSED = new RegExp([
  /(^|\.)position_ids$/, /^(vision_model|visual_projection)\./, /^(text_projection\.weight|logit_scale)$/,
  /^decoder\.(block\.\d+\.layer|final_layer_norm|embed_tokens)\.|^lm_head\.weight$/,
].map(({ source }) => source).join('|'));

/** What is the same as another parameter, of which files hold both or either. */
const TIED: Readonly<Record<string, string>> = { 'encoder.embed_tokens.weight': 'shared.weight' };

/** Weights that do not fit the network: missing, unexpected, or of another shape. */
export class WeightsError extends Error {
  override name = 'WeightsError';
}

/**
 * Gives every parameter of a block its value from safetensors files, one tensor at a time, and closes nothing.
 * All files are checked before the first value is read; a read that fails disposes the block.
 * @throws WeightsError naming the missing, unexpected and misshapen weights; SafetensorsError for a broken file.
 */
export async function loadWeights(block: Block, files: readonly WeightFile[], options: LoadWeightsOptions = {}): Promise<void> {
  const { dtype = 'float32', offload = false, onProgress } = options;
  checkOneOf('dtype', dtype, WEIGHT_DTYPES);
  const weights = await matchWeights(block.getClassName(), block.parameterSpecs(), files);
  const total = weights.reduce((sum, { info }) => sum + info.byteLength, 0);
  const reader = openWeightReader({ dtype, offload });
  let loaded = 0;
  try {
    for (const weight of weights) {
      const { value, stored } = await reader.read(weight);
      if (value) block.setParameter(weight.path, value, stored);
      else block.storeParameter(weight.path, stored);
      onProgress?.({ loaded: loaded += weight.info.byteLength, total });
    }
  } catch (error) {
    block.dispose();
    throw error;
  } finally {
    reader.close();
  }
}

/** How many numbers each weight has that files hold, whatever their layout. */
export async function weightSizes(files: readonly WeightFile[]): Promise<Map<string, number>> {
  const headers = await Promise.all(files.map(readHeader));
  return new Map(headers.flatMap(({ header, quantized }) => [...header.tensors].map(([key, info]) => {
    const shape = quantized.has(key) ? numbersShape(info, fileLayout(header.metadata)) : info.shape;
    return [key, shape.reduce((product, length) => product * length, 1)] as const;
  })));
}

/**
 * Finds the tensor of every parameter by the files' headers, in the order in which they lie there.
 * Takes the names that diffusers and transformers take: with or without `text_model.`, those of the VAE's attention before 0.18, and that
 * of T5's embeddings in its encoder.
 * @param name what errors call the model.
 */
export async function matchWeights(name: string, specs: Map<string, ParameterSpec>, files: readonly WeightFile[]): Promise<FoundWeight[]> {
  const found = new Map<string, FoundWeight>();
  const unexpected: string[] = [];
  const problems: string[] = [];
  const tied = new Set<string>(); // found under the other name
  for (const file of files) {
    const { header, quantized, parts } = await readHeader(file);
    const layout = fileLayout(header.metadata);
    for (const [key, info] of header.tensors) {
      if (parts.has(key)) continue;
      const path = parameterPath(key, specs);
      if (path === undefined) {
        if (!UNUSED.test(key)) unexpected.push(brief(key));
        continue;
      }
      const spec = specs.get(path)!;
      const isTied = TIED[key] === path;
      if (isTied && found.has(path) && !tied.has(path)) continue;
      if (found.has(path) && (isTied || !tied.delete(path))) problems.push(`${brief(key)} comes twice`);
      if (isTied) tied.add(path);
      const how = quantized.get(key);
      const shape = how ? numbersShape(info, layout) : info.shape;
      if (!how && !floatDtypes.includes(info.dtype)) {
        problems.push(`${brief(key)} has dtype ${info.dtype}, takes ${floatDtypes.join(', ')}`);
      } else if (!fits(shape, spec, layout)) {
        const wanted = layout === 'tfjs' ? spec.shape : torchShape(spec);
        problems.push(`${brief(key)} has shape [${brief(shape.join(', '))}], takes [${wanted.join(', ')}]`);
      } else if (how) {
        const problem = quantizedProblem(info, how, layout);
        if (problem) problems.push(`${brief(key)} ${problem}`);
      }
      found.set(path, { path, spec, file, info, layout, quantized: how });
    }
  }
  const missing = [...specs.keys()].filter(path => !found.has(path));
  if (missing.length) problems.push(`missing ${shorten(missing)}`);
  if (unexpected.length) problems.push(`unexpected ${shorten(unexpected)}`);
  if (problems.length) {
    const names = shorten(files.map(file => file.name));
    throw new WeightsError(printable(`${name}: the weights of ${names} do not fit: ${shorten(problems, '; ')}`));
  }
  return [...found.values()];
}

async function readHeader({ name, source }: WeightFile): Promise<{ header: SafetensorsHeader } & QuantizedWeights> {
  try {
    const header = await readSafetensorsHeader(source);
    return { header, ...quantizedWeights(header) };
  } catch (error) {
    throw error instanceof SafetensorsError ? new SafetensorsError(`${name}: ${error.message}`, { cause: error }) : error;
  }
}

/** The path of the parameter that a file calls `key`, or undefined. */
function parameterPath(key: string, specs: Map<string, ParameterSpec>): string | undefined {
  const attention = key.replace(/\.(query|key|value|proj_attn)\.(?=weight$|bias$)/, (_, name: string) => `.${oldAttentionNames[name]}.`);
  const inner = key.replace(/^(text_model\.|vision_model\.(?=vision_model\.))/, '');
  return [key, inner, `text_model.${key}`, attention, TIED[key]].find(path => specs.has(path));
}

const oldAttentionNames: Record<string, string> = { query: 'to_q', key: 'to_k', value: 'to_v', proj_attn: 'to_out.0' };

/** Up to six of a list, and how many more there are. */
function shorten(names: readonly string[], separator = ', '): string {
  const more = names.length - 6;
  return names.slice(0, 6).join(separator) + (more > 0 ? `${separator}and ${more} more` : '');
}
