import * as tf from '@tensorflow/tfjs';
import { Generator, type GeneratorState } from '../core/random.js';
import { Image } from '../image/image.js';
import type { Pixels } from '../image/pixels.js';
import { DiffusionPipeline } from '../pipelines/index.js';
import { Scheduler, schedulerClass } from '../schedulers/index.js';

/** What stands in a message for a value that no message can hold. */
type Stand =
  | { readonly is: 'image'; readonly pixels: Pixels; readonly text: Readonly<Record<string, string>> }
  | { readonly is: 'tensor'; readonly values: ArrayLike<number>; readonly shape: number[]; readonly dtype: tf.DataType }
  | { readonly is: 'scheduler'; readonly className: string; readonly config: object }
  | { readonly is: 'generator'; readonly index: number; readonly state: GeneratorState }
  | { readonly is: 'function'; readonly index: number }
  | { readonly is: 'pipeline' | 'signal' };

/** The key of a stand-in: no option is called so. */
const STAND = '$stand';

/** What came or goes with a message: those that stay on their side and are meant by their place in a list. */
export interface Luggage {
  readonly functions: Array<(...inputs: never[]) => unknown>;
  readonly generators: Generator[];
  readonly signals: AbortSignal[];
  /** Tensors that the message made. */
  readonly tensors: tf.Tensor[];
}

export function newLuggage(): Luggage {
  return { functions: [], generators: [], signals: [], tensors: [] };
}

/** A value with stand-ins, for a message. Pictures' bytes are copied, tensors read; both stay the sender's. */
export function pack(value: unknown, luggage: Luggage): unknown {
  const stand = (content: Stand) => ({ [STAND]: content });
  if (typeof value === 'function') return stand({ is: 'function', index: luggage.functions.push(value as never) - 1 });
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  if (value instanceof Image) return stand({ is: 'image', pixels: value.pixels, text: value.text });
  if (value instanceof tf.Tensor) return stand({ is: 'tensor', values: value.dataSync(), shape: value.shape, dtype: value.dtype });
  if (value instanceof Generator) {
    if (!luggage.generators.includes(value)) luggage.generators.push(value);
    return stand({ is: 'generator', index: luggage.generators.indexOf(value), state: value.getState() });
  }
  if (value instanceof AbortSignal) {
    luggage.signals.push(value);
    return stand({ is: 'signal' });
  }
  if (value instanceof Scheduler) {
    return stand({ is: 'scheduler', className: (value.constructor as typeof Scheduler).className, config: { ...value.config } });
  }
  if (value instanceof DiffusionPipeline) return stand({ is: 'pipeline' });
  if (Array.isArray(value)) return value.map(item => pack(item, luggage));
  if (value instanceof URL) return String(value);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, pack(item, luggage)]));
}

/** As `pack`, of a result, whose tensors are given away. */
export function packAndFree(result: unknown): unknown {
  const packed = pack(result, newLuggage());
  if (typeof result === 'object' && result !== null) tf.dispose(Object.values(result).filter(value => value instanceof tf.Tensor));
  return packed;
}

/** How the receiver makes what stays with the sender. */
export interface Receiver {
  readonly luggage: Luggage;
  /** Calls one of the sender's functions. */
  call(index: number, inputs: unknown[]): unknown;
  readonly pipeline: unknown;
  readonly signal?: AbortSignal;
}

/** What `pack` packed. Tensors are the receiver's, and named in its luggage; those in an object are made when they are asked for. */
export function unpack(value: unknown, receiver: Receiver): unknown {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) return value.map(item => unpack(item, receiver));
  const { [STAND]: stand } = value as { [STAND]?: Stand };
  if (!stand) return unpackObject(value, receiver);
  switch (stand.is) {
    case 'image': return Image.of(stand.pixels, stand.text);
    case 'scheduler': return schedulerClass(stand.className).fromConfig(stand.config);
    case 'pipeline': return receiver.pipeline;
    case 'signal': return receiver.signal;
    case 'function': return (...inputs: unknown[]) => receiver.call(stand.index, inputs);
    case 'generator': return receiver.luggage.generators[stand.index] ??= Generator.fromState(stand.state);
    case 'tensor': {
      if (!tf.getBackend()) void tf.setBackend('cpu'); // plain JavaScript, in a thread that computes nothing: it is there at once
      const tensor = tf.tensor(stand.values as number[], stand.shape, stand.dtype);
      receiver.luggage.tensors.push(tensor);
      return tensor;
    }
  }
}

function unpackObject(value: object, receiver: Receiver): object {
  const result = {};
  for (const [key, item] of Object.entries(value)) {
    let made: { it: unknown } | undefined;
    const isTensor = (item as { [STAND]?: Stand } | undefined)?.[STAND]?.is === 'tensor';
    Object.defineProperty(result, key, {
      enumerable: true,
      ...isTensor ? { get: () => (made ??= { it: unpack(item, receiver) }).it } : { value: unpack(item, receiver), writable: true },
    });
  }
  return result;
}
