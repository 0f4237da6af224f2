import { RequestError } from '../jobs/errors.js';
import type { Fields } from './fields.js';

/** What multipart/form-data says. */
export interface Form {
  readonly fields: Fields;
  /** Of several of one name, as in `image[]`, the first. */
  readonly files: Readonly<Record<string, Buffer | undefined>>;
}

/** More than any client sends: a form of many small parts, or of long headers, would keep the server from answering. */
const [MOST_PARTS, MOST_HEADER_BYTES, MOST_TEXT_BYTES] = [100, 2 ** 13, 2 ** 16];

interface Part {
  readonly name: string;
  readonly isFile: boolean;
  readonly content: Buffer;
}

/** Reads a form (RFC 7578). Files are parts of `body`, not copies. @throws RequestError for what is no form, breaks off, or is too much. */
export function readForm(body: Buffer, contentType: string): Form {
  const fields = new Map<string, string>();
  const files = new Map<string, Buffer>();
  for (const { name, isFile, content } of readParts(body, contentType)) {
    if (!isFile) fields.set(name, new TextDecoder().decode(content));
    else if (!files.has(name)) files.set(name, content);
  }
  return { fields: Object.fromEntries(fields), files: Object.fromEntries(files) };
}

function* readParts(body: Buffer, contentType: string): Generator<Part> {
  const delimiter = `--${boundaryOf(contentType)}`;
  let at = body.indexOf(delimiter);
  if (at < 0) throw broken();
  for (let count = 0; !isText('--', body, at += delimiter.length); count++) {
    if (count === MOST_PARTS) throw new RequestError(`the form: takes up to ${MOST_PARTS} fields and files`, 413);
    if (!isText('\r\n', body, at)) throw broken();
    const headers = readHeaders(body, at);
    const begin = at + headers.length + 4;
    const end = body.indexOf(`\r\n${delimiter}`, begin);
    if (end < 0) throw broken();
    const { name, isFile } = readDisposition(headers);
    if (!isFile && end - begin > MOST_TEXT_BYTES) throw new RequestError(`the form: a field takes up to ${MOST_TEXT_BYTES} bytes`, 413);
    yield { name, isFile, content: body.subarray(begin, end) };
    at = end + 2;
  }
}

function boundaryOf(contentType: string): string {
  const [, quoted, boundary = quoted] = /;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType) ?? [];
  if (boundary === undefined) throw broken();
  return boundary;
}

/** Of a part, from the end of its delimiter: each behind a line's end. */
function readHeaders(body: Buffer, at: number): Buffer {
  const room = body.subarray(at, at + MOST_HEADER_BYTES);
  const length = room.indexOf('\r\n\r\n');
  if (length >= 0) return room.subarray(0, length);
  if (room.length < MOST_HEADER_BYTES) throw broken();
  throw new RequestError(`the form: a part takes up to ${MOST_HEADER_BYTES} bytes of headers`, 413);
}

function readDisposition(headers: Buffer): { name: string; isFile: boolean } {
  const disposition = /\r\ncontent-disposition:[ \t]*form-data[ \t]*(;[^\r\n]*)/i.exec(headers.toString())?.[1] ?? '';
  const parameters = Array.from(
    disposition.matchAll(/;[ \t]*([^\s;="]+)="([^"]*)"/g), ([, key, value]) => ({ key: key.toLowerCase(), value }),
  );
  const name = parameters.find(({ key }) => key === 'name')?.value;
  if (name === undefined) throw broken();
  const isFile = parameters.some(({ key }) => key === 'filename') || /;[ \t]*filename\*=/i.test(disposition);
  return { name: unescape(name).replace(/\[\]$/, ''), isFile };
}

/** As forms write what a header cannot hold. */
function unescape(name: string): string {
  return name.replace(/%0A|%0D|%22/gi, code => decodeURIComponent(code));
}

function isText(text: string, body: Buffer, at: number): boolean {
  return body.toString('latin1', at, at + text.length) === text;
}

function broken(): RequestError {
  return new RequestError('the form: cannot be read; takes multipart/form-data, whole');
}
