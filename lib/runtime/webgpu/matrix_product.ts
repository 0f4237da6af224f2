import { weightComponents, weightInputs, widenFour, type WeightKind } from './packed_words.js';
import type { Kernel } from './program.js';
import { threadsOf, type Tile } from './tiles.js';

/** How much depth of a tile is in workgroup memory at once. */
const DEPTH = 16;

export interface ProductKind {
  /** Whether rows are pixels around which the weight looks, or as they are. */
  readonly convolves: boolean;
  readonly biased: boolean;
  /** Whether something is added to the result while it is written. */
  readonly residual: boolean;
  readonly weight: WeightKind;
  readonly tile: Tile;
  /** Whether tiles and their products are float16, where the GPU has it; sums are float32. */
  readonly halves: boolean;
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
 * `[kernel, kernel, channels, columns]`; plus a bias and what is given besides. Depth (channels) and columns are multiples of 4. A packed
 * weight is widened on its way into workgroup memory.
 */
export function matrixProduct({ convolves, biased, residual, weight, tile, halves }: ProductKind): Kernel {
  const { rows, columns, tall, wide } = tile;
  const threads = threadsOf(tile);
  const more = [...biased ? ['bias'] : [], ...residual ? ['residual'] : []];
  const { inputs, numbers } = weightInputs(weight);
  const across = columns / (4 * wide);
  const [loadsX, loadsW] = [DEPTH * rows / 4 / threads, DEPTH * columns / 4 / threads];
  const [number, four] = halves ? ['f16', 'vec4<f16>'] : ['f32', 'vec4<f32>'];
  const product = `tileX[i * ${rows} + ty * ${tall} + j] * row`;
  return {
    key: `product ${convolves} ${more.join(' ')} ${weight.format} ${weight.lifted} ${weight.halfScales} ${rows}x${columns} ${halves}`,
    workgroup: threads, features: halves ? ['f16'] : [], inputs: ['x', ...inputs, ...more],
    components: { result: 4, inputs: [4, ...weightComponents(weight), ...more.map(() => 4 as const)] },
    numbers: ['rows', 'depth', 'columns', ...numbers, ...convolves ? ['kernel', 'stride', 'top', 'left'] : []], code: () => `
  var<workgroup> tileX: array<${number}, ${DEPTH * rows}>;
  var<workgroup> tileW: array<${four}, ${DEPTH * columns / 4}>;
  fn input(m: i32, k: i32) -> vec4<f32> { ${convolves ? PIXEL : ROW} }${widenFour(weight)}
  fn main(index: i32) {
    let thread = i32(localIndex);
    let across = (uniforms.columns + ${columns - 1}) / ${columns};
    let tile = index / ${threads};
    let m0 = tile / across * ${rows};
    let n0 = tile % across * ${columns};
    let tx = thread % ${across};
    let ty = thread / ${across};
    var a: array<vec4<f32>, ${loadsX}>;
    var b: array<vec4<f32>, ${loadsW}>;
    var sums: array<vec4<f32>, ${tall * wide}>;
    for (var k0 = 0; k0 < uniforms.depth; k0 += ${DEPTH}) {
      for (var i = 0; i < ${loadsX}; i++) {
        let at = i * ${threads} + thread;
        let m = m0 + at / ${DEPTH / 4};
        let k = k0 + at % ${DEPTH / 4} * 4;
        a[i] = vec4<f32>(0.0);
        if (m < uniforms.rows && k < uniforms.depth) { a[i] = input(m, k); }
      }
      for (var i = 0; i < ${loadsW}; i++) {
        let at = i * ${threads} + thread;
        let k = k0 + at / ${columns / 4};
        let n = n0 + at % ${columns / 4} * 4;
        b[i] = vec4<f32>(0.0);
        if (k < uniforms.depth && n < uniforms.columns) { b[i] = widened(k, n); }
      }
      workgroupBarrier();
      for (var i = 0; i < ${loadsX}; i++) {
        let at = i * ${threads} + thread;
        for (var j = 0; j < 4; j++) { tileX[(at % ${DEPTH / 4} * 4 + j) * ${rows} + at / ${DEPTH / 4}] = ${number}(a[i][j]); }
      }
      for (var i = 0; i < ${loadsW}; i++) { tileW[i * ${threads} + thread] = ${four}(b[i]); }
      workgroupBarrier();
      for (var i = 0; i < ${DEPTH}; i++) {
        for (var f = 0; f < ${wide}; f++) {
          let row = tileW[i * ${columns / 4} + f * ${across} + tx];
          for (var j = 0; j < ${tall}; j++) { sums[f * ${tall} + j] += ${halves ? `vec4<f32>(${product})` : product}; }
        }
      }
    }
    for (var f = 0; f < ${wide}; f++) {
      for (var j = 0; j < ${tall}; j++) {
        let m = m0 + ty * ${tall} + j;
        let n = n0 + (f * ${across} + tx) * 4;
        if (m < uniforms.rows && n < uniforms.columns) {
          let at = (m * uniforms.columns + n) / 4;
          result[at] = sums[f * ${tall} + j]${biased ? ' + bias[n / 4]' : ''}${residual ? ' + residual[at]' : ''};
        }
      }
    }
  }`,
  };
}
