import { isSoftwareName } from './webgpu/software_gpu.js';

/** A GPU that WebGL can use. */
export interface FoundRenderer {
  readonly name: string;
  /** Whether it is a processor that does a GPU's work, slower than WebAssembly. */
  readonly isSoftware: boolean;
}

/** The one of a page; undefined where there is none, as in Node. */
export function findRenderer(): FoundRenderer | undefined {
  const gl = makeCanvas()?.getContext('webgl2') as WebGL2RenderingContext | null | undefined;
  if (!gl) return undefined;
  const known = gl.getExtension('WEBGL_debug_renderer_info');
  const renderer = String(gl.getParameter(known ? known.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension('WEBGL_lose_context')?.loseContext(); // browsers allow few at a time
  return { name: chipName(renderer), isSoftware: isSoftwareName(renderer) };
}

/** In a page, where older browsers have WebGL there alone, or in a worker. */
function makeCanvas(): HTMLCanvasElement | OffscreenCanvas | undefined {
  if (typeof document !== 'undefined') return document.createElement('canvas');
  return typeof OffscreenCanvas === 'undefined' ? undefined : new OffscreenCanvas(1, 1);
}

/** 'ANGLE (Vendor, Chip (0x1234) Driver, Version)' -> 'Chip' */
function chipName(renderer: string): string {
  const chip = /^ANGLE \([^,]*, (.*?)(?: \(0x|,|\)$)/.exec(renderer)?.[1] ?? renderer;
  return chip.replace(/^.*Renderer: | Direct3D.*| OpenGL.*/g, '');
}
