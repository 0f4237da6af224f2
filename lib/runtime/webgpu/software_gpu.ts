/** Whether a GPU's name is that of a processor that does a GPU's work, slower than WebAssembly. */
export function isSoftwareName(name: string): boolean {
  return /swiftshader|llvmpipe|lavapipe|software|basic render/i.test(name);
}

/** What the status of a device on a GPU says: software is not for `auto`. */
export function gpuStatus(
  { isSoftware }: { readonly isSoftware: boolean }, detail: string,
): { available: true; detail: string; onlyByName?: true } {
  if (!isSoftware) return { available: true, detail };
  return { available: true, onlyByName: true, detail: `${detail}; software, so only when asked for by name` };
}
