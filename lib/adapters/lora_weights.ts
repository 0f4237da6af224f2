import * as tf from '@tensorflow/tfjs';
import { brief, printable } from '../core/checks.js';
import { parseJson } from '../core/json.js';
import type { ParameterSpec } from '../core/parameter.js';
import type { StateDict, StoredTensor } from '../loading/state_dict.js';
import { WeightsError } from '../weights/load_weights.js';
import { absentNetwork, keyReader, ofSmallerUnet, otherFamily, TEXT_ENCODERS, type LoraNetwork, type LoraSpecs } from './lora_keys.js';
import { rowsOfPart, weightChange, type Parts } from './lora_kinds.js';
import { readPeftSettings, type ModuleSettings } from './peft_settings.js';

export type { LoraNetwork } from './lora_keys.js';

/** What is added to one parameter. */
export interface LoraChange {
  /** Makes it, in our layout, to be multiplied by `scale`. The tensor is the caller's. */
  readonly delta: () => tf.Tensor;
  /** What its training multiplied it by: alpha / rank. */
  readonly scale: number;
  /**
   * How long the weights of each output are together with what is added (DoRA, arXiv:2402.09353): shaped to be multiplied with the weight.
   * Of each input, in some files of LyCORIS.
   */
  readonly magnitude?: () => tf.Tensor;
}

/** By the path of the parameter. A layer that has no bias can get one. */
export type LoraWeights = Map<string, LoraChange>;

interface Module {
  readonly network: LoraNetwork;
  readonly path: string;
  readonly parts: Parts;
}

/**
 * What a LoRA file changes, by network and parameter. Takes the keys of peft and of diffusers, today's and those of its attention
 * processors (`unet.<module>.lora_A.weight`, `.lora.down.weight`, `<attention>.processor.to_q_lora.down.weight`), and kohya's and LyCORIS'
 * (`lora_unet_<module>.lora_down.weight`, the module's dots written as underscores), also of the modules of SGM and of Stability's SD3, as
 * those for SDXL and SD3 are, for linear layers and convolutions, of the kinds that lora_kinds.ts has, with biases and magnitudes. What is
 * for T5, or for a text encoder that the model does not have, is left out, with a warning; what seems to be for a smaller UNet gets one.
 * @param specs the parameters of each network that there is.
 * @param config the `adapter_config.json` beside the file, if there is one.
 * @throws WeightsError naming what does not fit.
 */
