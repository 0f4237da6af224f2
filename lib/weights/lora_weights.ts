import type { ParameterSpec } from '../core/block.js';
import { brief, printable } from '../core/checks.js';
import { isObject, parseJson } from '../core/json.js';
import { fits, torchToTfjs } from './layouts.js';
import { WeightsError } from './load_weights.js';
import type { StateDict, StoredTensor } from './state_dict.js';

/** The networks that a LoRA file can change, as its keys call them. */
export type LoraNetwork = 'unet' | 'text_encoder';

/** What is added to one weight, times a scale: `down` x `up`, in our layout. */
export interface LoraFactors {
  /** `[inputs, rank]`; a convolution's inputs are `height * width * in`. */
  readonly down: Float32Array;
  /** `[rank, outputs]` */
  readonly up: Float32Array;
  readonly rank: number;
  /** What its training multiplied it by: alpha / rank. */
  readonly scale: number;
}

/** By the path of the weight. */
export type LoraWeights = Map<string, LoraFactors>;

type Part = 'down' | 'up' | 'alpha';
type Parts = Partial<Record<Part, StoredTensor>> & { network: LoraNetwork; module: string };

/**
 * The factors of a LoRA file (arXiv:2106.09685), by network and weight. Takes the keys of peft and of diffusers, today's and those of its
 * attention processors (`unet.<module>.lora_A.weight`, `.lora.down.weight`, `<attention>.processor.to_q_lora.down.weight`), and kohya's
 * (`lora_unet_<module>.lora_down.weight`, the module's dots written as underscores), for linear layers and convolutions.
 * @param specs the parameters of each network.
 * @throws WeightsError naming what does not fit.
 */
export function parseLora({ name, tensors, metadata }: StateDict, specs: Record<LoraNetwork, Map<string, ParameterSpec>>): Record<LoraNetwork, LoraWeights> {
  const flat = { unet: flatNames(specs.unet), text_encoder: flatNames(specs.text_encoder) };
  const modules = new Map<string, Parts>();
  const problems: string[] = [];
  for (const [key, tensor] of tensors) {
    const found = parseKey(key, flat);
    const path = found && `${found.module}.weight`;
    if (!found || !specs[found.network].has(path!)) {
      problems.push(`unexpected ${brief(key)}`);
      continue;
    }
    const id = `${found.network}.${path}`;
    modules.set(id, { ...modules.get(id), network: found.network, module: found.module, [found.part]: tensor });
  }
  const adapter = adapterMetadata(name, metadata);
  const weights: Record<LoraNetwork, LoraWeights> = { unet: new Map(), text_encoder: new Map() };
  for (const { network, module, down, up, alpha } of modules.values()) {
    const path = `${module}.weight`;
    const spec = specs[network].get(path)!;
    const rank = down?.shape[0] ?? 0;
    if (!down || !up) problems.push(`${module} has no ${down ? 'up' : 'down'}`);
    else if (!fitsFactors(spec, down.shape, up.shape)) {
      problems.push(`${module} has factors [${down.shape.join(', ')}] and [${up.shape.join(', ')}], the weight is [${spec.shape.join(', ')}]`);
    } else {
      const scale = alpha ? alpha.data[0] / rank : adapter(network, module, rank);
      if (!Number.isFinite(scale)) problems.push(`${module} has the scale ${scale}`);
      weights[network].set(path, { down: ours(down, spec.layout), up: ours(up, 'linear'), rank, scale });
    }
  }
  if (tensors.size === 0) problems.push('it is empty');
  if (problems.length) {
    const more = problems.length > 6 ? `; and ${problems.length - 6} more` : '';
    throw new WeightsError(printable(`${name}: is no LoRA for this model: ${problems.slice(0, 6).join('; ')}${more}`));
  }
  return weights;
}

/** `down_blocks_0_resnets_0_conv1` -> `down_blocks.0.resnets.0.conv1`, for each weight of a network. */
function flatNames(specs: Map<string, ParameterSpec>): Map<string, string> {
  const modules = [...specs.keys()].filter(path => path.endsWith('.weight')).map(path => path.slice(0, -'.weight'.length));
  return new Map(modules.map(module => [module.replaceAll('.', '_'), module]));
}

function parseKey(key: string, flat: Record<LoraNetwork, Map<string, string>>): { network: LoraNetwork; module: string; part: Part } | undefined {
  const suffix = /[._](?:lora|lora_linear_layer)[._](A|B|down|up)(?:\.[\w-]+)?\.weight$|(?:_lora)?\.alpha$/.exec(key);
  if (!suffix) return undefined;
  const part = suffix[1] === undefined ? 'alpha' : suffix[1] === 'A' || suffix[1] === 'down' ? 'down' : 'up';
  const name = key.slice(0, suffix.index);
  const kohya = /^lora_(unet|te1?)_(?:text_model_)?(.*)$/.exec(name);
  if (kohya) {
    const network = kohya[1] === 'unet' ? 'unet' : 'text_encoder';
    const module = flat[network].get(kohya[2]);
    return module === undefined ? undefined : { network, module, part };
  }
  const [, prefix = 'unet', rest] = /^(?:(unet|text_encoder)\.)?(?:base_model\.model\.)?(?:text_model\.)?(.*)$/s.exec(name)!;
  const network = prefix as LoraNetwork;
  const old = rest.replace('.processor.', '.');
  const module = network === 'unet' ? old.replace(/\.to_out$/, '.to_out.0') : old.replace(/\.to_(q|k|v|out)$/, '.$1_proj');
  return { network, module, part };
}

/** The scale of a module as peft's metadata say it, 1 where they say nothing. */
function adapterMetadata(name: string, metadata: Readonly<Record<string, string>>): (network: LoraNetwork, module: string, rank: number) => number {
  const text = metadata.lora_adapter_metadata;
  const config = text === undefined ? {} : parseJson(`${name}: lora_adapter_metadata`, text);
  if (!isObject(config)) return () => 1;
  return (network, module, rank) => {
    const pattern = config[`${network}.alpha_pattern`];
    const special = Object.entries(isObject(pattern) ? pattern : {}).find(([end]) => `.${module}`.endsWith(`.${end}`));
    const alpha = special?.[1] ?? config[`${network}.lora_alpha`] ?? rank;
    return Number(alpha) / (config[`${network}.use_rslora`] === true ? Math.sqrt(rank) : rank);
  };
}

function fitsFactors({ shape, layout }: ParameterSpec, down: readonly number[], up: readonly number[]): boolean {
  const rank = down[0];
  return layout !== 'plain' && rank > 0 && fits(down, { shape: [...shape.slice(0, -1), rank], layout }, 'torch') &&
    fits(up, { shape: [rank, shape[shape.length - 1]], layout: 'linear' }, 'torch');
}

function ours({ shape, data }: StoredTensor, layout: ParameterSpec['layout']): Float32Array {
  const bytes = torchToTfjs(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 4, shape, layout);
  return new Float32Array(bytes.buffer, bytes.byteOffset, data.length);
}
