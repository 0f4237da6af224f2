import * as tf from '@tensorflow/tfjs';
import { narrow, widen } from '../../core/precision.js';
import { TF, type NativeBackend } from './backend.js';
import { isHalf } from './half.js';
import { Scope } from './scope.js';

/** tfjs's KernelFunc, whose backend is the one that runs the op. */
type Kernel = (call: { inputs: tf.NamedTensorInfoMap; attrs?: tf.NamedAttrMap; backend: unknown }) => tf.TensorInfo;

/** Replaces kernels of tfjs-node by faster ones. The same values but for rounding. */
export function installKernels(name: string, backend: NativeBackend): void {
  const kernel = (kernelName: string) => tf.getKernel(kernelName, name).kernelFunc as Kernel;
  const replace = (kernelName: string, kernelFunc: Kernel) => {
    tf.unregisterKernel(kernelName, name);
    tf.registerKernel({ kernelName, backendName: name, kernelFunc: kernelFunc as tf.KernelFunc });
  };
  const [batchMatMul, softmax, conv2d, fusedConv2d] = ['BatchMatMul', 'Softmax', 'Conv2D', 'FusedConv2D'].map(kernel);

  replace('BatchMatMul', call => [call.inputs.a, call.inputs.b].every(x => x?.shape.length === 2)
    ? batchMatMul({ ...call, backend: multiplyingTwo(backend) })
    : batchMatMul(call));

  replace('Reshape', ({ inputs, attrs }) => { // see lazy_shapes.ts
    const { dataId, dtype, size } = inputs.x as tf.Tensor;
    const shape = tf.util.inferFromImplicitShape((attrs as unknown as tf.ReshapeAttrs).shape, size);
    backend.incRef(dataId);
    return { dataId, dtype, shape };
  });
  replace('Mean', ({ inputs, attrs }) => { // tfjs-node's own copies its input first
    const x = inputs.x as tf.Tensor;
    const { axis, keepDims } = attrs as unknown as tf.MeanAttrs;
    return Scope.run(backend, scope => scope.mean(scope.cast(scope.input(x), TF.FLOAT), tf.util.parseAxisParam(axis, x.shape), keepDims));
  });
  if (backend.binding.isUsingGpuDevice()) return;

  // What TensorFlow replaces by oneDNN's in graphs, but not where it runs op by op: softmax in fewer passes, a convolution that adds its bias.
  const softmaxBackend = has(backend, '_MklSoftmax') ? runningOneDnn(backend, '_MklSoftmax') : backend;
  replace('Softmax', call => { // which GPUs compute in float32 whatever it is of, but CPUs do not
    const logits = call.inputs.logits as tf.Tensor;
    return tf.tidy(() => narrow(softmax({ ...call, inputs: { logits: widen(logits) }, backend: softmaxBackend }) as tf.Tensor, logits));
  });
  if (has(backend, '_MklNativeConv2DWithBias')) {
    const inHalves = ({ dataId }: tf.TensorInfo) => isHalf(backend.tensorMap.get(dataId).dtype); // for which only few processors have it
    replace('FusedConv2D', call => call.inputs.bias && call.attrs?.activation === 'linear' && !Object.values(call.inputs).some(x => x && inHalves(x))
      ? conv2d({ ...call, backend: runningOneDnn(backend, '_MklNativeConv2DWithBias', [call.inputs.bias as tf.Tensor]) })
      : fusedConv2d(call));
  }
}

/** `backend` for a kernel that shall run another op than its own. */
function running(backend: NativeBackend, executeSingleOutput: NativeBackend['executeSingleOutput']): NativeBackend {
  return Object.create(backend, { executeSingleOutput: { value: executeSingleOutput } }) as NativeBackend;
}

/** Two matrices, for which TensorFlow has a faster op than for batches of them. */
function multiplyingTwo(backend: NativeBackend): NativeBackend {
  const names: Record<string, string> = { adj_x: 'transpose_a', adj_y: 'transpose_b' };
  return running(backend, (_, attributes, inputs) =>
    backend.executeSingleOutput('MatMul', attributes.map(each => ({ ...each, name: names[each.name] ?? each.name })), inputs));
}

/** An op of oneDNN, with more inputs than the kernel's own. */
function runningOneDnn(backend: NativeBackend, op: string, more: tf.Tensor[] = []): NativeBackend {
  const label = { name: '_kernel', type: backend.binding.TF_ATTR_STRING, value: 'MklNameChangeOp' }; // which of the op's kernels: that for plain tensors
  return running(backend, (_, attributes, inputs) => backend.executeSingleOutput(op, [...attributes, label], [...inputs, ...more]));
}

/** Whether this build of TensorFlow has an op; those for other processors do not have oneDNN's. */
function has({ binding }: NativeBackend, op: string): boolean {
  try {
    binding.executeOp(op, [], [], 1);
    return true;
  } catch (error) {
    return !/neither a type of a primitive operation nor a name of a function/.test(String(error)); // else it misses its inputs
  }
}
