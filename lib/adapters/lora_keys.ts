import { ldmModules } from '../checkpoints/ldm_modules.js';
import { sd3ModuleNames, sd3Modules, WHOLE, type Sd3Module } from '../checkpoints/sd3_modules.js';
import type { RowParts } from '../checkpoints/tensors.js';
import type { ParameterSpec } from '../core/parameter.js';
import type { StateDict } from '../loading/state_dict.js';
import type { Part } from './lora_kinds.js';

/** What the keys of LoRA files are of, in whoever's names. */

/** The networks that a LoRA file can change, as its keys call them. */
export type LoraNetwork = 'unet' | 'transformer' | 'text_encoder' | 'text_encoder_2';

/** The parameters of the networks that a model has. */
export type LoraSpecs = Partial<Record<LoraNetwork, Map<string, ParameterSpec>>>;

/** A module that a key is of, or which of its rows there. */
export interface Place {
  readonly network: LoraNetwork;
  readonly path: string;
  readonly rows: RowParts;
}

const DENOISERS = ['unet', 'transformer'] as const;
const PREFIXES: Readonly<Record<string, LoraNetwork | undefined>> = {
  transformer: 'transformer', text_encoder: 'text_encoder', text_encoder_2: 'text_encoder_2',
  te: 'text_encoder', te1: 'text_encoder', te2: 'text_encoder_2',
};

const PART_NAMES: Record<string, Part> = { A: 'down', B: 'up', w_norm: 'diff', b_norm: 'diff_b', lora_magnitude_vector: 'magnitude' };

/** The ends of keys of other kinds than LoRA's own, and of what goes with it. */
const KIND = new RegExp(`\\.(${[
  'hada_(?:w[12]_[ab]|t[12])', 'lokr_(?:w[12](?:_[ab])?|t2)', 'dora_scale', 'lora_magnitude_vector', 'diff(?:_b)?', '[wb]_norm',
].join('|')})(?:\\.[\\w-]+){0,2}$`);

/** Reads keys of files for a model of these networks. A key gives what of its modules it is, undefined if it is of none. */
export function keyReader(specs: LoraSpecs): (key: string) => { places: readonly Place[]; part: Part } | undefined {
  const names = new Map((Object.keys(specs) as LoraNetwork[]).map(network => [network, namesOf(network, [...specs[network]!.keys()])]));
  const denoiser = DENOISERS.find(network => specs[network]) ?? 'unet';
  return key => {
    const factor = /[._](?:lora|lora_linear_layer)[._](A|B|down|up|mid)(?:\.[\w-]+)?\.(weight|bias)$/.exec(key);
    const suffix = factor ?? KIND.exec(key) ?? /(?:_lora)?\.(alpha)$/.exec(key);
    if (!suffix) return undefined;
    const named = PART_NAMES[suffix[1]] ?? suffix[1] as Part;
    if (factor?.[2] === 'bias' && named !== 'up') return undefined;
    const part = factor?.[2] === 'bias' ? 'up_bias' : named;
    const name = key.slice(0, suffix.index);
    const kohya = /^(?:lora_(unet|transformer|te[12]?)|lycoris)_(?:text_model_)?(.*)$/.exec(name);
    if (kohya) {
      const places = names.get(PREFIXES[kohya[1]] ?? denoiser)?.get(kohya[2]);
      return places && { places, part };
    }
    const [, prefix, rest] =
      /^(?:(unet|transformer|diffusion_model|text_encoder(?:_2)?)\.)?(?:base_model\.model\.)?(?:text_model\.)?(.*)$/s.exec(name)!;
    const network = prefix === 'unet' ? prefix : PREFIXES[prefix] ?? denoiser;
    const old = rest.replace('.processor.', '.');
    const isText = network.startsWith('text_encoder');
    const path = isText ? old.replace(/\.to_(q|k|v|out)$/, '.$1_proj') : old.replace(/\.to_out$/, '.to_out.0');
    const networks = prefix ? [network] : [...DENOISERS, 'text_encoder', 'text_encoder_2'] as const;
    const places = networks.map(each => names.get(each)?.get(path)).find(found => found !== undefined);
    return places && { places, part };
  };
}

/**
 * The modules of a network that have a weight, by their paths and by what the authors of the first networks called them, with dots and with
 * underscores for these: `down_blocks.0.resnets.0.conv1`, `down_blocks_0_resnets_0_conv1`, `input_blocks_1_0_in_layers_2`.
 */
function namesOf(network: LoraNetwork, parameters: readonly string[]): Map<string, readonly Place[]> {
  const modules = parameters.filter(path => path.endsWith('.weight')).map(path => path.slice(0, -'.weight'.length));
  const names = new Map<string, readonly Place[]>();
  const add = (name: string, places: readonly Place[]) => {
    names.set(name, places);
    names.set(name.replaceAll('.', '_'), places);
  };
  for (const path of modules) add(path, [{ network, path, rows: WHOLE }]);
  if (network === 'unet') ldmModules(modules).forEach((name, path) => add(name, [{ network, path, rows: WHOLE }]));
  if (network === 'transformer') for (const [name, found] of sd3Names(modules)) add(name, found.map(each => ({ network, ...each })));
  return names;
}

