import assert from 'node:assert/strict';
import { ParameterDict, StorageRef, TensorRef } from '../../lib/checkpoints/pickle_objects.js';
import { unpickle } from '../../lib/checkpoints/unpickle.js';
import { pickle, pickledTensor as tensor, pickledText as text } from '../support/pickle.js';

const value = (...parts: Array<string | number>) => unpickle(pickle('\x80\x02', ...parts, '.')).value;

/** A tensor of a storage of four bytes. */
const untyped = (dtype: string, size: number) => ['ctorch._utils\n_rebuild_tensor_v3\n((', text('storage'), 'ctorch.storage\nUntypedStorage\n', text('0'), text('cpu'),
  `K\x04tQK\0K${String.fromCharCode(size)}\x85K\x01\x85\x89Nctorch\n${dtype}\ntR`].join('');

describe('unpickle', () => {
  it('reads numbers, texts and containers', () => {
    assert.deepEqual(value('N'), null);
    assert.deepEqual(value('(\x88\x89K\xffM\x01\x02J\xff\xff\xff\xffG\x3f\xf0\0\0\0\0\0\0t'), [true, false, 255, 513, -1, 1]);
    assert.deepEqual(value('(\x8a\x00\x8a\x01\xff\x8a\x02\xff\x00\x8a\x08\0\0\0\0\0\0\0\x80t'), [0, -1, 255, -(2n ** 63n)]);
    assert.equal(value(text('a\xc3\xa9')), 'a\u00e9');
    assert.equal(value('\x8c\x02ab'), 'ab');
    assert.deepEqual(value(']q\0(K\x01K\x02eh\0\x86'), [[1, 2], [1, 2]]);
    assert.deepEqual(value('}(', text('a'), 'K\x01', text('b'), ')u'), new Map<string, unknown>([['a', 1], ['b', []]]));
    assert.deepEqual(value('ccollections\nOrderedDict\n)R', text('k'), 'Ns'), new Map([['k', null]]));
    assert.deepEqual(value('\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R'), new Map()); // protocol 4
  });

  it('tells where a pickle ends, and reads on from there', () => {
    const bytes = pickle('\x80\x02K\x01.\x80\x02K\x02.');
    const { end } = unpickle(bytes);
    assert.deepEqual([end, unpickle(bytes, end).value], [5, 2]);
  });

  it('describes tensors', () => {
    const ref = value(tensor(2, [2, 5], [5, 1])) as TensorRef;
    assert.deepEqual(ref, new TensorRef(new StorageRef('0', 'F32', 12), 2, [2, 5], [5, 1]));
  });

  it('takes the parameters of a ParameterDict, whose class old files name with its source', () => {
    const name = 'ctorch.nn.modules.container\nParameterDict\n';
    for (const type of [name, `(${text('module')}${name}${text('container.py')}${text('class ParameterDict: ...')}tQ`]) {
      const dictionary = value(type, ')\x81}(', text('training'), '\x88', text('_parameters'), '}', text('*'), 'K\x07sub') as ParameterDict;
      assert.deepEqual(dictionary.parameters, new Map([['*', 7]]));
    }
  });

  it('describes tensors whose type torch has no storage for', () => {
    assert.deepEqual(value(untyped('float8_e4m3fn', 4)), new TensorRef(new StorageRef('0', 'F8_E4M3', 4), 0, [4], [1]));
  });

  it('makes nothing of a trainer, but reads on', () => {
    const state = value('}(', text('callback'), 'cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n)\x81}b', text('np'),
      'cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n', text('f8'), '\x85RtR', text('a'), 'K\x01u') as Map<string, unknown>;
    assert.equal(state.get('a'), 1);
  });

  const refuses: Array<[string, Array<string | number>, RegExp]> = [
    ['os.system', ['cposix\nsystem\n', text('touch /tmp/pwned'), '\x85R'], /^PickleError: pickle: asks for 'posix\.system', which weights do not need; it may be made to do harm/],
    ['os.system by protocol 4', ['\x8c\x02os\x8c\x06system\x93', text('id'), '\x85R'], /asks for 'os\.system'/],
    ['eval', ['c__builtin__\neval\n', text('1'), '\x85R'], /asks for '__builtin__\.eval'/],
    ['getattr', ['cbuiltins\ngetattr\n)R'], /asks for 'builtins\.getattr'/],
    ['a name of our prototypes', ['cObject\nconstructor\n)R'], /asks for 'Object\.constructor'/],
    ['names that only begin as allowed', ['cnumpyevil\nsystem\n)R'], /asks for 'numpyevil\.system'/],
    ['a call of a number', ['K\x01)R'], /calls what is no class/],
    ['a call of a storage class', ['ctorch\nFloatStorage\n)R'], /calls torch\.FloatStorage/],
    ['old instances', ['(icposix\nsystem\n'], /opcode 0x69 at byte 3 cannot be read/],
    ['extension codes', ['\x82\x01'], /opcode 0x82/],
    ['text protocols', ['I1\n'], /opcode 0x49/],
    ['an empty stack', [''], /nothing to take at byte 3/],
    ['a missing mark', ['K\x01t'], /no mark before byte/],
    ['a mark as a value', ['('], /nothing to take/],
    ['an unknown memo', ['h\x05'], /recalls what was not kept/],
    ['items of a number', ['K\x01K\x01K\x01s'], /sets items of what is no dictionary/],
    ['an odd dictionary', ['}(K\x01u'], /a key without a value/],
    ['appending to a number', ['K\x01K\x01a'], /appends to what is no list/],
    ['a text past the end', ['X\xff\xff\xff\x7f'], /is cut off at byte/],
    ['bytes past the end', ['\x8e\xff\xff\xff\xff\xff\xff\xff\xff'], /is cut off at byte/],
    ['an endless number', ['\x8b\xff\xff\xff\x00'], /a number of 16777215 bytes cannot be read/],
    ['an unknown protocol', ['\x80\x09'], /protocol 9 cannot be read/],
    ['a tensor past its storage', [tensor(3, [2, 5], [5, 1])], /a tensor of shape \[2, 5\] does not fit its storage of 12 elements/],
    ['a tensor larger than its storage', [tensor(0, [1 << 30, 1 << 30], [0, 0])], /does not fit its storage/],
    ['a negative size', [tensor(0, [-1], [1])], /a tensor without storage, shape or strides/],
    ['a negative stride', [tensor(0, [2], [-1])], /a tensor without storage, shape or strides/],
    ['a tensor of no storage', ['ctorch._utils\n_rebuild_tensor_v2\n)R'], /a tensor without storage/],
    ['a tensor of a type that no weight has', [untyped('uint16', 4)], /a tensor of torch\.uint16 cannot be read/],
    ['a tensor of no type', ['ctorch._utils\n_rebuild_tensor_v3\n)R'], /a tensor of undefined cannot be read/],
    ['a typed tensor past its storage', [untyped('float8_e5m2', 5)], /a tensor of shape \[5\] does not fit its storage of 4 elements/],
    ['an unknown storage', ['(', text('storage'), 'N', text('0'), text('cpu'), 'K\x01tQ'], /a storage of null cannot be read/],
    ['more objects than a checkpoint has', [']('.repeat(600_000)], /holds more objects than a checkpoint can/],
    ['endless garbage', [']0'.repeat(1_100_000)], /holds more objects than a checkpoint can/],
  ];
  for (const [title, parts, message] of refuses) {
    it(`refuses ${title}`, () => assert.throws(() => value(...parts), message));
  }

  it('refuses a pickle without an end', () => assert.throws(() => unpickle(pickle('\x80\x02K\x01')), /^PickleError: pickle: is cut off at byte 4$/));
});
