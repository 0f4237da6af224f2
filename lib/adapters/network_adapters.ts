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
}

/** The LoRA adapters of one network: changes on top of its parameters, which are merged where those stay on the device. */
export class NetworkAdapters {
  private readonly adapters = new Map<string, Adapter>();
  /** Names of those that act, if they are enabled. */
  private acting: string[] = [];
  private enabled = true;
  private fusedScale?: number;
  private runScale = 1;

  constructor(private readonly network: Model<unknown>) {}

  /** Of all that are loaded. */
  get names(): string[] {
    return [...this.adapters.keys()];
  }

  /** Of those that change this network. */
  get namesWithWeights(): string[] {
    return this.names.filter(name => this.adapters.get(name)!.weights.size > 0);
  }

  /** Of those that were made to act, in the order in which they were. */
  get active(): readonly string[] {
    return this.acting;
  }

  /** @throws RangeError for a name that is taken, Error if what is there is fused. */
  checkNew(name: string): void {
    if (this.adapters.has(name)) throw new RangeError(`adapterName: got ${show(name)}, which is loaded already`);
    this.checkLoose();
  }

  /** A new adapter. */
  add(name: string, weights: LoraWeights, scale: ScaleOfPath): void {
    this.adapters.set(name, { weights, scale });
    this.acting = [...this.acting, name];
    this.apply(weights.keys());
  }

  /** Takes `add` back, as far as it came. */
  withdraw(name: string): void {
    const adapter = this.adapters.get(name);
    if (!adapter) return;
    this.adapters.delete(name);
    this.acting = this.acting.filter(other => other !== name);
    this.apply(adapter.weights.keys());
  }

  /** Of one adapter, or of all. */
  setScale(scale: ScaleOfPath, name?: string): void {
    this.checkLoose();
    for (const each of name === undefined ? this.names : [name]) {
      const adapter = this.adapters.get(each)!;
      adapter.scale = scale;
      this.apply(adapter.weights.keys());
    }
  }

  /** Makes these adapters act, and no other. */
  setActive(scales: ReadonlyMap<string, ScaleOfPath>): void {
    this.checkLoose();
    this.acting = [...scales.keys()];
    scales.forEach((scale, name) => { this.adapters.get(name)!.scale = scale; });
    this.apply();
  }

  /** Whether those that are active act. */
  setEnabled(enabled: boolean): void {
    if (enabled === this.enabled) return;
    this.checkLoose();
    this.enabled = enabled;
    this.apply();
  }

  /** Forgets some of them. If all that were active are among them, the first that is left acts, as in peft. */
  delete(names: readonly string[]): void {
    this.checkLoose();
    const paths = this.paths();
    names.forEach(name => this.adapters.delete(name));
    const left = this.acting.filter(name => this.adapters.has(name));
    this.acting = left.length > 0 || this.acting.length === 0 ? left : this.names.slice(0, 1);
    this.apply(paths);
  }

  /** All that acts, so many times as strong, while one picture is made. What is fused stays as it is. */
  setRunScale(scale: number): void {
    if (scale === this.runScale) return;
    this.runScale = scale;
    if (this.fusedScale === undefined) this.apply();
  }

  /** @throws Error if they are disabled. */
  fuse(scale: number): void {
    if (!this.enabled) throw new Error('LoRA: is disabled; call enableLora first');
    this.fusedScale = scale;
    this.apply();
  }

  unfuse(): void {
    this.fusedScale = undefined;
    this.apply();
  }

  /** Forgets the adapters. What is fused stays in the weights. */
  unload(): void {
    const paths = this.paths();
    this.adapters.clear();
    this.acting = [];
    this.enabled = true;
    if (this.fusedScale === undefined) this.apply(paths);
    else this.network.mergeChanges();
    this.fusedScale = undefined;
  }

  private checkLoose(): void {
    if (this.fusedScale !== undefined) throw new Error('LoRA: is fused; call unfuseLora or unloadLoraWeights first');
  }

  /** Of all parameters that adapters change. */
  private paths(): Set<string> {
    return new Set([...this.adapters.values()].flatMap(({ weights }) => [...weights.keys()]));
  }

  private apply(paths: Iterable<string> = this.paths()): void {
    const { adapters, network } = this;
    const runScale = this.fusedScale ?? this.runScale;
    const acting = this.enabled ? this.acting.map(name => adapters.get(name)!) : [];
    for (const path of paths) {
      const changes = acting.flatMap(({ weights, scale }) => {
        const change = weights.get(path);
        return change ? [{ change, scale: scale(path) * runScale }] : [];
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
 * What an adapter adds to a weight. Where it says how long the weights of an output are, that is so at any scale, as in peft: together with
 * what is added they are brought to that length.
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