/** Stability's names of those of its modules that a transformer of SD3 has. */
function sd3Names(modules: readonly string[]): Array<[name: string, modules: readonly Sd3Module[]]> {
  const known = new Set(modules);
  const layers = 1 + Math.max(-1, ...modules.map(path => Number(/^transformer_blocks\.(\d+)\./.exec(path)?.[1] ?? -1)));
  return sd3ModuleNames(layers).flatMap(name => {
    const found = sd3Modules(name, layers)!;
    return found.every(({ path }) => known.has(path)) ? [[name, found]] : [];
  });
}

/** What messages call the text encoders that files may be for and a model does not have. */
export const TEXT_ENCODERS: Record<string, string> = {
  text_encoder: 'a first text encoder', text_encoder_2: 'a second text encoder', text_encoder_3: 'a third text encoder',
};

/** The text encoder that a key is for, if no LoRA changes it: the model does not have it, or it is T5. */
export function absentNetwork(key: string, specs: LoraSpecs): string | undefined {
  const network = /^(lora_te3_|text_encoder_3\.)/.test(key) ? 'text_encoder_3'
    : /^(lora_te2_|text_encoder_2\.)/.test(key) ? 'text_encoder_2'
    : /^(lora_te1?_|text_encoder\.)/.test(key) ? 'text_encoder'
    : undefined;
  return network === 'text_encoder_3' || (network && !specs[network]) ? network : undefined;
}

/** Models whose text has so many features. */
const FAMILIES: Record<number, string> = {
  768: 'Stable Diffusion 1.x', 1024: 'Stable Diffusion 2.x', 1280: "SDXL's refiner", 2048: 'SDXL',
};

const OF_UNETS = /(?:^|[._])(?:down|up|input|output|mid|middle)_blocks?[._]/;
const OF_TRANSFORMERS =
  /^(?:transformer\.|diffusion_model\.|lora_(?:unet|transformer)_)(?:joint|transformer|single|single_transformer|double)_blocks[._]/;

/** A line if it is for another family: for another kind of network, or for a text of another size, by the attention to it. */
export function otherFamily(tensors: StateDict['tensors'], { unet, transformer }: LoraSpecs): string[] {
  const keys = [...tensors.keys()];
  if (!unet && transformer && keys.some(key => OF_UNETS.test(key))) return ['it is for a UNet, this model has a transformer'];
  if (unet && keys.some(key => OF_TRANSFORMERS.test(key))) return ['it is for a transformer, as SD3 has, this model has a UNet'];
  const [, own] = [...unet ?? []].find(([path]) => path.endsWith('attn2.to_k.weight')) ?? [];
  const [, down] = [...tensors].find(([key]) => /attn2[._](?:processor\.)?to_k[._](?:lora[._])?(?:lora_)?(?:down|A)\b/.test(key)) ?? [];
  const [features, other] = [own?.shape[0], down?.shape[1]];
  const name = (count: number) => FAMILIES[count] ? `, as ${FAMILIES[count]} has` : '';
  return features === undefined || other === undefined || features === other ? []
    : [`it is for a UNet that attends to ${other} features of a text${name(other)}, this one's attends to ${features}${name(features)}`];
}

/**
 * A line if it seems to be for a UNet of fewer transformer blocks, as SSD-1B's, all of whose layers SDXL's has too: if in several places
 * it changes the first blocks, one by one, and none of the others.
 * @param changed paths of parameters.
 */
export function ofSmallerUnet(changed: readonly string[], specs: LoraSpecs['unet']): string | undefined {
  const [found, own] = [changed, [...specs?.keys() ?? []]].map(depths);
  const cut = [...found].filter(([path, blocks]) => (
    blocks.size < own.get(path)!.size && Math.max(...blocks) === blocks.size - 1
  ));
  if (cut.length < 2) return undefined;
  const [[path, blocks]] = cut;
  return `fits no more than the first ${blocks.size} of ${own.get(path)!.size} transformer blocks of ${path}, ` +
    `and some of ${cut.length - 1} other places: it seems to be for a smaller UNet, as that of SSD-1B, and pictures may not be what ` +
    'it was made for';
}

/** The numbers of the transformer blocks that parameters are of, by what these are in. */
function depths(parameters: readonly string[]): Map<string, Set<number>> {
  const found = new Map<string, Set<number>>();
  for (const parameter of parameters) {
    const [, path, block] = /^(.*)\.transformer_blocks\.(\d+)\./.exec(parameter) ?? [];
    if (path !== undefined) found.set(path, (found.get(path) ?? new Set<number>()).add(Number(block)));
  }
  return found;
}
