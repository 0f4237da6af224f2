import * as tf from '@tensorflow/tfjs';

/** Something that only some of tfjs's backends can do, or that some can do better: each provides its own way, under its name. */
export class BackendAbility<T> {
  private readonly ways = new Map<string, T>();

  provide(backend: string, way: T): void {
    this.ways.set(backend, way);
  }

  /** The current backend's way, if it has one. */
  get current(): T | undefined {
    return this.ways.get(tf.getBackend());
  }
}
