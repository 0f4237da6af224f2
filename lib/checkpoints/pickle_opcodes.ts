/** The opcodes of pickles of protocol 2 to 5 that weights need, under the names that Python's pickletools has. */
export const opcodes = {
  // What frames it, and ends it.
  PROTO: 0x80, FRAME: 0x95, STOP: 0x2e,
  // The stack.
  MARK: 0x28, POP: 0x30, POP_MARK: 0x31, DUP: 0x32,
  // Plain values.
  NONE: 0x4e, NEWTRUE: 0x88, NEWFALSE: 0x89, BININT: 0x4a, BININT1: 0x4b, BININT2: 0x4d,
  LONG1: 0x8a, LONG4: 0x8b, BINFLOAT: 0x47,
  // Texts and bytes.
  BINUNICODE: 0x58, SHORT_BINUNICODE: 0x8c, BINUNICODE8: 0x8d, BINSTRING: 0x54,
  SHORT_BINSTRING: 0x55, BINBYTES: 0x42, SHORT_BINBYTES: 0x43, BINBYTES8: 0x8e, BYTEARRAY8: 0x96,
  // Containers, and what goes into them.
  EMPTY_TUPLE: 0x29, TUPLE1: 0x85, TUPLE2: 0x86, TUPLE3: 0x87, TUPLE: 0x74, EMPTY_LIST: 0x5d,
  APPEND: 0x61, APPENDS: 0x65, EMPTY_DICT: 0x7d, SETITEM: 0x73, SETITEMS: 0x75, EMPTY_SET: 0x8f,
  ADDITEMS: 0x90, FROZENSET: 0x91,
  // The memo.
  BINPUT: 0x71, LONG_BINPUT: 0x72, MEMOIZE: 0x94, BINGET: 0x68, LONG_BINGET: 0x6a,
  // Names, calls and objects.
  GLOBAL: 0x63, STACK_GLOBAL: 0x93, REDUCE: 0x52, NEWOBJ: 0x81, NEWOBJ_EX: 0x92, BUILD: 0x62,
  BINPERSID: 0x51,
} as const;
