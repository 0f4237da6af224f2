import * as tf from '@tensorflow/tfjs';
import { ldmModules } from '../checkpoints/ldm_modules.js';
import { brief, printable } from '../core/checks.js';
import { parseJson } from '../core/json.js';
import type { ParameterSpec } from '../core/parameter.js';
import type { StateDict, StoredTensor } from '../loading/state_dict.js';
import { WeightsError } from '../weights/load_weights.js';
import { weightChange, type Part, type Parts } from './lora_kinds.js';
import { readPeftSettings, type ModuleSettings } from './peft_settings.js';

/** The networks that a LoRA file can change, as its keys call them. */
export type LoraNetwork = 'unet' | 'text_encoder' | 'text_encoder_2';

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

/** The parameters of the networks that a model has. */
export type LoraSpecs = Partial<Record<LoraNetwork, Map<string, ParameterSpec>>>;
type FlatNames = Partial<Record<LoraNetwork, Map<string, string>>>;

/**
 * What a LoRA file changes, by network and parameter. Takes the keys of peft and of diffusers, today's and those of its attention
 * processors (`unet.<module>.lora_A.weight`, `.lora.down.weight`, `<attention>.processor.to_q_lora.down.weight`), and kohya's and LyCORIS'
 * (`lora_unet_<module>.lora_down.weight`, the module's dots written as underscores, also of SGM's modules, as those for SDXL are), for
 * linear layers and convolutions, of the kinds that lora_kinds.ts has, with biases and magnitudes. What is for a text encoder that the
 * model does not have is left out, with a warning.
 * @param specs the parameters of each network that there is.
 * @param config the `adapter_config.json` beside the file, if there is one.
 * @throws WeightsError naming what does not fit.
 */
