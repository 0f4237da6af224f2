import type * as tf from '@tensorflow/tfjs';
import type { PackedTensor } from './packed_tensor.js';

/**
 * A value that is stored otherwise than it is used: in a file, in host memory, in fewer bits. Parameters read it when their layer runs, so
 * that another way to store values is another of these and nothing else.
 */
export interface StoredValue {
  /** The value in our layout, on the device: the caller's, each time another tensor. */
  read(): tf.Tensor;
  /** The value on the device in as few bits as it is stored, the caller's: for backends whose kernels take it so. */
  pack?(): PackedTensor;
  /** Whether the tensor is there while the layer runs and no longer, for it takes more memory than what is stored. */
  readonly forTheMoment?: boolean;
  /** Bytes that it takes in host memory, where that is fewer than the value's own type takes. */
  readonly numBytes?: number;
}
