import type { ByteSource } from '../files/byte_source.js';
import type { Dtype } from '../weights/safetensors.js';

/** A tensor of a checkpoint: `read` gives its elements in torch's order, from a source of that checkpoint. */
export interface CheckpointTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Where they begin in the file, if they lie there one behind the other in that order. */
  readonly offset?: number;
  read(source: ByteSource): Promise<Uint8Array>;
  /** What belongs to a matrix in fewer bits, whose numbers are int8, or of U8 two in a byte; the shape is that of the numbers. */
  readonly quantized?: QuantizedParts;
}

export interface QuantizedParts {
  /** How many numbers of a row have a scale together. */
  readonly groupSize: number;
  readonly scales: CheckpointTensor;
  readonly minimums?: CheckpointTensor;
  /** The same in float32. */
  readonly widened: CheckpointTensor;
}

export interface CheckpointContent {
  readonly tensors: Map<string, CheckpointTensor>;
  /** Texts beside the tensors: what a safetensors file says, or what a pickle of a learned word calls it, as `name`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** How many steps the model was trained, where the file says so. */
  readonly globalStep?: number;
}
