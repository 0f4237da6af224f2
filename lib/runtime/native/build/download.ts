import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { runTool } from '../../../core/run_tool.js';
import { BINDING_PACKAGE, TENSORFLOW_VERSION, TFJS_SYMBOL, TFJS_VERSION, type NativeKind } from '../build_folder.js';
import type { CudaPlan } from './cuda_plan.js';
import { findCuda } from './find_cuda.js';
import { placeCuda } from './place_cuda.js';

/** From npm, by folder of node_modules: the binding and the backend's JavaScript, what that imports, and Node's own headers. */
const NPM_PACKAGES = { [BINDING_PACKAGE]: TFJS_VERSION, 'google-protobuf': '3.21.4', 'node-api-headers': '1.9.0' };

export const LIBRARIES = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'];

/** Of the headers of TensorFlow's C API. */
const HEADERS = ['tensorflow/c/', 'tensorflow/core/platform/ctstring', 'tsl/platform/ctstring', 'xla/tsl/c/'];

/** What is unpacked of TensorFlow's wheel: its libraries, headers, and list of requirements. */
const WHEEL_PARTS = [
  ...LIBRARIES.map(library => `tensorflow/${library}`),
  ...HEADERS.map(path => `tensorflow/include/${path}`),
  `tensorflow-${TENSORFLOW_VERSION}.dist-info/METADATA`,
];

/** Bytes of TensorFlow's wheel, and of what is kept of it and built with it. */
export const TENSORFLOW_SIZE: Record<NativeKind, readonly [download: number, disk: number]> = { cpu: [275e6, 870e6], gpu: [573e6, 1275e6] };

/** Unpacks the members whose names begin with one of the arguments; zipfile forgets which can be executed. */
const UNZIP = `import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for member in wheel.infolist():
        if member.filename.startswith(tuple(sys.argv[3:])):
            path = wheel.extract(member, sys.argv[2])
            if member.external_attr >> 16 & 0o111:
                os.chmod(path, 0o755)`;

/** Puts the npm packages under `target/node_modules`. npm checks them against its registry's hashes. */
export async function downloadBinding(python: string, stage: string, target: string): Promise<void> {
  const packages = Object.entries(NPM_PACKAGES);
  const flags = ['--loglevel=error', '--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=5000', `--pack-destination=${stage}`];
  await runTool('npm', ['pack', ...flags, ...packages.map(([name, version]) => `${name}@${version}`)]);
  for (const [name, version] of packages) {
    const file = `${name.replace('@', '').replace('/', '-')}-${version}.tgz`;
    const folder = join(target, 'node_modules', name);
    await runTool(python, ['-W', 'ignore', '-m', 'tarfile', '-e', join(stage, file), stage]);
    await mkdir(dirname(folder), { recursive: true });
    await rename(join(stage, 'package'), folder);
  }
  // A build lies outside every project: what its JavaScript imports as tfjs is that of the process which loads it.
  for (const name of ['@tensorflow/tfjs', '@tensorflow/tfjs-core']) {
    await mkdir(join(target, 'node_modules', name));
    await writeFile(join(target, 'node_modules', name, 'index.js'), `module.exports = globalThis[Symbol.for('${TFJS_SYMBOL}')];\n`);
  }
}

/** Puts TensorFlow's libraries under `target/lib`, its headers and what it requires under `stage`. */
export async function downloadTensorflow(
  kind: NativeKind, python: string, stage: string, target: string, onProgress: (line: string) => void,
): Promise<void> {
  const name = kind === 'cpu' && process.arch === 'x64' ? 'tensorflow-cpu' : 'tensorflow';
  await downloadWheels(python, [`${name}==${TENSORFLOW_VERSION}`], stage, WHEEL_PARTS, onProgress);
  await mkdir(join(target, 'lib'), { recursive: true });
  for (const library of LIBRARIES) await rename(join(stage, 'tensorflow', library), join(target, 'lib', library));
}

/** Puts CUDA's libraries, or links to them, where TensorFlow looks for them. */
export async function downloadCuda(
  { packages, links }: CudaPlan, python: string, stage: string, target: string, onProgress: (line: string) => void,
): Promise<void> {
  const metadata = await readFile(join(stage, `tensorflow-${TENSORFLOW_VERSION}.dist-info`, 'METADATA'), 'utf8');
  const requirements = [...metadata.matchAll(/^Requires-Dist: (nvidia-[\w-]+)([^;\s]*)\s*;.*and-cuda/gm)]
    .flatMap(([, name, versions]) => packages.has(name) ? [`${packages.get(name)}${versions}`] : []);
  await downloadWheels(python, requirements, stage, ['nvidia/'], onProgress);
  await placeCuda(await findCuda([join(stage, 'nvidia')]), target, rename);
  await rm(join(stage, 'nvidia'), { recursive: true, force: true }); // what nothing opens
  await placeCuda(links, target, symlink);
}

/** Downloads wheels and unpacks into `stage` what is used of them. pip checks them against its registry's hashes. */
async function downloadWheels(
  python: string, requirements: readonly string[], stage: string, parts: readonly string[], onProgress: (line: string) => void,
): Promise<void> {
  if (requirements.length === 0) return;
  const wheels = join(stage, 'wheels');
  // Nothing of a wheel is run or compiled against Python, so any Python version's will do: --python-version names one that there is.
  const args = ['-m', 'pip', 'download', '--no-deps', '--only-binary=:all:', '--python-version=3.13', '--no-cache-dir', `--dest=${wheels}`];
  const onLine = (line: string) => {
    const download = /^\s*Downloading (?:\S*\/)?(\S+\.whl) \((.+)\)/.exec(line);
    if (download) onProgress(`downloading ${download[1]}, ${download[2]}`);
  };
  await runTool(python, [...args, ...requirements], { env: { TMPDIR: stage }, onLine });
  for (const wheel of await readdir(wheels)) {
    onProgress(`unpacking ${wheel}`);
    await runTool(python, ['-c', UNZIP, join(wheels, wheel), stage, ...parts]);
    await rm(join(wheels, wheel));
  }
}
