import * as tf from '@tensorflow/tfjs';
import { TF, type Attribute, type NativeBackend } from './backend.js';

/** tfjs's KernelFunc, whose backend is the one that runs the op. */
type Kernel = (call: { inputs: tf.NamedTensorInfoMap; attrs?: tf.NamedAttrMap; backend: unknown }) => tf.TensorInfo;

/**
 * On CPUs that oneDNN serves, its ops for what TensorFlow replaces by them in graphs, but not where it runs op by op: softmax in fewer passes, and a
 * convolution that adds its bias while it writes. The same values but for rounding.
 */
export function installOneDnn(name: string, backend: NativeBackend): void {
  if (backend.binding.isUsingGpuDevice()) return;
  const kernel = (kernelName: string) => tf.getKernel(kernelName, name).kernelFunc as Kernel;
  const replace = (kernelName: string, kernelFunc: Kernel) => {
    tf.unregisterKernel(kernelName, name);
    tf.registerKernel({ kernelName, backendName: name, kernelFunc: kernelFunc as tf.KernelFunc });
  };
  const [softmax, conv2d, fusedConv2d] = ['Softmax', 'Conv2D', 'FusedConv2D'].map(kernel);

  if (has(backend, '_MklSoftmax')) {
    replace('Softmax', call => softmax({ ...call, backend: running(backend, '_MklSoftmax') }));
  }
  if (has(backend, '_MklNativeConv2DWithBias')) {
    const isHalf = ({ dataId }: tf.TensorInfo) => backend.tensorMap.get(dataId).dtype === TF.HALF; // for which only few processors have it
    replace('FusedConv2D', call => call.inputs.bias && call.attrs?.activation === 'linear' && !Object.values(call.inputs).some(x => x && isHalf(x))
      ? conv2d({ ...call, backend: running(backend, '_MklNativeConv2DWithBias', [call.inputs.bias as tf.Tensor]) })
      : fusedConv2d(call));
  }
}

/** `backend` for a kernel that shall run `op` instead of its own, with more inputs. */
function running(backend: NativeBackend, op: string, more: tf.Tensor[] = []): NativeBackend {
  const label = { name: '_kernel', type: backend.binding.TF_ATTR_STRING, value: 'MklNameChangeOp' }; // which of the op's kernels: that for plain tensors
  const executeSingleOutput = (_: string, attributes: Attribute[], inputs: tf.Tensor[]) =>
    backend.executeSingleOutput(op, [...attributes, label], [...inputs, ...more]);
  return Object.create(backend, { executeSingleOutput: { value: executeSingleOutput } }) as NativeBackend;
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
