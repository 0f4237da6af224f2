import * as tf from '@tensorflow/tfjs';
import type { Precision } from '../../core/precision.js';
import { makeTensor, Ops, TF, type Attribute, type Metadata, type NativeBackend } from './backend.js';
import { asItLies, layOut } from './lazy_shapes.js';

/** Types that stay what their attribute says, whatever the inputs are: FusedBatchNorm's statistics, and what Cast makes. */
const FIXED_ATTRIBUTES = ['U', 'DstT'];

/**
 * Lets TensorFlow's float16 and bfloat16 tensors flow behind tfjs tensors that say float32: an op with a half input takes all its
 * float inputs as halves and gives halves; `tf.cast(x, 'float32')` makes true float32; values are read as float32.
 */
export function installHalf(backend: NativeBackend): Precision {
  const { tensorMap } = backend;
  const ops = new Ops(backend);
  const createOutputTensor = backend.createOutputTensor.bind(backend);
  const readSync = backend.readSync.bind(backend);
  const dtypeOf = (x: tf.Tensor) => tensorMap.get(x.dataId).dtype;
  const halfOf = (inputs: tf.Tensor[]) => inputs.map(dtypeOf).find(isHalf);

  function execute(name: string, attributes: Attribute[], given: tf.Tensor[], outputs: number): tf.Tensor[] {
    const { binding } = backend; // a recording puts another in its place
    const { inputs, output } = layOut(backend, name, given);
    const make = (made: Metadata) => output ? makeTensor(backend, made, output(made.shape)) : backend.createOutputTensor(made);
    const half = halfOf(inputs);
    if (half === undefined) return binding.executeOp(name, attributes, backend.getInputTensorIds(inputs), outputs).map(make);
    const ids = inputs.map(input => {
      const dtype = dtypeOf(input);
      return backend.getIdAs(input, dtype === TF.FLOAT || isHalf(dtype) ? half : dtype);
    });
    const typed = attributes.map(attribute =>
      attribute.type === binding.TF_ATTR_TYPE && attribute.value === TF.FLOAT && !FIXED_ATTRIBUTES.includes(attribute.name)
        ? { ...attribute, value: half } : attribute);
    return binding.executeOp(name, typed, ids, outputs).map(make);
  }

  Object.assign(backend, {
    executeSingleOutput: (name: string, attributes: Attribute[], inputs: tf.Tensor[]) => execute(name, attributes, inputs, 1)[0],
    executeMultipleOutputs: execute,
    createOutputTensor: (metadata: Metadata) => isHalf(metadata.dtype) ? makeTensor(backend, metadata) : createOutputTensor(metadata),
    readSync(dataId: object) {
      const { id, dtype } = tensorMap.get(dataId);
      if (!isHalf(dtype)) return readSync(dataId);
      return ops.using(ops.cast(id, dtype, TF.FLOAT), wide => backend.binding.tensorDataSync(wide));
    },
  });

  const convert = (x: tf.Tensor, to: number) => {
    const lying = asItLies(backend, x);
    const [id] = backend.getInputTensorIds([lying]);
    return makeTensor(backend, { id: ops.cast(id, dtypeOf(x), to), shape: lying.shape, dtype: to }, x.shape);
  };
  return {
    widen: x => isHalf(dtypeOf(x)) ? convert(x, TF.FLOAT) : x,
    narrow: (x, like) => {
      const half = dtypeOf(like);
      return isHalf(half) && dtypeOf(x) !== half ? convert(x, half) : x;
    },
  };
}

export function isHalf(dtype: number | undefined): dtype is number {
  return dtype === TF.HALF || dtype === TF.BFLOAT16;
}
