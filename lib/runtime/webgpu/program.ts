import type { TensorInfo } from '@tensorflow/tfjs';
import type { WebGPUBackend } from '@tensorflow/tfjs-backend-webgpu';
import type { EnabledProgram, ShaderFeature } from './webgpu_backend.js';

/** Threads of a workgroup, where a kernel has no reason for another number. */
export const WORKGROUP = 64;

/** A kernel in WGSL. tfjs declares `result`, its inputs and `uniforms`, and calls `main(index)` with the number of the thread. */
export interface Kernel {
  /** Names the code: kernels of one key have the same. */
  readonly key: string;
  readonly inputs: readonly string[];
  /** Elements of the result's buffer, and of each input's, that are read as one; 1 by default. */
  readonly components?: { readonly result: 1 | 2 | 4; readonly inputs: ReadonlyArray<1 | 2 | 4> };
  /** Whole numbers, and last the fractions, that the code finds in `uniforms`, besides shapes. */
  readonly numbers?: readonly string[];
  readonly fractions?: readonly string[];
  readonly workgroup?: number;
  /** What it needs beyond plain WGSL. */
  readonly features?: readonly ShaderFeature[];
  /** Its WGSL, asked for when it is compiled. */
  readonly code: () => string;
}

/** What a kernel works on. */
export interface Run {
  readonly shape: readonly number[];
  /** How many workgroups there are to be; there may be some more, which have to do what others do or nothing. */
  readonly workgroups: number;
  readonly inputs: readonly TensorInfo[];
  readonly numbers?: readonly number[];
  readonly fractions?: readonly number[];
  /** Of the result, float32 by default. */
  readonly dtype?: 'float32' | 'int32';
  /** Where the result goes, instead of into a tensor of its own: something of `shape`. */
  readonly result?: TensorInfo;
}

/** Runs a kernel. @returns values of `shape`. */
export function runKernel(backend: WebGPUBackend, kernel: Kernel, run: Run): TensorInfo {
  const { shape, workgroups, inputs, numbers = [], fractions = [], dtype = 'float32', result } = run;
  const { key, workgroup = WORKGROUP, components, features, code } = kernel;
  const declared = [...(kernel.numbers ?? []).map(name => `${name}: i32,`), ...(kernel.fractions ?? []).map(name => `${name}: f32,`)];
  const program: EnabledProgram = {
    variableNames: [...kernel.inputs],
    outputShape: [...shape],
    uniforms: declared.join(' '),
    shaderKey: `network ${key}`,
    outputComponent: components?.result ?? 1,
    variableComponents: components ? [...components.inputs] : undefined,
    dispatchLayout: { x: shape.map((_, i) => i) },
    dispatch: [workgroups, 1, 1],
    workgroupSize: [workgroup, 1, 1],
    getUserCode: code,
    features,
  };
  return backend.runWebGPUProgram(program, [...inputs], dtype, [
    ...numbers.map(value => ({ type: 'int32', data: [value] })), ...fractions.map(value => ({ type: 'float32', data: [value] })),
  ], result);
}

/** Code of `total(value)`: the sum over the workgroup, which all of its threads get. It has barriers, so all of them must call it. */
export function totalCode(subgroups: boolean): string {
  return subgroups ? BY_SUBGROUPS : BY_HALVES;
}

const BY_HALVES = `
  var<workgroup> parts: array<f32, ${WORKGROUP}>;
  fn total(value: f32) -> f32 {
    let thread = i32(localIndex);
    workgroupBarrier();
    parts[thread] = value;
    workgroupBarrier();
    for (var left = ${WORKGROUP / 2}; left > 0; left = left / 2) {
      if (thread < left) { parts[thread] += parts[thread + left]; }
      workgroupBarrier();
    }
    return parts[0];
  }`;

/** Which threads are a subgroup, and how many, WGSL leaves open: so each subgroup counts itself, and then adds up all that there are. */
const BY_SUBGROUPS = `
  var<workgroup> parts: array<f32, ${WORKGROUP}>;
  fn total(value: f32) -> f32 {
    let sum = subgroupAdd(value);
    let lane = subgroupExclusiveAdd(1u);
    let lanes = subgroupAdd(1u);
    workgroupBarrier();
    parts[localIndex] = select(0.0, sum, lane == 0u);
    workgroupBarrier();
    var all = 0.0;
    for (var i = lane; i < ${WORKGROUP}u; i += lanes) { all += parts[i]; }
    return subgroupAdd(all);
  }`;
