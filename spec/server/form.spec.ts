import assert from 'node:assert/strict';
import { RequestError } from '../../lib/jobs/errors.js';
import { readForm } from '../../lib/server/form.js';
import { processorTime } from '../support/processor_time.js';

const TYPE = 'multipart/form-data; boundary=x';
const disposition = (more: string) => `content-disposition: form-data; ${more}`;
const part = (headers: string, content = '') => `--x\r\n${headers}\r\n\r\n${content}\r\n`;

describe('A form', () => {
  it('says what was put into it, whatever that is', async () => {
    const form = new FormData();
    const texts = { prompt: 'a star', 'größe ★': 'zwei\r\nZeilen', 'of "quotes" %41\n': '', '__proto__': '--x\r\n' };
    for (const [name, text] of Object.entries(texts)) form.append(name, text);
    form.append('seed', '1');
    form.append('seed', '2');
    const bytes = Buffer.from(Array.from({ length: 1000 }, (_, i) => i * 31));
    form.append('image[]', new Blob([bytes]), 'a; name="b".png');
    form.append('image[]', new Blob([Buffer.from('another')]), 'b.png');
    form.append('mask', new Blob([]), 'c.png');
    const encoded = new Response(form);
    const read = readForm(Buffer.from(await encoded.arrayBuffer()), encoded.headers.get('content-type')!);
    const expected = [...form].flatMap(([name, value]) => typeof value === 'string' ? [[name.replace('\n', '\r\n'), value.replace(/\r?\n/g, '\r\n')]] : []);
    assert.deepEqual(Object.entries(read.fields), Object.entries(Object.fromEntries(expected)));
    assert.deepEqual(Object.entries(read.files), [['image', bytes], ['mask', Buffer.alloc(0)]]);
  });

  it('may be written in other ways, too', () => {
    const body = `\r\n--a b\r\nContent-Type: text/plain\r\nContent-Disposition:form-data; filename="x"; NAME="image"\r\n\r\n1\r\n--a b--\r\nmore`;
    const { fields, files } = readForm(Buffer.from(body), 'multipart/form-data; charset=utf-8; boundary="a b"');
    assert.deepEqual([fields, files], [{}, { image: Buffer.from('1') }]);
    assert.deepEqual(readForm(Buffer.from('--x--'), TYPE), { fields: {}, files: {} });
  });

  const broken = ['', 'x', '--x', '--x\r\n', '--xy\r\n', part('a: b'), part(disposition('name="a"')), part(disposition('name=a')), `${part('')}--x--`];
  for (const body of broken) {
    it(`is refused where it is none: ${JSON.stringify(body)}`, () => assert.throws(
      () => readForm(Buffer.from(body), TYPE), new RequestError('the form: cannot be read; takes multipart/form-data, whole')));
  }

  it('is refused without a boundary', () => assert.throws(() => readForm(Buffer.from('--x--'), 'multipart/form-data'), RequestError));

  const SIZE = 32 * 2 ** 20;
  const large = (piece: string, head = '', tail = '') => Buffer.from(head + piece.repeat(SIZE / piece.length) + tail);
  const bounded: Array<[string, Buffer, string]> = [
    ['fields', large(part(disposition('name="a"')), '', '--x--'), 'takes up to 100 fields and files'],
    ['files', large(part(disposition('name="a"; filename="b"')), '', '--x--'), 'takes up to 100 fields and files'],
    ['headers', large('a:b\r\n', `--x\r\n${disposition('name="a"')}\r\n`, '\r\n\r\n--x--'), 'a part takes up to 8192 bytes of headers'],
    ['letters of a name', large('%22', `--x\r\n${disposition('name="')}`, '"\r\n\r\n\r\n--x--'), 'a part takes up to 8192 bytes of headers'],
    ['letters of a text', large('é', `--x\r\n${disposition('name="a"')}\r\n\r\n`, '\r\n--x--'), 'a field takes up to 65536 bytes'],
  ];
  for (const [what, body, message] of bounded) {
    it(`is refused for many ${what}, in good time`, () => {
      const milliseconds = processorTime(() => assert.throws(() => readForm(body, TYPE), new RequestError(`the form: ${message}`, 413)));
      assert.ok(milliseconds < 400, `${milliseconds} ms`);
    });
  }

  it('gives a large file as a part of its bytes, not as a copy', () => {
    const body = large('q', `${part(disposition('name="prompt"'), 'a')}--x\r\n${disposition('name="image"; filename="a"')}\r\n\r\n`, '\r\n--x--');
    const { files: { image } } = readForm(body, TYPE);
    assert.equal(image!.length, SIZE);
    assert.equal(image!.buffer, body.buffer);
  });
});
