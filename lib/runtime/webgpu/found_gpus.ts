/** WebGPU, and what it means if it has no adapter; or why there is none. */
export type FoundGpus = { readonly gpu: GPU; readonly none: string } | { readonly missing: string };
