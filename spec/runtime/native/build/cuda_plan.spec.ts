import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { CUDA_PARTS, OPENED } from '../../../../lib/runtime/native/cuda/cuda_libraries.js';
import { planCuda } from '../../../../lib/runtime/native/build/cuda_plan.js';
import { existingCuda } from '../../../../lib/runtime/native/build/existing_cuda.js';

/** The header of a library without content. */
function library(machine = 62): Buffer {
  const header = Buffer.alloc(64);
  header.write('\x7fELF\x02\x01\x01', 'latin1');
  header.writeUInt16LE(machine, 18);
  header.writeUInt16LE(56, 54);
  return header;
}

const CUDNN = ['libcudnn.so.9', 'libcudnn_graph.so.9', 'libcudnn_ops.so.9'];
const CUDA_12 = ['libcudart.so.12', 'libcublas.so.12', 'libcublasLt.so.12', 'libcufft.so.11', 'libcusolver.so.11', 'libcusparse.so.12', 'libnvJitLink.so.12',
  'libnvrtc.so.12', 'libnvrtc-builtins.so.12.4'];
const CUDA_13 = ['libcudart.so.13', 'libcublas.so.13', 'libcublasLt.so.13', 'libcufft.so.12', 'libcusolver.so.12', 'libcusparse.so.12', 'libnvJitLink.so.13',
  'libnvrtc.so.13', 'libnvrtc-builtins.so.13.0'];

