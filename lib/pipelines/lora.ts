import * as tf from '@tensorflow/tfjs';
import { show } from '../core/checks.js';
import { narrow, widen } from '../core/precision.js';
import type { Model } from '../models/model.js';
import type { LoraFactors, LoraWeights } from '../weights/lora_weights.js';

interface Adapter {
  readonly weights: LoraWeights;
  scale: number;
}

/** The LoRA adapters of one network. Its weights always have them in, so that it runs as fast as without. */
class NetworkAdapters {
  readonly adapters = new Map<string, Adapter>();
  private fusedScale?: number;

  constructor(private readonly network: Model<unknown>) {}

  /** @throws RangeError for a name that is taken, Error if what is there is fused. */
  checkNew(name: string): void {
    if (this.adapters.has(name)) throw new RangeError(`adapterName: got ${show(name)}, which is loaded already`);
    this.checkLoose();
  }

  /** A new adapter. */
  add(name: string, weights: LoraWeights, scale: number): void {
    this.adapters.set(name, { weights, scale });
    this.apply(weights.keys());
  }

  /** Of one adapter, or of all. */
  setScale(scale: number, name?: string): void {
    this.checkLoose();
    for (const [each, adapter] of this.adapters) {
      if (name !== undefined && each !== name) continue;
      adapter.scale = scale;
      this.apply(adapter.weights.keys());
    }
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
    if (this.fusedScale === undefined) this.network.restoreParameters();
    else this.network.keepParameters();
    this.adapters.clear();
    this.fusedScale = undefined;
  }

  private checkLoose(): void {
    if (this.fusedScale !== undefined) throw new Error('LoRA: is fused; call unfuseLora or unloadLoraWeights first');
  }

  private applyAll(): void {
    this.apply(new Set([...this.adapters.values()].flatMap(({ weights }) => [...weights.keys()])));
  }

  private apply(paths: Iterable<string>): void {
    const { fusedScale = 1, adapters } = this;
    for (const path of paths) {
      this.network.changeParameter(path, original => {
        const wide = widen(original);
        const changes = [...adapters.values()].flatMap(({ weights, scale }) => {
          const factors = weights.get(path);
          return factors ? [product(factors, scale * fusedScale)] : [];
        });
        return narrow(changes.reduce((sum, change) => tf.add(sum, tf.reshape(change, sum.shape)), wide), original);
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

/** `[inputs, outputs]` */
function product({ down, up, rank, scale }: LoraFactors, adapterScale: number): tf.Tensor {
  return tf.matMul(tf.tensor2d(down, [down.length / rank, rank]), tf.tensor2d(up, [rank, up.length / rank])).mul(scale * adapterScale);
}
