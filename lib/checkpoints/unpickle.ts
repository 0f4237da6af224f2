import { construct, global, Global, list, ParameterDict, PickleError, storage, Unmade, type StorageRef } from './pickle_objects.js';
import { opcodes } from './pickle_opcodes.js';

export interface Unpickled {
  readonly value: unknown;
  readonly storages: StorageRef[];
  readonly end: number;
}

const mark = Symbol('mark');

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
      if (opcode === opcodes.STOP) return { value: this.pop(), storages: this.storages, end: this.at };
      this.step(opcode);
      if (this.stack.length > maxObjects || this.memo.size > maxObjects) {
        throw new PickleError('pickle: holds more objects than a checkpoint can');
      }
    }
  }

  private step(opcode: number): void {
    switch (opcode) {
      case opcodes.PROTO: return this.protocol(this.byte());
      case opcodes.FRAME: return void this.length(8);
      case opcodes.MARK: return this.push(mark);
      case opcodes.POP: return void this.stack.pop();
      case opcodes.POP_MARK: return void this.popMark();
      case opcodes.DUP: return this.push(this.top());
      case opcodes.NONE: return this.push(null);
      case opcodes.NEWTRUE: return this.push(true);
      case opcodes.NEWFALSE: return this.push(false);
      case opcodes.BININT: return this.push(this.view.getInt32(this.advance(4), true));
      case opcodes.BININT1: return this.push(this.byte());
      case opcodes.BININT2: return this.push(this.view.getUint16(this.advance(2), true));
      case opcodes.BINFLOAT: return this.push(this.view.getFloat64(this.advance(8)));
      case opcodes.LONG1: return this.push(this.long(this.length(1)));
      case opcodes.LONG4: return this.push(this.long(this.length(4)));
      case opcodes.BINUNICODE: return this.push(this.text(this.length(4)));
      case opcodes.SHORT_BINUNICODE: return this.push(this.text(this.length(1)));
      case opcodes.BINUNICODE8: return this.push(this.text(this.length(8)));
      case opcodes.SHORT_BINSTRING: case opcodes.SHORT_BINBYTES: return this.push(this.slice(this.length(1)));
      case opcodes.BINSTRING: case opcodes.BINBYTES: return this.push(this.slice(this.length(4)));
      case opcodes.BINBYTES8: case opcodes.BYTEARRAY8: return this.push(this.slice(this.length(8)));
      case opcodes.EMPTY_TUPLE: return this.make([]);
      case opcodes.EMPTY_LIST: return this.make([]);
      case opcodes.EMPTY_DICT: return this.make(new Map());
      case opcodes.EMPTY_SET: return this.make(new Unmade('builtins.set'));
      case opcodes.TUPLE: return this.make(this.popMark());
      case opcodes.TUPLE1: return this.make(this.popMany(1));
      case opcodes.TUPLE2: return this.make(this.popMany(2));
      case opcodes.TUPLE3: return this.make(this.popMany(3));
      case opcodes.FROZENSET: this.popMark(); return this.make(new Unmade('builtins.frozenset'));
      case opcodes.APPEND: return this.append([this.pop()]);
      case opcodes.APPENDS: case opcodes.ADDITEMS: return this.append(this.popMark());
      case opcodes.SETITEM: return this.setItems(this.popMany(2));
      case opcodes.SETITEMS: return this.setItems(this.popMark());
      case opcodes.BINPUT: return void this.memo.set(this.byte(), this.top());
      case opcodes.LONG_BINPUT: return void this.memo.set(this.length(4), this.top());
      case opcodes.MEMOIZE: return void this.memo.set(this.memo.size, this.top());
      case opcodes.BINGET: return this.push(this.recall(this.byte()));
      case opcodes.LONG_BINGET: return this.push(this.recall(this.length(4)));
      case opcodes.GLOBAL: return this.make(global(this.line(), this.line()));
      case opcodes.STACK_GLOBAL: { const [module, name] = this.popMany(2); return this.make(global(module, name)); }
      case opcodes.REDUCE: case opcodes.NEWOBJ: { const [callee, args] = this.popMany(2); return this.make(construct(callee, args)); }
      case opcodes.NEWOBJ_EX: { const [callee, args] = this.popMany(3); return this.make(construct(callee, args)); }
      case opcodes.BUILD: return this.setState(this.pop());
      case opcodes.BINPERSID: return this.persistent(this.pop());
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
