import { show } from '../core/checks.js';
import { elementSizes, type Dtype } from '../weights/safetensors.js';

/** What a pickle can make: the only names that it may ask for, and the only code that they reach. */

/** A storage that a pickle names: so many elements, which lie elsewhere in the file. */
export class StorageRef {
  constructor(readonly key: string, readonly dtype: Dtype, readonly elements: number) {}
}

/** A tensor that a pickle describes: a view of a storage, checked to lie inside. Offset and strides count elements. */
export class TensorRef {
  constructor(
    readonly storage: StorageRef, readonly offset: number, readonly shape: readonly number[], readonly strides: readonly number[],
  ) {}
}

/** torch's dictionary of parameters, in which learned words were kept: of its state only these. */
export class ParameterDict {
  parameters: unknown = new Map();
}

/** What stands for an object that is neither made nor needed, as of a trainer's state. */
export class Unmade {
  constructor(readonly className: string) {}
}

/** A pickle that is broken, or asks for what no weights need. */
export class PickleError extends Error {
  override name = 'PickleError';
}

/** A name that a pickle takes from a Python module, among those allowed. */
export class Global {
  constructor(readonly path: string) {}
}

const storageDtypes: Record<string, Dtype> = {
  'torch.DoubleStorage': 'F64', 'torch.FloatStorage': 'F32', 'torch.HalfStorage': 'F16', 'torch.BFloat16Storage': 'BF16',
  'torch.LongStorage': 'I64', 'torch.IntStorage': 'I32', 'torch.ShortStorage': 'I16', 'torch.CharStorage': 'I8',
  'torch.ByteStorage': 'U8', 'torch.BoolStorage': 'BOOL', 'torch.storage.UntypedStorage': 'U8', 'torch.UntypedStorage': 'U8',
};

/** Of tensors whose storages are bytes, because torch has no typed storage for them. */
const tensorDtypes: Record<string, Dtype> = { 'torch.float8_e4m3fn': 'F8_E4M3', 'torch.float8_e5m2': 'F8_E5M2' };

/** Each gets the tuple of arguments. The only code that a pickle can reach. */
const constructors: Record<string, (...args: unknown[]) => unknown> = {
  'collections.OrderedDict': (pairs = []) => new Map(list(pairs).map(pair => list(pair) as [unknown, unknown])),
  'torch.Size': (sizes = []) => list(sizes),
  'torch._utils._rebuild_tensor': rebuildTensor,
  'torch._utils._rebuild_tensor_v2': rebuildTensor,
  'torch._utils._rebuild_tensor_v3': rebuildTypedTensor,
  'torch._utils._rebuild_parameter': tensor => tensor,
  'torch._utils._rebuild_parameter_with_state': tensor => tensor,
  'torch.nn.modules.container.ParameterDict': () => new ParameterDict(),
};

/** What old checkpoints hold beside their weights, the state of their training: allowed, but never made. */
const unmade = [
  /^(pytorch_lightning|lightning|lightning_fabric|ldm|omegaconf|numpy|argparse|_codecs|copyreg|copy_reg)\./,
  /^collections\.(Counter|defaultdict|deque)$/,
  /^(builtins|__builtin__)\.(set|frozenset|dict|list|tuple|int|float|str|bool|bytes|bytearray|complex|slice|range|object)$/,
  /^torch\.(device|dtype|float\d*(_\w+)?|bfloat16|half|double|u?int\d*|long|short|bool)$/,
];

/** @throws PickleError for a name that is not among those allowed. */
export function global(module: unknown, name: unknown): Global {
  const path = `${String(module)}.${String(name)}`;
  if (![constructors, storageDtypes, tensorDtypes].some(known => Object.hasOwn(known, path)) && !unmade.some(names => names.test(path))) {
    const reason = 'which weights do not need; it may be made to do harm, and nothing of it was run';
    throw new PickleError(`pickle: asks for ${show(path)}, ${reason}`);
  }
  return new Global(path);
}

/** What a call gives, or an object of a class; of what is allowed and not needed, something that stands for it. */
export function construct(callee: unknown, args: unknown): unknown {
  if (callee instanceof Unmade) return callee;
  if (!(callee instanceof Global)) throw new PickleError('pickle: calls what is no class');
  if (Object.hasOwn(constructors, callee.path)) return constructors[callee.path](...list(args));
  if (Object.hasOwn(storageDtypes, callee.path)) throw new PickleError(`pickle: calls ${callee.path}`);
  return new Unmade(callee.path);
}

/** ('storage', class, key, device, elements), and in old files a view that is no longer made. */
export function storage(id: unknown): StorageRef {
  const [kind, type, key, , elements, view] = list(id);
  const dtype = type instanceof Global ? storageDtypes[type.path] : undefined;
  if (kind !== 'storage' || !dtype || typeof key !== 'string' || !isSize(elements) || (view !== undefined && view !== null)) {
    throw new PickleError(`pickle: a storage of ${type instanceof Global ? type.path : show(type)} cannot be read`);
  }
  return new StorageRef(key, dtype, elements);
}

function rebuildTensor(of: unknown, offset: unknown, shape: unknown, strides: unknown): TensorRef {
  if (!(of instanceof StorageRef) || !isSize(offset) || !isSizes(shape) || !isSizes(strides) || shape.length !== strides.length) {
    throw new PickleError('pickle: a tensor without storage, shape or strides');
  }
  const elements = shape.reduce((product, size) => product * size, 1);
  const last = shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis], offset);
  if (elements > of.elements || (elements > 0 && last >= of.elements)) {
    throw new PickleError(`pickle: a tensor of shape ${show(shape)} does not fit its storage of ${of.elements} elements`);
  }
  return new TensorRef(of, offset, shape, strides);
}

/** Of a storage of bytes; offset and strides count elements all the same. */
function rebuildTypedTensor(of: unknown, offset: unknown, shape: unknown, strides: unknown, ...[, , type]: unknown[]): TensorRef {
  const dtype = type instanceof Global && Object.hasOwn(tensorDtypes, type.path) ? tensorDtypes[type.path] : undefined;
  if (!dtype || !(of instanceof StorageRef) || of.dtype !== 'U8') {
    throw new PickleError(`pickle: a tensor of ${type instanceof Global ? type.path : show(type)} cannot be read`);
  }
  return rebuildTensor(new StorageRef(of.key, dtype, Math.floor(of.elements / elementSizes[dtype])), offset, shape, strides);
}

export function list(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw new PickleError('pickle: a tuple is missing');
  return value;
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= 64 && value.every(isSize);
}
