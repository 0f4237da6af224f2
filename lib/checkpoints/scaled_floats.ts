import { brief } from '../core/checks.js';
import { bytesOf } from '../core/bytes_of.js';
import { decodeTensor } from '../weights/safetensors.js';
import type { CheckpointTensor } from './checkpoint_tensor.js';

/** What ComfyUI calls the scale of a weight, and what else it puts beside one: how it is stored, and the scale of what comes in. */
const SCALE = /^(.*)\.(?:scale_weight|weight_scale)$/;
const BESIDE = /(^|\.)(scaled_fp8|comfy_quant|scale_input|input_scale)$/;

/**
 * The tensors of a file whose floats of 8 bits have a scale each beside them (`*_fp8_scaled.safetensors`), as what they stand for: in
 * float32, and without the scales. Others as they are.
 * @throws RangeError for a scale of no weight in 8 bits, or of several numbers.
 */
export function unscaled(tensors: Map<string, CheckpointTensor>): Map<string, CheckpointTensor> {
  const scales = new Map([...tensors].flatMap(([key, tensor]) => {
    const [, module] = SCALE.exec(key) ?? [];
    return module === undefined ? [] : [[`${module}.weight` as string, { key, tensor }] as const];
  }));
  if (scales.size === 0) return tensors;
  for (const [name, { key, tensor: { dtype, shape } }] of scales) {
    if (!tensors.get(name)?.dtype.startsWith('F8_')) {
      throw new RangeError(`${brief(key)}: is the scale of no weight that is floats of 8 bits`);
    }
    const count = shape.reduce((product, size) => product * size, 1);
    if (dtype === 'F32' && count === 1) continue;
    throw new RangeError(`${brief(key)}: got ${count} numbers of ${dtype}, takes one of F32 for each weight`);
  }
  const isNeeded = ([key]: [string, unknown]) => !SCALE.test(key) && !BESIDE.test(key);
  return new Map([...tensors].filter(isNeeded).map(([name, tensor]) => {
    const scale = scales.get(name);
    return [name, scale ? scaledBy(tensor, scale.tensor) : tensor];
  }));
}

function scaledBy(weight: CheckpointTensor, scale: CheckpointTensor): CheckpointTensor {
  const { dtype, shape } = weight;
  return {
    dtype: 'F32', shape,
    read: async source => {
      const [factor] = decodeTensor('F32', await scale.read(source));
      const values = Float32Array.from(decodeTensor(dtype, await weight.read(source)));
      for (let i = 0; i < values.length; i++) values[i] *= factor;
      return bytesOf(values);
    },
  };
}
