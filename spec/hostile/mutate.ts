/** A generator of 32-bit numbers that gives the same sequence for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => { // a Weyl sequence, scrambled
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
}

const nastyWords = [
  '""', '"../../etc/passwd"', '"/etc/passwd"', '"__proto__"', '"constructor"', '"a\\u0000b"', '"C:\\\\x"', 'null', 'true', '[]', '{}', '-1', '0', '-0', '0.5', '1e308',
  '1e999', '9007199254740993', '18446744073709551616', '4294967296', '"F8_E4M3"', '"x"', '[[[[[[[[[[]]]]]]]]]]', '{"__proto__":1}', '{"a":1,"a":2}', '1000000',
];

/** Makes one to four random changes: bits, bytes, numbers, pieces moved, doubled, cut; in JSON also whole values. */
export function mutate(seed: Uint8Array, random: () => number, isJson: boolean): Uint8Array {
  let bytes = seed;
  for (let changes = 1 + random() % 4; changes > 0; changes--) bytes = isJson && random() % 3 !== 0 ? changeValue(bytes, random) : changeBytes(bytes, random);
  return bytes;
}

function changeValue(bytes: Uint8Array, random: () => number): Uint8Array {
  const text = new TextDecoder().decode(bytes);
  const values = [...text.matchAll(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|true|false|null|[[{]/g)];
  if (values.length === 0) return bytes;
  const whole = ({ index, 0: token }: RegExpExecArray) => text.slice(index, /[[{]/.test(token) ? closing(text, index) : index + token.length);
  const one = values[random() % values.length];
  const other = random() % 4 === 0 ? whole(values[random() % values.length]) : nastyWords[random() % nastyWords.length];
  return new TextEncoder().encode(text.slice(0, one.index) + other + text.slice(one.index + whole(one).length));
}

/** The end of the list or object that begins at `start`; brackets in texts count, too. */
function closing(text: string, start: number): number {
  let depth = 0;
  for (let i = start; i < text.length; i++) {
    depth += '[{'.includes(text[i]) ? 1 : ']}'.includes(text[i]) ? -1 : 0;
    if (depth === 0) return i + 1;
  }
  return text.length;
}

function changeBytes(bytes: Uint8Array, random: () => number): Uint8Array {
  const copy = new Uint8Array(bytes);
  if (copy.length === 0) return Uint8Array.of(random() & 255);
  const at = random() % copy.length;
  const length = Math.min(copy.length - at, 1 + random() % (random() % 8 === 0 ? copy.length : 16));
  switch (random() % 9) {
    case 0: copy[at] ^= 1 << (random() % 8); return copy;
    case 1: copy[at] = random(); return copy;
    case 2: copy.fill([0, 255, 0x7f, 0x80, 0x20][random() % 5], at, at + length); return copy;
    case 3: return copy.slice(0, at); // cut off
    case 4: return join(copy.subarray(0, at), copy.subarray(at + length)); // a hole
    case 5: return join(copy.subarray(0, at + length), copy.subarray(at)); // doubled
    case 6: copy.copyWithin(random() % copy.length, at, at + length); return copy;
    case 7: {
      const noise = Uint8Array.from({ length }, () => random());
      return join(copy.subarray(0, at), noise, copy.subarray(at));
    }
    default: { // a number of 4 or 8 bytes
      const view = new DataView(copy.buffer);
      const value = [0n, 1n, 0x7fffffffn, 0xffffffffn, 2n ** 53n, 2n ** 63n - 1n, 2n ** 64n - 1n, BigInt(copy.length)][random() % 8];
      if (copy.length >= at + 8) view.setBigUint64(at, value, true);
      return copy;
    }
  }
}

function join(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
