import * as tf from '@tensorflow/tfjs';
import { show } from '../core/checks.js';
import { narrow, widen } from '../core/precision.js';
import type { Model } from '../models/model.js';
import type { LoraChange, LoraWeights } from './lora_weights.js';

/** How strongly an adapter acts on the parameter at a path. */
export type ScaleOfPath = (path: string) => number;

interface Adapter {
  readonly weights: LoraWeights;
  scale: ScaleOfPath;
  active: boolean;
}

/** The LoRA adapters of one network. Its weights always have them in, so that it runs as fast as without. */
export class NetworkAdapters {
  readonly adapters = new Map<string, Adapter>();
  private fusedScale?: number;
  private runScale = 1;

  constructor(private readonly network: Model<unknown>) {}

  /** @throws RangeError for a name that is taken, Error if what is there is fused. */
  checkNew(name: string): void {
    if (this.adapters.has(name)) throw new RangeError(`adapterName: got ${show(name)}, which is loaded already`);
    this.checkLoose();
  }

  /** A new adapter. */
  add(name: string, weights: LoraWeights, scale: ScaleOfPath): void {
    this.adapters.set(name, { weights, scale, active: true });
    this.apply(weights.keys());
  }

  /** Of one adapter, or of all. */
  setScale(scale: ScaleOfPath, name?: string): void {
    this.checkLoose();
    for (const [each, adapter] of this.adapters) {
      if (name !== undefined && each !== name) continue;
      adapter.scale = scale;
      this.apply(adapter.weights.keys());
    }
  }

  /** Makes these adapters act, and no other. */
  setActive(scales: ReadonlyMap<string, ScaleOfPath>): void {
    this.checkLoose();
    for (const [name, adapter] of this.adapters) {
      adapter.active = scales.has(name);
      adapter.scale = scales.get(name) ?? adapter.scale;
    }
    this.applyAll();
  }

  /** All that acts, so many times as strong, while one picture is made. What is fused stays as it is. */
  setRunScale(scale: number): void {
    if (scale === this.runScale) return;
    this.runScale = scale;
    if (this.fusedScale === undefined) this.applyAll();
  }

  fuse(scale: number): void {
    this.fusedScale = scale;
    this.applyAll();
  }

  unfuse(): void {
    this.fusedScale = undefined;
    this.applyAll();
  }

  /** Forgets the adapters. What is fused stays in the weights. */
  unload(): void {
    if (this.fusedScale !== undefined) this.network.mergeChanges();
    const paths = this.changedPaths();
    this.adapters.clear();
    if (this.fusedScale === undefined) this.apply(paths);
    this.fusedScale = undefined;
  }

  private checkLoose(): void {
    if (this.fusedScale !== undefined) throw new Error('LoRA: is fused; call unfuseLora or unloadLoraWeights first');
  }

  private applyAll(): void {
    this.apply(this.changedPaths());
  }

  private changedPaths(): Set<string> {
    return new Set([...this.adapters.values()].flatMap(({ weights }) => [...weights.keys()]));
  }

  private apply(paths: Iterable<string>): void {
    const { fusedScale, runScale, adapters, network } = this;
    for (const path of paths) {
      const changes = [...adapters.values()].filter(({ active }) => active).flatMap(({ weights, scale }) => {
        const change = weights.get(path);
        return change ? [{ change, scale: scale(path) * (fusedScale ?? runScale) }] : [];
      });
      network.changeParameter(path, changes.length === 0 ? undefined : original => {
        const wide = widen(original);
        const differences = changes.map(({ change, scale }) => difference(change, wide, scale));
        return narrow(differences.reduce((sum, each) => tf.add(sum, each), wide), original);
      });
    }
  }
}

const adaptersOf = new WeakMap<Model<unknown>, NetworkAdapters>();

/** The adapters of a network, whichever pipelines use it. */
export function networkAdapters(network: Model<unknown>): NetworkAdapters {
  const known = adaptersOf.get(network) ?? new NetworkAdapters(network);
  adaptersOf.set(network, known);
  return known;
}

/**
 * What an adapter adds to a weight. Where it says how long the weights of an output are, that is so at any scale, as in peft: together with what
 * is added they are brought to that length.
 */
function difference({ delta, scale, magnitude }: LoraChange, weight: tf.Tensor, adapterScale: number): tf.Tensor {
  const added = delta().mul(scale * adapterScale);
  if (!magnitude) return added;
  const sum = tf.add(weight, added);
  const lengths = magnitude();
  const summed = sum.shape.map((_, axis) => axis).filter(axis => lengths.shape[axis - sum.rank + 2] === 1 || axis < sum.rank - 2);
  const norm = tf.maximum(tf.sqrt(tf.sum(tf.square(sum), summed, true)), Number.EPSILON);
  return tf.sub(tf.mul(sum, tf.div(lengths, norm)), weight);
}
