/** Whether a GPU's name is that of a processor that does a GPU's work, slower than WebAssembly. */
export function isSoftwareName(name: string): boolean {
  return /swiftshader|llvmpipe|lavapipe|software|basic render/i.test(name);
}

/** What a GPU's status says: software is not for `auto`. */
export function gpuStatus({ isSoftware }: { readonly isSoftware: boolean }, detail: string): { available: true; detail: string; onlyByName?: true } {
  return isSoftware ? { available: true, onlyByName: true, detail: `${detail}; software, so only when asked for by name` } : { available: true, detail };
}