describe('CUDA libraries that are there already', () => {
  let home: string;
  let cudnnVersion = '9.10.2';
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'cuda-plan-spec-'));
    cudnnVersion = '9.10.2';
  });
  afterEach(() => rmSync(home, { recursive: true }));

  function put(folder: string, names: readonly string[], content: Buffer | string = library()): void {
    for (const name of names) {
      const path = join(home, folder, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
    }
  }

  /** A Python in whose environment `site` is, and which says of every cuDNN that it is of one version. */
  function python(site = 'site-packages'): string {
    const path = join(home, 'python');
    const text = `case "$2" in *ctypes*) echo '{"cudnn": "${cudnnVersion}"}';; *) printf '%s\\n' ${home} ${join(home, site)} /none;; esac`;
    writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    return path;
  }

  /** The plan for folders in `home`: links by name, relative to it, and packages. */
  async function plan(sources: { folders?: string[]; python?: string }, lines: string[] = []): Promise<{ links: Record<string, string>; packages: string[]; version: number }> {
    const cudaLibraries = sources.folders?.map(folder => join(home, folder));
    const { links, packages, version } = planCuda(await existingCuda({ cudaLibraries, python: sources.python }, python(), line => lines.push(line)));
    return { links: Object.fromEntries([...links].map(([name, path]) => [name, relative(home, path)])), packages: [...packages.values()].sort(), version };
  }

  it('are none by default: everything is downloaded', async () => {
    const { links, packages } = await plan({});
    assert.deepEqual(links, {});
    assert.deepEqual(packages, CUDA_PARTS.map(part => part.package).sort());
  });

  it('are those of a toolkit and of a folder with cuDNN', async () => {
    put('cuda-12.4/targets/x86_64-linux/lib', CUDA_12);
    put('cuda-12.4', ['bin/ptxas', 'nvvm/libdevice/libdevice.10.bc']);
    put('cudnn/lib', CUDNN);
    symlinkSync('cuda-12.4', join(home, 'cuda'));
    const { links, packages, version } = await plan({ folders: ['cuda', 'cudnn'] });
    assert.equal(version, 12);
    assert.deepEqual(packages, []);
    for (const name of OPENED) assert.equal(links[name], `${name.startsWith('libcudnn') ? 'cudnn/lib' : 'cuda/targets/x86_64-linux/lib'}/${name}`);
    assert.equal(links['libcudnn_ops.so.9'], 'cudnn/lib/libcudnn_ops.so.9');
    assert.equal(links['libnvrtc-builtins.so.12.4'], 'cuda/targets/x86_64-linux/lib/libnvrtc-builtins.so.12.4');
    assert.equal(links['bin/ptxas'], 'cuda/bin/ptxas');
    assert.equal(links['nvvm/libdevice/libdevice.10.bc'], 'cuda/nvvm/libdevice/libdevice.10.bc');
  });

  it('are those of a Python environment with CUDA 12, a folder for each package', async () => {
    const folder = (name: string) => /^lib(cudart|cublas|cufft|cusolver|cusparse|nvJitLink|nvrtc)/.exec(name)![1];
    for (const name of CUDA_12) put(`site-packages/nvidia/${folder(name)}/lib`, [name]);
    put('site-packages/nvidia/cudnn/lib', CUDNN);
    put('site-packages/triton/backends/nvidia', ['bin/ptxas', 'lib/libdevice.10.bc']);
    const { links, packages } = await plan({ python: python() });
    assert.deepEqual(packages, []);
    assert.equal(links['libcusolver.so.11'], 'site-packages/nvidia/cusolver/lib/libcusolver.so.11');
    assert.equal(links['bin/ptxas'], 'site-packages/triton/backends/nvidia/bin/ptxas');
    assert.equal(links['nvvm/libdevice/libdevice.10.bc'], 'site-packages/triton/backends/nvidia/lib/libdevice.10.bc');
  });

  it('are those of CUDA 13, under the names of CUDA 12 and their own, but for the runtime', async () => {
    put('site-packages/nvidia/cu13/lib', CUDA_13);
    put('site-packages/nvidia/cudnn/lib', CUDNN);
    const { links, packages, version } = await plan({ python: python() });
    assert.equal(version, 13);
    assert.deepEqual(packages, ['nvidia-cuda-nvcc-cu12', 'nvidia-cuda-runtime-cu12']);
    assert.deepEqual(OPENED.filter(name => !(name in links)), ['libcudart.so.12']);
    for (const [name12, name13] of [['libcublas.so.12', 'libcublas.so.13'], ['libcusolver.so.11', 'libcusolver.so.12'], ['libnvrtc.so.12', 'libnvrtc.so.13']]) {
      assert.equal(links[name12], `site-packages/nvidia/cu13/lib/${name13}`);
      assert.equal(links[name13], `site-packages/nvidia/cu13/lib/${name13}`);
    }
    rmSync(join(home, 'site-packages/nvidia/cudnn'), { recursive: true });
    assert.deepEqual((await plan({ python: python() })).packages, ['nvidia-cuda-nvcc-cu12', 'nvidia-cuda-runtime-cu12', 'nvidia-cudnn-cu13']);
  });

  it('are not CUDA 13 without a part that no download fits to', async () => {
    put('cu13', CUDA_13.filter(name => name !== 'libcufft.so.12'));
    await assert.rejects(plan({ folders: ['cu13'] }),
      { message: `setup: ${home}/cu13 has CUDA 13 without libcufft.so.12; install that as well, or let setup download CUDA 12` });
    put('cu13', CUDA_13);
    rmSync(join(home, 'cu13/libnvrtc-builtins.so.13.0'));
    await assert.rejects(plan({ folders: ['cu13'] }), /has CUDA 13 without libnvrtc-builtins;/);
  });

  it('are completed by downloads: cuBLAS and what calls it all together, the rest one by one', async () => {
    put('lib', [...CUDA_12.filter(name => name !== 'libcufft.so.11'), 'libcudnn.so.9']); // of cuDNN the door alone
    assert.deepEqual((await plan({ folders: ['lib'] })).packages, ['nvidia-cuda-nvcc-cu12', 'nvidia-cudnn-cu12', 'nvidia-cufft-cu12']);
    rmSync(join(home, 'lib/libcusolver.so.11'));
    const { links, packages } = await plan({ folders: ['lib'] });
    assert.deepEqual(packages, ['nvidia-cublas-cu12', 'nvidia-cuda-nvcc-cu12', 'nvidia-cudnn-cu12', 'nvidia-cufft-cu12', 'nvidia-cusolver-cu12',
      'nvidia-cusparse-cu12', 'nvidia-nvjitlink-cu12']);
    assert.deepEqual(Object.keys(links), ['libcudart.so.12', 'libnvrtc.so.12', 'libnvrtc-builtins.so.12.4']);
  });

  it('are the newest CUDA 12, for this processor, whole, and not for linking alone', async () => {
    for (const version of ['12.9', '12.10', '12.4']) put(`cuda-${version}/lib64`, CUDA_12);
    put('cuda-13.0/lib64', CUDA_13);
    put('cuda-12.11/targets/sbsa-linux/lib', CUDA_12, library(183));
    put('cuda-12.11/lib64/stubs', CUDA_12);
    put('cuda-12.12/lib64', CUDA_12, library().subarray(0, 30));
    mkdirSync(join(home, 'cuda-12.13'));
    CUDA_12.forEach(name => symlinkSync('/nowhere', join(home, 'cuda-12.13', name)));
    const { links, version } = await plan({ folders: ['.'] });
    assert.equal(version, 12);
    CUDA_12.forEach(name => assert.equal(links[name], `cuda-12.10/lib64/${name}`));
  });

  it('are not a cuDNN that TensorFlow refuses', async () => {
    put('lib', [...CUDA_12, ...CUDNN]);
    for (const [version, taken] of [['9.3.0', true], ['9.1.1', false], ['8.9.7', false]] as const) {
      cudnnVersion = version;
      const lines: string[] = [];
      assert.equal((await plan({ folders: ['lib'] }, lines)).packages.includes('nvidia-cudnn-cu12'), !taken, version);
      assert.deepEqual(lines, taken ? [] : [`${home}/lib/libcudnn.so.9 is version ${version}, TensorFlow takes 9.3 or newer: another one is downloaded`]);
    }
  });

  it('must be where they are said to be', async () => {
    await assert.rejects(plan({ folders: ['none'] }), { message: `setup: cuda-libraries: there is no ${home}/none` });
    put('empty', ['readme.txt'], '');
    await assert.rejects(plan({ folders: ['empty'] }), { message: `setup: no library of CUDA 12 or 13 in ${home}/empty` });
    await assert.rejects(plan({ python: python() }), { message: `setup: no library of CUDA 12 or 13 in the environment of ${home}/python` });
    await assert.rejects(plan({ python: join(home, 'no-python') }), /^Error: setup: python: .*no-python does not run: /);
  });
});