export function parseLora(file: StateDict, specs: LoraSpecs, config?: unknown): Record<LoraNetwork, LoraWeights> {
  const { name, tensors } = file;
  const problems: string[] = [];
  const modules = collectModules(tensors, specs, problems);
  const settings = adapterSettings(file, config);
  const weights: Record<LoraNetwork, LoraWeights> = { unet: new Map(), text_encoder: new Map(), text_encoder_2: new Map() };
  for (const { network, path, parts } of modules.values()) {
    try {
      const names = network === 'unet' ? [path] : [path, `text_model.${path}`];
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
  for (const network of new Set(absent)) {
    const count = absent.filter(each => each === network).length;
    console.warn(printable(`${name}: leaves out ${count} tensors for ${TEXT_ENCODERS[network]}, which this model does not have`));
  }
  return weights;
}

function collectModules(tensors: ReadonlyMap<string, StoredTensor>, specs: LoraSpecs, problems: string[]): Map<string, Module> {
  const flat: FlatNames = Object.fromEntries(Object.entries(specs).map(([network, each]) => [network, flatNames(each)]));
  const modules = new Map<string, Module>();
  for (const [key, tensor] of tensors) {
    if (absentNetwork(key, specs)) continue;
    const found = parseKey(key, flat);
    const networks = found?.networks.filter(network => specs[network]?.has(`${found.path}.weight`));
    if (!found || !networks?.length) {
      problems.push(`unexpected ${brief(key)}`);
      continue;
    }
    const [network] = networks;
    const id = `${network}.${found.path}`;
    const module = modules.get(id) ?? { network, path: found.path, parts: {} };
    modules.set(id, module);
    if (module.parts[found.part]) problems.push(`${found.path} has two of ${found.part}`);
    module.parts[found.part] = tensor;
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

/**
 * `down_blocks_0_resnets_0_conv1` -> `down_blocks.0.resnets.0.conv1`, for each weight; and `input_blocks_1_0_in_layers_2`, as SGM names it.
 */
function flatNames(specs: Map<string, ParameterSpec>): Map<string, string> {
  const modules = [...specs.keys()].filter(path => path.endsWith('.weight')).map(path => path.slice(0, -'.weight'.length));
  const names = [...modules.map(module => [module, module] as const), ...ldmModules(modules)];
  return new Map(names.map(([module, name]) => [name.replaceAll('.', '_'), module]));
}

/** What messages call the text encoders that a model may not have. */
const TEXT_ENCODERS: Record<string, string> = { text_encoder: 'a first text encoder', text_encoder_2: 'a second text encoder' };

/** The text encoder that a key is for, if the model does not have it. */
function absentNetwork(key: string, specs: LoraSpecs): LoraNetwork | undefined {
  const network = /^(lora_te2_|text_encoder_2\.)/.test(key) ? 'text_encoder_2'
    : /^(lora_te1?_|text_encoder\.)/.test(key) ? 'text_encoder'
    : undefined;
  return network && !specs[network] ? network : undefined;
}

/** Models whose text has so many features. */
const FAMILIES: Record<number, string> = {
  768: 'Stable Diffusion 1.x', 1024: 'Stable Diffusion 2.x', 1280: "SDXL's refiner", 2048: 'SDXL',
};

/** A line if what it has for the attention to the text is of another size than the model's: it is for another family. */
function otherFamily(tensors: ReadonlyMap<string, StoredTensor>, { unet }: LoraSpecs): string[] {
  const [, own] = [...unet ?? []].find(([path]) => path.endsWith('attn2.to_k.weight')) ?? [];
  const [, down] = [...tensors].find(([key]) => /attn2[._](?:processor\.)?to_k[._](?:lora[._])?(?:lora_)?(?:down|A)\b/.test(key)) ?? [];
  const [features, other] = [own?.shape[0], down?.shape[1]];
  const name = (count: number) => FAMILIES[count] ? `, as ${FAMILIES[count]} has` : '';
  return features === undefined || other === undefined || features === other ? []
    : [`it is for a UNet that attends to ${other} features of a text${name(other)}, this one's attends to ${features}${name(features)}`];
}

const partNames: Record<string, Part> = { A: 'down', B: 'up', w_norm: 'diff', b_norm: 'diff_b', lora_magnitude_vector: 'magnitude' };

/** The ends of keys of other kinds than LoRA's own, and of what goes with it. */
const KIND = new RegExp(`\\.(${[
  'hada_(?:w[12]_[ab]|t[12])', 'lokr_(?:w[12](?:_[ab])?|t2)', 'dora_scale', 'lora_magnitude_vector', 'diff(?:_b)?', '[wb]_norm',
].join('|')})(?:\\.[\\w-]+){0,2}$`);

/** What a key is of, in the first of `networks` that has such a module. */
function parseKey(key: string, flat: FlatNames): { networks: readonly LoraNetwork[]; path: string; part: Part } | undefined {
  const factor = /[._](?:lora|lora_linear_layer)[._](A|B|down|up|mid)(?:\.[\w-]+)?\.(weight|bias)$/.exec(key);
  const suffix = factor ?? KIND.exec(key) ?? /(?:_lora)?\.(alpha)$/.exec(key);
  if (!suffix) return undefined;
  const named = partNames[suffix[1]] ?? suffix[1] as Part;
  if (factor?.[2] === 'bias' && named !== 'up') return undefined;
  const part = factor?.[2] === 'bias' ? 'up_bias' : named;
  const name = key.slice(0, suffix.index);
  const kohya = /^(?:lora_(unet|te[12]?)|lycoris)_(?:text_model_)?(.*)$/.exec(name);
  if (kohya) {
    const network = kohya[1] === undefined || kohya[1] === 'unet' ? 'unet' : kohya[1] === 'te2' ? 'text_encoder_2' : 'text_encoder';
    const path = flat[network]?.get(kohya[2]);
    return path === undefined ? undefined : { networks: [network], path, part };
  }
  const [, prefix, rest] = /^(?:(unet|text_encoder(?:_2)?)\.)?(?:base_model\.model\.)?(?:text_model\.)?(.*)$/s.exec(name)!;
  const network = (prefix ?? 'unet') as LoraNetwork;
  const old = rest.replace('.processor.', '.');
  const path = network === 'unet' ? old.replace(/\.to_out$/, '.to_out.0') : old.replace(/\.to_(q|k|v|out)$/, '.$1_proj');
  return { networks: prefix ? [network] : ['unet', 'text_encoder', 'text_encoder_2'], path, part };
}

/** What peft's config in the file's metadata says, or else the one beside the file. */
function adapterSettings({ name, metadata }: StateDict, config: unknown): ReturnType<typeof readPeftSettings> | undefined {
  const text = metadata.lora_adapter_metadata;
  if (text !== undefined) return readPeftSettings(`${name}: lora_adapter_metadata`, parseJson(`${name}: lora_adapter_metadata`, text));
  return config === undefined ? undefined : readPeftSettings(`${name}: adapter_config.json`, config);
}
