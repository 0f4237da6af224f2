/** Whether the first bytes of a file are those of a zip, or of a pickle of protocol 2 or higher. */
export function beginsAsTorchFile(start: Uint8Array): boolean {
  return isZip(start) || start[0] === 0x80;
}

export function isZip(start: Uint8Array): boolean {
  return String.fromCharCode(...start.subarray(0, 4)) === 'PK\x03\x04';
}
