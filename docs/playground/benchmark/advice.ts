import { FULL_GIGABYTES, type Abilities, type Browser, type PageFacts } from './report.js';

export interface Found {
  browser: Browser;
  page: PageFacts;
  abilities: Abilities;
}

/** The answer to whether this browser can do it, in a sentence or two. */
export function verdict({ abilities: { webgpu, devices, wasm } }: Found): string {
  if ('name' in webgpu && !webgpu.isSoftware) return `Yes. Models as large as Stable Diffusion run on its GPU, where ${FULL_GIGABYTES} GB of memory are free for the weights.`;
  if (devices.some(({ device, isSoftware }) => device === 'webgl' && !isSoftware)) return 'In part. Small models run well; large ones take WebGPU, and WebGL is slow with them.';
  const threads = wasm.threads === 1 ? 'on one thread' : `on ${wasm.threads} threads`;
  return `In part. Small models run well, by WebAssembly ${threads}; models as large as Stable Diffusion take WebGPU.`;
}

/** What is missing, and what to do about it: a sentence or two each. */
export function missing({ browser, page, abilities: { webgpu, wasm } }: Found): string[] {
  const found: string[] = [];
  if ('missing' in webgpu) found.push(noWebGpu(browser, page, webgpu.missing));
  else if (webgpu.isSoftware) {
    found.push('WebGPU has no GPU: the processor does its work, more slowly than WebAssembly. Turn on hardware acceleration in the browser\'s settings, and look for a newer driver.');
  } else if (!webgpu.features.includes('shader-f16')) {
    found.push('The GPU does not compute with halves (shader-f16): models in float16 take no more memory, but are computed as float32. A newer driver may have them.');
  }
  if (!wasm.simd) found.push('WebAssembly has no SIMD and takes several times as long. Newer browsers have it.');
  if (!page.crossOriginIsolated) {
    found.push('WebAssembly has one thread, because the server does not isolate this page from others (headers COOP and COEP). Reload the page: the site\'s service worker adds them where the browser lets it.');
  } else if (wasm.threads === 1 && page.cores > 3) {
    found.push('WebAssembly has one thread here, though there are more cores: the browser allows no more.');
  }
  return found;
}

/** Which browsers have WebGPU, and from which version on. */
function noWebGpu({ name, system }: Browser, { secure }: PageFacts, missing: string): string {
  if (!secure) return 'WebGPU is for pages that come by https or from this machine, and this one does not: open it by https.';
  if (!missing.includes('no WebGPU')) return `WebGPU finds no GPU (${missing}). A newer driver may help${name === 'Firefox' || name === 'Safari' ? '' : '; chrome://gpu tells why'}.`;
  switch (name) {
    case 'Safari': return 'This Safari has no WebGPU: it comes with version 26, of macOS and iOS.';
    case 'Firefox': return 'This Firefox has no WebGPU: it comes with version 141 on Windows and 145 on Macs with Apple silicon. Elsewhere take Chrome or Edge.';
    default: return system === 'Linux'
      ? 'This browser has no WebGPU: on Linux it takes a driver for Vulkan, and for many GPUs the flag chrome://flags/#enable-unsafe-webgpu.'
      : 'This browser has no WebGPU: it comes with Chrome and Edge 113, on Android with 121. Update the browser, or turn on hardware acceleration in its settings.';
  }
}
