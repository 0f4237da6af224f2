/** What a client's request says. */
export type Fields = Readonly<Record<string, unknown>>;

/** A number that was written as a text: forms have texts alone, and some clients send what their forms have. */
export function toNumber(value: unknown): unknown {
  return typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value)) ? Number(value) : value;
}
