import { show } from '../core/checks.js';
import { elementSizes, type Dtype } from '../weights/safetensors.js';

/** A storage that a pickle names: so many elements, which lie elsewhere in the file. */
export class StorageRef {
  constructor(readonly key: string, readonly dtype: Dtype, readonly elements: number) {}
}

/** A tensor that a pickle describes: a view of a storage, checked to lie inside. Offset and strides count elements. */
export class TensorRef {
  constructor(readonly storage: StorageRef, readonly offset: number, readonly shape: readonly number[], readonly strides: readonly number[]) {}
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

export interface Unpickled {
  readonly value: unknown;
  readonly storages: StorageRef[];
  readonly end: number;
}

/** A name that a pickle takes from a Python module, among those allowed. */
class Global {
  constructor(readonly path: string) {}
}

const mark = Symbol('mark');

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
const unmade = /^(pytorch_lightning|lightning|lightning_fabric|ldm|omegaconf|numpy|argparse|_codecs|copyreg|copy_reg)\.|^collections\.(Counter|defaultdict|deque)$|^(builtins|__builtin__)\.(set|frozenset|dict|list|tuple|int|float|str|bool|bytes|bytearray|complex|slice|range|object)$|^torch\.(device|dtype|float\d*(_\w+)?|bfloat16|half|double|u?int\d*|long|short|bool)$/;

const maxObjects = 1_000_000; // more than any checkpoint has, few enough to hold

/**
 * Reads one pickle of protocol 2 or higher without running anything of it: it can make lists, dictionaries, numbers, texts and
 * descriptions of tensors, from a short list of allowed names.
 * @returns the value (dictionaries as Map, tuples as lists), the storages that it names, and where the pickle ends.
 * @throws PickleError for a name that is not allowed, with that name, and for whatever is broken.
 */
export function unpickle(bytes: Uint8Array, start = 0): Unpickled {
  return new Unpickler(bytes, start).run();
}

class Unpickler {
  private readonly view: DataView;
  private readonly stack: unknown[] = [];
  private readonly memo = new Map<number, unknown>();
  private readonly storages: StorageRef[] = [];
  private objects = 0;

  constructor(private readonly bytes: Uint8Array, private at: number) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  run(): Unpickled {
    for (;;) {
      const opcode = this.byte();
      if (opcode === 0x2e) return { value: this.pop(), storages: this.storages, end: this.at }; // STOP
      this.step(opcode);
      if (this.stack.length > maxObjects || this.memo.size > maxObjects) throw new PickleError('pickle: holds more objects than a checkpoint can');
    }
  }

  /** Opcodes by their letters, as pickletools names them. */
  private step(opcode: number): void {
    const letter = String.fromCharCode(opcode);
    switch (letter) {
      case '\x80': return this.protocol(this.byte());
      case '\x95': return void this.length(8); // FRAME
      case '(': return this.push(mark);
      case '0': return void this.stack.pop();
      case '1': return void this.popMark();
      case '2': return this.push(this.top());
      case 'N': return this.push(null);
      case '\x88': return this.push(true);
      case '\x89': return this.push(false);
      case 'J': return this.push(this.view.getInt32(this.advance(4), true));
      case 'K': return this.push(this.byte());
      case 'M': return this.push(this.view.getUint16(this.advance(2), true));
      case 'G': return this.push(this.view.getFloat64(this.advance(8)));
      case '\x8a': return this.push(this.long(this.length(1)));
      case '\x8b': return this.push(this.long(this.length(4)));
      case 'X': return this.push(this.text(this.length(4)));
      case '\x8c': return this.push(this.text(this.length(1)));
      case '\x8d': return this.push(this.text(this.length(8)));
      case 'U': case 'C': return this.push(this.slice(this.length(1)));
      case 'T': case 'B': return this.push(this.slice(this.length(4)));
      case '\x8e': case '\x96': return this.push(this.slice(this.length(8)));
      case ')': return this.make([]);
      case ']': return this.make([]);
      case '}': return this.make(new Map());
      case '\x8f': return this.make(new Unmade('builtins.set'));
      case 't': return this.make(this.popMark());
      case '\x85': return this.make(this.popMany(1));
      case '\x86': return this.make(this.popMany(2));
      case '\x87': return this.make(this.popMany(3));
      case '\x91': this.popMark(); return this.make(new Unmade('builtins.frozenset'));
      case 'a': return this.append([this.pop()]);
      case 'e': case '\x90': return this.append(this.popMark());
      case 's': return this.setItems(this.popMany(2));
      case 'u': return this.setItems(this.popMark());
      case 'q': return void this.memo.set(this.byte(), this.top());
      case 'r': return void this.memo.set(this.length(4), this.top());
      case '\x94': return void this.memo.set(this.memo.size, this.top());
      case 'h': return this.push(this.recall(this.byte()));
      case 'j': return this.push(this.recall(this.length(4)));
      case 'c': return this.make(global(this.line(), this.line()));
      case '\x93': { const [module, name] = this.popMany(2); return this.make(global(module, name)); }
      case 'R': case '\x81': { const [callee, args] = this.popMany(2); return this.make(construct(callee, args)); }
      case '\x92': { const [callee, args] = this.popMany(3); return this.make(construct(callee, args)); }
      case 'b': return this.setState(this.pop());
      case 'Q': return this.persistent(this.pop());
      default: throw new PickleError(`pickle: opcode 0x${opcode.toString(16)} at byte ${this.at - 1} cannot be read`);
    }
  }

