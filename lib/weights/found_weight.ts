import type { ParameterSpec } from '../core/parameter.js';
import type { WeightFile } from '../files/byte_source.js';
import type { FileLayout } from './layouts.js';
import type { QuantizedInfo } from './quantized_weights.js';
import type { TensorInfo } from './safetensors.js';

/** A tensor of a file that a parameter of a model takes. */
export interface FoundWeight {
  readonly path: string;
  readonly spec: ParameterSpec;
  readonly file: WeightFile;
  readonly info: TensorInfo;
  readonly layout: FileLayout;
  /** What belongs to it, if it is in fewer bits. */
  readonly quantized?: QuantizedInfo;
}
