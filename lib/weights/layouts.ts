import type { ParameterLayout, ParameterSpec } from '../core/parameter.js';

/** How the tensors of a file lie: as torch has them, or as we have them. */
export type FileLayout = 'torch' | 'tfjs';

/** The layout that a safetensors file declares by its metadata key `format`: only files made by the converter say `tfjs`. */
export function fileLayout(metadata: Record<string, string>): FileLayout {
  return metadata.format === 'tfjs' ? 'tfjs' : 'torch';
}

/** The shape that torch gives a parameter: linear `[out, in]`, pointwise `[out, in, 1, 1]`, conv `[out, in, height, width]`. */
export function torchShape({ shape, layout }: ParameterSpec): readonly number[] {
  switch (layout) {
    case 'linear': return [shape[1], shape[0]];
    case 'pointwise': return [shape[1], shape[0], 1, 1];
    case 'conv': return [shape[3], shape[2], shape[0], shape[1]];
    case 'plain': return shape;
  }
}

/**
 * Whether a tensor of `shape` in a file of `layout` holds the parameter.
 * In torch's layout a linear and a 1x1 conv hold the same values in the same order, and each may stand for the other:
 * projections are convs in SD1.x and linears in SD2.x, and so they changed in the VAE's attention.
 */
export function fits(shape: readonly number[], spec: ParameterSpec, layout: FileLayout): boolean {
  if (layout === 'tfjs') return sameShape(shape, spec.shape);
  if (spec.layout === 'plain') return sameShape(shape, spec.shape);
  return sameShape(squeeze(shape), squeeze(torchShape(spec)));
}

/**
 * Turns torch's order into ours: linear `[out, in]` -> `[in, out]`, conv `[out, in, height, width]` -> `[height, width, in, out]`.
 * @param bytes the elements as torch has them, `elementSize` bytes each; not changed.
 * @param shape torch's shape.
 * @returns the same bytes for a plain parameter, else new ones.
 */
export function torchToTfjs(bytes: Uint8Array, elementSize: number, shape: readonly number[], layout: ParameterLayout): Uint8Array {
  if (layout === 'plain') return bytes;
  const [outputs, inputs, height = 1, width = 1] = shape;
  const out = new Uint8Array(bytes.length);
  transpose(elements(bytes, elementSize), elements(out, elementSize), outputs, inputs, height * width);
  return out;
}

/** Turns our order into torch's, as `torchToTfjs` does the other way. @param shape ours. */
export function tfjsToTorch(bytes: Uint8Array, elementSize: number, shape: readonly number[], layout: ParameterLayout): Uint8Array {
  if (layout === 'plain') return bytes;
  const [inputs, outputs] = shape.slice(-2);
  const taps = shape.slice(0, -2).reduce((product, size) => product * size, 1);
  const out = new Uint8Array(bytes.length);
  transpose(elements(bytes, elementSize), elements(out, elementSize), taps, inputs, outputs); // all axes exchanged, as there
  return out;
}

type Elements = Uint8Array | Uint16Array | Uint32Array | Float64Array;

/** [outputs, inputs, taps] -> [taps, inputs, outputs], in tiles that stay in the cache. */
function transpose(source: Elements, target: Elements, outputs: number, inputs: number, taps: number): void {
  const row = inputs * taps;
  for (let firstOutput = 0; firstOutput < outputs; firstOutput += 64) {
    const endOutput = Math.min(outputs, firstOutput + 64);
    for (let firstInput = 0; firstInput < inputs; firstInput += 16) {
      const endInput = Math.min(inputs, firstInput + 16);
      for (let tap = 0; tap < taps; tap++) {
        for (let input = firstInput; input < endInput; input++) {
          const to = (tap * inputs + input) * outputs;
          let from = firstOutput * row + input * taps + tap;
          for (let output = firstOutput; output < endOutput; output++, from += row) target[to + output] = source[from];
        }
      }
    }
  }
}

/** A view of the bytes as words; their values do not matter, they are only moved. */
function elements(bytes: Uint8Array, elementSize: number): Elements {
  const { buffer, byteOffset, length } = bytes.byteOffset % elementSize ? new Uint8Array(bytes) : bytes;
  switch (elementSize) {
    case 1: return new Uint8Array(buffer, byteOffset, length);
    case 2: return new Uint16Array(buffer, byteOffset, length / 2);
    case 4: return new Uint32Array(buffer, byteOffset, length / 4);
    default: return new Float64Array(buffer, byteOffset, length / 8);
  }
}

/** [out, in, 1, 1] -> [out, in] */
function squeeze(shape: readonly number[]): readonly number[] {
  return shape.length === 4 && shape[2] === 1 && shape[3] === 1 ? shape.slice(0, 2) : shape;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}
