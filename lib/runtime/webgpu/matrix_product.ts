import type { Kernel } from './program.js';

/** Rows and columns of the result that a workgroup of 256 threads makes, 4 x 4 by each of them, from tiles of so much depth. */
export const TILE = 64;
const DEPTH = 16;
const THREADS = 256;

export interface ProductKind {
  /** Whether rows are pixels around which the weight looks, or as they are. */
  readonly convolves: boolean;
  readonly biased: boolean;
  /** Whether something is added to the result while it is written. */
  readonly residual: boolean;
}

/** Four inputs of row `m` from depth `k` on, which are channels of one pixel. */
const ROW = 'return x[(m * uniforms.depth + k) / 4];';
const PIXEL = `
    let channels = uniforms.xShape[3];
    let tap = k / channels;
    let width = uniforms.outShape[2];
    let size = uniforms.outShape[1] * width;
    let row = m % size / width * uniforms.stride + tap / uniforms.kernel - uniforms.top;
    let column = m % width * uniforms.stride + tap % uniforms.kernel - uniforms.left;
    if (row < 0 || row >= uniforms.xShape[1] || column < 0 || column >= uniforms.xShape[2]) { return vec4<f32>(0.0); }
    return x[(((m / size * uniforms.xShape[1] + row) * uniforms.xShape[2] + column) * channels + k % channels) / 4];`;

/**
 * `[..., depth]` times `[depth, columns]`, or a convolution of `[batch, height, width, channels]` with
 * `[kernel, kernel, channels, columns]`; plus a bias and what is given besides. Depth (channels) and columns are multiples of 4.
 */
export function matrixProduct({ convolves, biased, residual }: ProductKind): Kernel {
  const more = [...biased ? ['bias'] : [], ...residual ? ['residual'] : []];
  return {
    key: `product ${convolves} ${more.join(' ')}`, workgroup: THREADS, inputs: ['x', 'weight', ...more],
    components: { result: 4, inputs: [4, 4, ...more.map(() => 4 as const)] },
    numbers: ['rows', 'depth', 'columns', ...convolves ? ['kernel', 'stride', 'top', 'left'] : []], code: () => `
  var<workgroup> tileX: array<f32, ${DEPTH * TILE}>;
  var<workgroup> tileW: array<vec4<f32>, ${DEPTH * TILE / 4}>;
  fn input(m: i32, k: i32) -> vec4<f32> { ${convolves ? PIXEL : ROW} }
  fn main(index: i32) {
    let thread = i32(localIndex);
    let across = (uniforms.columns + ${TILE - 1}) / ${TILE};
    let tile = index / ${THREADS};
    let m0 = tile / across * ${TILE};
    let n0 = tile % across * ${TILE};
    let tx = thread % 16;
    let ty = thread / 16;
    var sums: array<vec4<f32>, 4>;
    for (var k0 = 0; k0 < uniforms.depth; k0 += ${DEPTH}) {
      let m = m0 + thread / 4;
      let k = k0 + thread % 4 * 4;
      var a = vec4<f32>(0.0);
      if (m < uniforms.rows && k < uniforms.depth) { a = input(m, k); }
      let kw = k0 + ty;
      let n = n0 + tx * 4;
      var b = vec4<f32>(0.0);
      if (kw < uniforms.depth && n < uniforms.columns) { b = weight[(kw * uniforms.columns + n) / 4]; }
      workgroupBarrier();
      for (var i = 0; i < 4; i++) { tileX[(thread % 4 * 4 + i) * ${TILE} + thread / 4] = a[i]; }
      tileW[thread] = b;
      workgroupBarrier();
      for (var i = 0; i < ${DEPTH}; i++) {
        let row = tileW[i * 16 + tx];
        for (var j = 0; j < 4; j++) { sums[j] += tileX[i * ${TILE} + ty * 4 + j] * row; }
      }
    }
    for (var j = 0; j < 4; j++) {
      let m = m0 + ty * 4 + j;
      let n = n0 + tx * 4;
      if (m < uniforms.rows && n < uniforms.columns) {
        let at = (m * uniforms.columns + n) / 4;
        result[at] = sums[j]${biased ? ' + bias[n / 4]' : ''}${residual ? ' + residual[at]' : ''};
      }
    }
  }`,
  };
}
