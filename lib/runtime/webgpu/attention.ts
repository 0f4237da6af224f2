import { WORKGROUP, type Kernel } from './program.js';

/** Bytes of keys and values that a workgroup shares: WebGPU promises it 16 KiB in all. */
const SHARED = 12 * 1024;
const MOST_KEYS = 16;
/** Features of a head that one thread keeps; a larger head is shared by several threads. */
const MOST_FEATURES = 80;

export interface AttentionKind {
  readonly headSize: number;
  readonly masked: boolean;
  /** Whether tiles are float16, where the GPU has it; what is made of them is float32, since sums decide which key counts. */
  readonly halves: boolean;
}

/** How many threads work on one query of a head, each on as many of its features; undefined for sizes that do not divide so. */
export function threadsOfQuery(headSize: number): number | undefined {
  return [1, 2, 4, 8].find(threads => headSize % (4 * threads) === 0 && headSize / threads <= MOST_FEATURES);
}

/**
 * Attention with a running softmax (arXiv:2205.14135), which holds no scores: a workgroup has some queries of a head, and goes over tiles
 * of keys and values. Heads lie side by side in a token's features, so nothing is split or joined before and after.
 */
export function attention({ headSize, masked, halves }: AttentionKind): Kernel {
  const threads = threadsOfQuery(headSize)!;
  const [all, own] = [headSize / 4, headSize / 4 / threads]; // in fours
  const queries = WORKGROUP / threads;
  const keys = Math.min(MOST_KEYS, 2 ** Math.floor(Math.log2(SHARED / (2 * (halves ? 2 : 4) * headSize))));
  const four = halves ? 'vec4<f16>' : 'vec4<f32>';
  const addUp = threads === 1 ? '' : `
      for (var j = 0; j < ${keys}; j++) { sums[j * ${WORKGROUP} + thread] = p[j]; }
      workgroupBarrier();
      for (var j = 0; j < ${keys}; j++) {
        p[j] = 0.0;
        for (var t = 0; t < ${threads}; t++) { p[j] += sums[j * ${WORKGROUP} + thread / ${threads} * ${threads} + t]; }
      }`;
  return {
    key: `attention ${headSize} ${masked} ${halves}`, features: halves ? ['f16'] : [],
    inputs: ['q', 'k', 'v', ...masked ? ['mask'] : []],
    components: { result: 4, inputs: [4, 4, 4, ...masked ? [1 as const] : []] },
    numbers: ['groups', 'heads', 'queries', 'keys'], fractions: ['scale'], code: () => `
  var<workgroup> tileK: array<${four}, ${keys * all}>;
  var<workgroup> tileV: array<${four}, ${keys * all}>;
  ${threads === 1 ? '' : `var<workgroup> sums: array<f32, ${keys * WORKGROUP}>;`}
  fn main(index: i32) {
    let thread = i32(localIndex);
    let blocks = (uniforms.queries + ${queries - 1}) / ${queries};
    let group = min(index / ${WORKGROUP}, uniforms.groups - 1);
    let query = group % blocks * ${queries} + thread / ${threads};
    let head = group / blocks % uniforms.heads;
    let sample = group / blocks / uniforms.heads;
    let stride = uniforms.heads * ${all};
    let first = thread % ${threads} * ${own};
    let seen = min(query, uniforms.queries - 1);
    let mine = (sample * uniforms.queries + seen) * stride + head * ${all} + first;
    var qs: array<vec4<f32>, ${own}>;
    var os: array<vec4<f32>, ${own}>;
    for (var i = 0; i < ${own}; i++) { qs[i] = q[mine + i] * uniforms.scale; os[i] = vec4<f32>(0.0); }
    var highest = -3.4e38;
    var sum = 0.0;
    for (var start = 0; start < uniforms.keys; start += ${keys}) {
      workgroupBarrier();
      for (var i = thread; i < ${keys * all}; i += ${WORKGROUP}) {
        let at = (sample * uniforms.keys + min(start + i / ${all}, uniforms.keys - 1)) * stride + head * ${all} + i % ${all};
        tileK[i] = ${four}(k[at]);
        tileV[i] = ${four}(v[at]);
      }
      workgroupBarrier();
      var p: array<f32, ${keys}>;
      for (var j = 0; j < ${keys}; j++) {
        p[j] = 0.0;
        for (var i = 0; i < ${own}; i++) { p[j] += dot(qs[i], vec4<f32>(tileK[j * ${all} + first + i])); }
      }${addUp}
      var top = highest;
      for (var j = 0; j < ${keys}; j++) {
        if (start + j < uniforms.keys) {
          ${masked ? 'p[j] += mask[seen * uniforms.keys + start + j];' : ''}
          top = max(top, p[j]);
        } else {
          p[j] = -3.4e38;
        }
      }
      let keep = exp(highest - top);
      sum *= keep;
      highest = top;
      for (var j = 0; j < ${keys}; j++) { p[j] = select(0.0, exp(p[j] - top), start + j < uniforms.keys); sum += p[j]; }
      for (var i = 0; i < ${own}; i++) {
        var o = os[i] * keep;
        for (var j = 0; j < ${keys}; j++) { o += p[j] * vec4<f32>(tileV[j * ${all} + first + i]); }
        os[i] = o;
      }
    }
    if (query < uniforms.queries) { for (var i = 0; i < ${own}; i++) { result[mine + i] = os[i] / sum; } }
  }`,
  };
}
