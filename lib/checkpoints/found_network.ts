import type { Tensors } from './tensors.js';

/** A network of a checkpoint as a folder has it, in the words of diffusers: its component, and its class, of which library. */
export interface FoundNetwork {
  readonly component: string;
  readonly library: 'diffusers' | 'transformers';
  readonly className: string;
  readonly config: Record<string, unknown>;
  readonly weights: Tensors;
}

/** Of diffusers, whose configs say the class. */
export function ofDiffusers(component: string, config: Record<string, unknown>, weights: Tensors): FoundNetwork {
  return { component, library: 'diffusers', className: String(config._class_name), config, weights };
}
