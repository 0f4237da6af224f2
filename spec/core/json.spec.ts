import assert from 'node:assert/strict';
import { parseJson } from '../../lib/core/json.js';

describe('parseJson', () => {
  it('parses what JSON.parse does', () => {
    for (const text of ['{"a":[1,{"b":"}\\"{"}],"c":null}', '[]', '"text"', ' { "a" : 1 , "b":{"a":2}, "c":[{"a":1},{"a":2}]} ', '{"a":"a","b":"a"}']) {
      assert.deepEqual(parseJson('file', text), JSON.parse(text));
    }
  });

  it('parses Infinity as Python writes it', () => {
    assert.deepEqual(parseJson('f', '{"a":-Infinity,"b":[Infinity],"Infinity":"-Infinity\\"Infinity"}'), { a: -Infinity, b: [Infinity], Infinity: '-Infinity"Infinity' });
    for (const text of ['{"a":-Infinit}', '{"a":Infinity1}', '[1Infinity]', 'xInfinity']) assert.throws(() => parseJson('f', text), /^SyntaxError: f: is not JSON/);
  });

  it('refuses two equal keys, however they are written', () => {
    assert.throws(() => parseJson('config.json', '{"a":1,"b":2,"a" :3}'), /^RangeError: config\.json: has the key 'a' twice$/);
    assert.throws(() => parseJson('f', '{"x":{"a":1,"\\u0061":3}}'), /has the key 'a' twice/);
    assert.throws(() => parseJson('f', '{"__proto__":1,"__proto__":3}'), /has the key '__proto__' twice/);
  });

  it('names what is no JSON', () => {
    for (const text of ['', '{', '{"a":}', '{"a', '"\\', '{"\\x":1}', '{"a":1}}', '\u0000', '{"a" "b"}', ']', '}{']) {
      assert.throws(() => parseJson('config.json', text), /^SyntaxError: config\.json: is not JSON: .+$/);
    }
  });

  it('refuses depth and counts that no model has', () => {
    assert.throws(() => parseJson('f', '['.repeat(1_000_000)), /^RangeError: f: is nested over 64 levels deep$/);
    assert.throws(() => parseJson('f', '{"a":'.repeat(1_000_000)), /nested over 64 levels/);
    assert.throws(() => parseJson('f', `[${'0,'.repeat(5_000_001)}0]`), /^RangeError: f: holds over 5000000 values$/);
  });
});
