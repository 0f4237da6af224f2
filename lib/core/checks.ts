/** Argument and shape checks. Every error names the thing, the value received and what is accepted. */

/** Shows any value on one line, short enough for an error message. */
export function show(value: unknown): string {
  const text = printable(typeof value === 'string' ? `'${value}'` : plain(value));
  return brief(text);
}

/** A name from a file for a message, without the end of an endless one. */
export function brief(name: string): string {
  return name.length > 120 ? `${name.slice(0, 117)}...` : name;
}

/** Text from a file for a message: no line breaks, and nothing that a terminal would obey. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** As String does, but for objects whose own toString is no function, as JSON can make them. */
function plain(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(plain).join(', ')}]`;
  return typeof value === 'object' && value !== null ? Object.prototype.toString.call(value) : String(value);
}

/** @throws RangeError unless `value` is an integer within [min, max]. */
export function checkInteger(name: string, value: number, min: number, max = Number.MAX_SAFE_INTEGER): number {
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    const range = max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `from ${min} to ${max}`;
    throw new RangeError(`${name}: got ${show(value)}, takes a whole number, ${range}`);
  }
  return value;
}

/** @throws RangeError unless `value` is a finite number within [min, max]. */
export function checkNumber(name: string, value: number, min = -Infinity, max = Infinity): number {
  if (!Number.isFinite(value) || value < min || value > max) {
    const range = min === -Infinity ? '' : max === Infinity ? `, ${min} or more` : ` from ${min} to ${max}`;
    throw new RangeError(`${name}: got ${show(value)}, takes a number${range}`);
  }
  return value;
}

/** What `work` gives; what it says does not fit is said of `name`, as of a file. */
export function checkedIn<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw error instanceof RangeError || error instanceof TypeError ? errorOf(name, error) : error;
  }
}

/** The same error, on one line, which begins with the name of what it is of, as of a file. */
export function errorOf(name: string, error: Error): Error {
  const { message, stack = '' } = error;
  error.message = printable(message.startsWith(name) ? message : `${name}: ${message}`);
  error.stack = stack.replace(message, () => error.message);
  return error;
}

/** @throws TypeError for an option that is none of `names`; one that Python writes `so_or_so` is told by the name that it has here. */
export function checkOptionNames(
  what: string, options: object, names: readonly string[], others: Readonly<Record<string, string>> = {},
): void {
  for (const [option, value] of Object.entries(options)) {
    if (value === undefined || names.includes(option)) continue;
    const ours = others[option] ?? option.replace(/(?<=[a-z\d])_([a-z\d])/g, (_, letter: string) => letter.toUpperCase());
    const hint = ours !== option && names.includes(ours) ? `: it is called ${ours} here` : others[option] ? `: ${others[option]}` : '';
    throw new TypeError(`${what}: there is no option ${show(option)}${hint}; takes ${names.join(', ')}`);
  }
}

/** @throws RangeError unless `value` is one of `accepted`. */
export function checkOneOf<T>(name: string, value: unknown, accepted: readonly T[]): T {
  if (!accepted.includes(value as T)) {
    throw new RangeError(`${name}: got ${show(value)}, takes ${accepted.map(show).join(', ')}`);
  }
  return value as T;
}

/** @throws RangeError unless `shape` fits `expected`, where null stands for any size. */
export function checkShape(name: string, shape: readonly number[], expected: ReadonlyArray<number | null>): void {
  const fits = shape.length === expected.length && expected.every((size, axis) => size === null || size === shape[axis]);
  if (!fits) {
    throw new RangeError(`${name}: got shape [${shape.join(', ')}], takes [${expected.map(size => size ?? '*').join(', ')}]`);
  }
}
