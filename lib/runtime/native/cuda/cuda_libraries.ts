import { join } from 'node:path';

/**
 * The folder of a build that holds all of CUDA's libraries, or links to them. It is one of those in which TensorFlow looks (the RUNPATH of
 * libtensorflow_framework.so.2, which names a folder for most of NVIDIA's packages, but none for cuSOLVER, though it opens that too). Side
 * by side they find each other as well: each looks first where itself, or the link to it, lies.
 */
export const CUDA_FOLDER = join('nvidia', 'cuda_runtime', 'lib');

/** What XLA takes for CUDA's folder: it runs `bin/ptxas` and reads `nvvm/libdevice/libdevice.10.bc`. */
export const NVCC_FOLDER = join('nvidia', 'cuda_nvcc');

/** One of NVIDIA's packages. What of it is opened by nothing is left out. */
export interface CudaPart {
  /** On the Python registry; TensorFlow's metadata says in which versions. */
  readonly package: string;
  /** The package that serves beside CUDA 13's libraries, if this part of those is missing or will not do. */
  readonly beside13?: string;
  /** Names of CUDA 12's libraries, by which they are opened, each with the one of CUDA 13 that has all its functions. */
  readonly libraries: Readonly<Record<string, string | null>>;
  /** Names of further libraries, which those open. */
  readonly more?: RegExp;
  /** Other files, by their place in NVCC_FOLDER. */
  readonly tools?: readonly string[];
  /** TensorFlow opens the libraries itself, before it takes a GPU. */
  readonly opened?: boolean;
  /** These call each other's newest functions, so they must be of one release. */
  readonly oneRelease?: boolean;
  /** Bytes of the download, and of what is kept of it. */
  readonly size: readonly [download: number, disk: number];
}

/**
 * All that TensorFlow, cuDNN and XLA open on one GPU. Of the packages that TensorFlow asks for these are not among it: cuRAND, which
 * nothing opens; NCCL, which is for several GPUs at once; CUPTI, which is for TensorFlow's profiler.
 */
export const CUDA_PARTS: readonly CudaPart[] = [
  {
    package: 'nvidia-cuda-runtime-cu12', beside13: 'nvidia-cuda-runtime-cu12', opened: true, size: [3.5e6, 0.8e6],
    libraries: { 'libcudart.so.12': null }, // CUDA 13 changed what some of its functions take
  },
  {
    package: 'nvidia-cublas-cu12', opened: true, oneRelease: true, size: [581e6, 854e6],
    libraries: { 'libcublas.so.12': 'libcublas.so.13', 'libcublasLt.so.12': 'libcublasLt.so.13' },
  },
  {
    package: 'nvidia-cusolver-cu12', opened: true, oneRelease: true, size: [338e6, 302e6],
    libraries: { 'libcusolver.so.11': 'libcusolver.so.12' },
  },
  {
    package: 'nvidia-cusparse-cu12', opened: true, oneRelease: true, size: [367e6, 487e6],
    libraries: { 'libcusparse.so.12': 'libcusparse.so.12' },
  },
  { package: 'nvidia-nvjitlink-cu12', oneRelease: true, size: [40e6, 96e6], libraries: { 'libnvJitLink.so.12': 'libnvJitLink.so.13' } },
  { package: 'nvidia-cufft-cu12', opened: true, size: [201e6, 292e6], libraries: { 'libcufft.so.11': 'libcufft.so.12' } },
  {
    package: 'nvidia-cudnn-cu12', beside13: 'nvidia-cudnn-cu13', opened: true, size: [717e6, 1162e6],
    libraries: { 'libcudnn.so.9': 'libcudnn.so.9' }, more: /^libcudnn_\w+\.so\.9$/,
  },
  {
    package: 'nvidia-cuda-nvrtc-cu12', size: [90e6, 114e6],
    libraries: { 'libnvrtc.so.12': 'libnvrtc.so.13' }, more: /^libnvrtc-builtins\.so\.\d+\.\d+$/,
  },
  {
    package: 'nvidia-cuda-nvcc-cu12', beside13: 'nvidia-cuda-nvcc-cu12', size: [41e6, 36e6],
    libraries: {}, tools: ['bin/ptxas', 'nvvm/libdevice/libdevice.10.bc'],
  },
];

/** Names by which TensorFlow opens CUDA's libraries. If one cannot be opened it takes no GPU. */
export const OPENED = CUDA_PARTS.filter(part => part.opened).flatMap(part => Object.keys(part.libraries));

export const TOOLS = CUDA_PARTS.flatMap(part => part.tools ?? []);

/** By which name a file is kept in a build: a library's own, or a tool's place in NVCC_FOLDER; null if it is not wanted. */
export function cudaName(path: string): string | null {
  const name = path.slice(path.lastIndexOf('/') + 1);
  for (const { libraries, more, tools } of CUDA_PARTS) {
    if (more?.test(name) || Object.entries(libraries).some(names => names.includes(name))) return name;
    const tool = tools?.find(tool => tool.endsWith(`/${name}`));
    if (tool) return tool;
  }
  return null;
}

/** Where a build keeps it. */
export function cudaPlace(name: string): string {
  return name.includes('/') ? join(NVCC_FOLDER, name) : join(CUDA_FOLDER, name);
}