  private protocol(version: number): void {
    if (version < 2 || version > 5) throw new PickleError(`pickle: protocol ${version} cannot be read, takes 2 to 5`);
  }

  private push(value: unknown): void {
    this.stack.push(value);
  }

  /** Pushes a new object, of which there may be so many. */
  private make(value: unknown): void {
    if (++this.objects > maxObjects) throw new PickleError('pickle: holds more objects than a checkpoint can');
    this.stack.push(value);
  }

  private top(): unknown {
    const value = this.stack.at(-1);
    if (value === undefined || value === mark) throw new PickleError(`pickle: nothing to take at byte ${this.at}`);
    return value;
  }

  private pop(): unknown {
    const value = this.top();
    this.stack.pop();
    return value;
  }

  private popMany(count: number): unknown[] {
    return Array.from({ length: count }, () => this.pop()).reverse();
  }

  private popMark(): unknown[] {
    const at = this.stack.lastIndexOf(mark);
    if (at < 0) throw new PickleError(`pickle: no mark before byte ${this.at}`);
    return this.stack.splice(at).slice(1);
  }

  private append(values: unknown[]): void {
    const target = this.top();
    if (Array.isArray(target)) for (const value of values) target.push(value);
    else if (!(target instanceof Unmade)) throw new PickleError(`pickle: appends to what is no list at byte ${this.at}`);
  }

  private setItems(pairs: unknown[]): void {
    const target = this.top();
    if (pairs.length % 2 !== 0) throw new PickleError(`pickle: a key without a value at byte ${this.at}`);
    if (target instanceof Map) for (let i = 0; i < pairs.length; i += 2) target.set(pairs[i], pairs[i + 1]);
    else if (!(target instanceof Unmade)) throw new PickleError(`pickle: sets items of what is no dictionary at byte ${this.at}`);
  }

  /** A storage, or in files before torch 1.6 a class of modules, with its source, which is not read. */
  private persistent(id: unknown): void {
    const [kind, type] = list(id);
    if (kind === 'module' && type instanceof Global) return this.push(type);
    const found = storage(id);
    this.storages.push(found);
    this.make(found);
  }

  /** Of the objects that have a state, all but one are never made. */
  private setState(state: unknown): void {
    const target = this.top();
    if (target instanceof ParameterDict && state instanceof Map) target.parameters = state.get('_parameters');
  }

  private recall(index: number): unknown {
    const value = this.memo.get(index);
    if (value === undefined) throw new PickleError(`pickle: recalls what was not kept, at byte ${this.at}`);
    return value;
  }

  /** Where the next `count` bytes begin. */
  private advance(count: number): number {
    if (count > this.bytes.length - this.at) throw new PickleError(`pickle: is cut off at byte ${this.bytes.length}`);
    this.at += count;
    return this.at - count;
  }

  private byte(): number {
    return this.bytes[this.advance(1)];
  }

  private slice(length: number): Uint8Array {
    const start = this.advance(length);
    return this.bytes.subarray(start, start + length);
  }

  /** An unsigned number of 1, 4 or 8 bytes; a length that is no safe integer is beyond any end. */
  private length(size: 1 | 4 | 8): number {
    const at = this.advance(size);
    return size === 1 ? this.bytes[at] : size === 4 ? this.view.getUint32(at, true) : Number(this.view.getBigUint64(at, true));
  }

  private text(length: number): string {
    return new TextDecoder().decode(this.slice(length));
  }

  private line(): string {
    const end = this.bytes.indexOf(0x0a, this.at);
    if (end < 0) throw new PickleError(`pickle: is cut off at byte ${this.bytes.length}`);
    const text = this.text(end - this.at);
    this.at++;
    return text;
  }

  /** Little-endian two's complement; a number if it is a safe one. */
  private long(length: number): number | bigint {
    if (length > 1000) throw new PickleError(`pickle: a number of ${length} bytes cannot be read`);
    const digits = this.slice(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(digits[i]);
    value = BigInt.asIntN(8 * length, value);
    return BigInt(Number.MIN_SAFE_INTEGER) <= value && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
  }
}

function global(module: unknown, name: unknown): Global {
  const path = `${String(module)}.${String(name)}`;
  if (![constructors, storageDtypes, tensorDtypes].some(known => Object.hasOwn(known, path)) && !unmade.test(path)) {
    throw new PickleError(`pickle: asks for ${show(path)}, which weights do not need; it may be made to do harm, and nothing of it was run`);
  }
  return new Global(path);
}

function construct(callee: unknown, args: unknown): unknown {
  if (callee instanceof Unmade) return callee;
  if (!(callee instanceof Global)) throw new PickleError('pickle: calls what is no class');
  if (Object.hasOwn(constructors, callee.path)) return constructors[callee.path](...list(args));
  if (Object.hasOwn(storageDtypes, callee.path)) throw new PickleError(`pickle: calls ${callee.path}`);
  return new Unmade(callee.path);
}

/** ('storage', class, key, device, elements), and in old files a view that is no longer made. */
function storage(id: unknown): StorageRef {
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

function list(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw new PickleError('pickle: a tuple is missing');
  return value;
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= 64 && value.every(isSize);
}
