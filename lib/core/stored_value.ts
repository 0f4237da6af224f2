import type * as tf from '@tensorflow/tfjs';
import type { PackedTensor } from './packed_tensor.js';

/**
 * A value that is stored in another form than the one that is used: in a file, in host memory, in fewer bits. Parameters read it when their
 * layer runs. To store values in a new way, write another class of this kind; nothing else changes.
 */
export interface StoredValue {
  /** The value in our layout, on the device: the caller's, each time another tensor. */
  read(): tf.Tensor;
  /** The value on the device in as few bits as it is stored, the caller's: for backends whose kernels take it so. */
  pack?(): PackedTensor;
  /** Whether the tensor exists only while the layer runs, because it takes more memory than the stored form. */
  readonly forTheMoment?: boolean;
  /** Bytes that it takes in host memory, if these are fewer than the value's own type takes. */
  readonly numBytes?: number;
}