export function parseLora(file: StateDict, specs: LoraSpecs, config?: unknown): Record<LoraNetwork, LoraWeights> {
  const { name, tensors } = file;
  const problems: string[] = [];
  const modules = collectModules(tensors, specs, problems);
  const settings = adapterSettings(file, config);
  const weights: Record<LoraNetwork, LoraWeights> = {
    unet: new Map(), transformer: new Map(), text_encoder: new Map(), text_encoder_2: new Map(),
  };
  for (const { network, path, parts } of modules.values()) {
    try {
      const names = network.startsWith('text_encoder') ? [path, `text_model.${path}`] : [path];
      for (const [parameter, change] of moduleChanges(parts, specs[network]!.get(`${path}.weight`)!, settings?.(network, names))) {
        weights[network].set(`${path}.${parameter}`, change);
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      problems.push(`${path} ${error.message}`);
    }
  }
  const absent = [...tensors.keys()].map(key => absentNetwork(key, specs)).filter(network => network !== undefined);
  if (modules.size === 0 && problems.length === 0) {
    problems.push(tensors.size ? `it is for ${TEXT_ENCODERS[absent[0]]} alone` : 'it is empty');
  }
  if (problems.length) {
    const more = problems.length > 6 ? `; and ${problems.length - 6} more` : '';
    const listed = [...otherFamily(tensors, specs), ...problems.slice(0, 6)].join('; ');
    throw new WeightsError(printable(`${name}: is no LoRA for this model: ${listed}${more}`));
  }
  const smaller = ofSmallerUnet([...weights.unet.keys()], specs.unet);
  if (smaller) console.warn(printable(`${name}: ${smaller}`));
  for (const network of new Set(absent)) {
    const count = absent.filter(each => each === network).length;
    const why = network === 'text_encoder_3' ? 'which stays as it is' : 'which this model does not have';
    console.warn(printable(`${name}: leaves out ${count} tensors for ${TEXT_ENCODERS[network]}, ${why}`));
  }
  return weights;
}

function collectModules(tensors: ReadonlyMap<string, StoredTensor>, specs: LoraSpecs, problems: string[]): Map<string, Module> {
  const read = keyReader(specs);
  const modules = new Map<string, Module>();
  for (const [key, tensor] of tensors) {
    if (absentNetwork(key, specs)) continue;
    const found = read(key);
    if (!found) problems.push(`unexpected ${brief(key)}`);
    for (const { network, path, rows } of found?.places ?? []) {
      const { part } = found!;
      const id = `${network}.${path}`;
      const module = modules.get(id) ?? { network, path, parts: {} };
      modules.set(id, module);
      if (module.parts[part]) problems.push(`${path} has two of ${part}`);
      try {
        module.parts[part] = rowsOfPart(part, tensor, rows);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        problems.push(`${brief(key)} ${error.message}`);
      }
    }
  }
  return modules;
}

/** `weight` and `bias`, as far as they change. @throws RangeError with what is missing or does not fit. */
function moduleChanges(parts: Parts, spec: ParameterSpec, settings?: ModuleSettings): Map<string, LoraChange> {
  const changes = new Map<string, LoraChange>();
  const { alpha, up_bias: upBias, diff_b: diffBias } = parts;
  const weight = weightChange(parts, spec);
  if (!weight && !diffBias) throw new RangeError('has no down');
  const scale = weight?.takesAlpha ? trainedScale(weight.rank, alpha, settings) : 1;
  if (!Number.isFinite(scale)) throw new RangeError(`has the scale ${scale}`);
  if (weight) changes.set('weight', { delta: weight.delta, scale, magnitude: readMagnitude(parts, spec) });
  if (upBias && diffBias) throw new RangeError('has two of bias');
  const bias = upBias ?? diffBias;
  if (bias) {
    const outputs = spec.shape.at(-1)!;
    if (bias.data.length !== outputs) throw new RangeError(`has a bias [${bias.shape.join(', ')}], takes [${outputs}]`);
    changes.set('bias', { delta: () => tf.tensor1d(bias.data), scale: upBias ? scale : 1 });
  }
  return changes;
}

/** Alpha over rank. Where nothing says what alpha is, and for factors of full rank, it is 1. */
function trainedScale(rank: number | undefined, alpha: StoredTensor | undefined, settings: ModuleSettings | undefined): number {
  if (alpha) return rank === undefined ? 1 : alpha.data[0] / rank;
  if (rank !== undefined && settings?.rank !== undefined && settings.rank !== rank) {
    throw new RangeError(`has rank ${rank}, its config says ${settings.rank}`);
  }
  const over = rank ?? settings?.rank;
  if (settings?.alpha === undefined || over === undefined) return 1;
  return settings.alpha / (settings.rankStabilized ? Math.sqrt(over) : over);
}

/** peft's is one length for each output; LyCORIS' is `[outputs, 1, ...]`, or in some files of each input, `[1, inputs, ...]`. */
function readMagnitude({ magnitude, dora_scale: lycoris }: Parts, { shape, layout }: ParameterSpec): (() => tf.Tensor) | undefined {
  const stored = magnitude ?? lycoris;
  if (!stored) return undefined;
  const [inputs, outputs] = shape.slice(-2);
  const ofInputs = lycoris?.shape[0] === 1 && lycoris.shape[1] === inputs && outputs !== 1;
  if (layout === 'plain' || stored.data.length !== (ofInputs ? inputs : outputs)) {
    throw new RangeError(`has magnitudes [${stored.shape.join(', ')}], takes ${outputs}, one for each output`);
  }
  return () => tf.tensor(stored.data, ofInputs ? [inputs, 1] : [1, outputs]);
}

/** What peft's config in the file's metadata says, or else the one beside the file. */
function adapterSettings({ name, metadata }: StateDict, config: unknown): ReturnType<typeof readPeftSettings> | undefined {
  const text = metadata.lora_adapter_metadata;
  if (text !== undefined) return readPeftSettings(`${name}: lora_adapter_metadata`, parseJson(`${name}: lora_adapter_metadata`, text));
  return config === undefined ? undefined : readPeftSettings(`${name}: adapter_config.json`, config);
}
