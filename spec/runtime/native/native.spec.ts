import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { buildFolder, isBuilt } from '../../../lib/runtime/native/build_folder.js';
import { gpuConfig } from '../../../lib/runtime/native/load.js';

const cache = mkdtempSync(join(tmpdir(), 'native-spec-'));
const bin = join(cache, 'bin');
const fakeFolder = (kind: 'cpu' | 'gpu') => join(cache, 'tfjs-diffusers', 'native', basename(buildFolder(kind)));
const fakeBuild = fakeFolder('cpu');
const devices = new URL('../../../lib/runtime/devices.js', import.meta.url).href;
const load = new URL('../../../lib/runtime/native/load.js', import.meta.url).href;

/** What a process of its own prints that asks for `device` and then runs `body`; TensorFlow cannot be loaded twice in one. */
function ask(device: string, { body = '', env = {} }: { body?: string; env?: NodeJS.ProcessEnv } = {}): string {
  const script = `
    import { describeDevices, useDevice } from '${devices}';
    console.log(await useDevice('${device}').catch(error => error.message));
    ${body}`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { env: { ...process.env, ...env }, encoding: 'utf8' });
  return `${stderr}${stdout}`.trim();
}

describe('native devices', () => {
  const alone = { env: { XDG_CACHE_HOME: cache, PATH: bin } }; // no other builds and programs than those made here

  beforeEach(() => mkdirSync(bin, { recursive: true }));
  afterEach(() => rmSync(cache, { recursive: true }));

  it('need a build, which setup makes', () => {
    assert.equal(ask('cpu', alone), 'cpu: no native build; run `npx tfjs-diffusers setup`');
    assert.equal(ask('auto', alone), 'wasm');
  });

  it('need a GPU to run on cuda, and a build for it', () => {
    assert.equal(ask('cuda', alone), 'cuda: no NVIDIA GPU, nvidia-smi names none');
    writeFileSync(join(bin, 'nvidia-smi'), '#!/bin/sh\necho NVIDIA GPU\n', { mode: 0o755 });
    assert.equal(ask('cuda', alone), 'cuda: no GPU build; run `npx tfjs-diffusers setup --gpu`');
  });

  it('are told with what nvidia-smi knows of the GPUs, and the CUDA libraries of the build', () => {
    const smi = (script: string) => writeFileSync(join(bin, 'nvidia-smi'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const report = (shown: string) => ask('wasm', { ...alone, body: `const report = await describeDevices(); console.log(JSON.stringify(${shown}));` });
    assert.equal(report('[report.gpus, report.cudaLibraries]'), 'wasm\n[[],{}]');
    smi('echo "NVIDIA H100 80GB HBM3, 580.65.06, 81559, 9.0"; echo "NVIDIA GB10, 580.95.05, [N/A], 12.1"');
    const gpus = [{ name: 'NVIDIA H100 80GB HBM3', driver: '580.65.06', memory: 81559, computeCapability: '9.0' },
      { name: 'NVIDIA GB10', driver: '580.95.05', computeCapability: '12.1' }];
    assert.equal(report('report.gpus'), `wasm\n${JSON.stringify(gpus)}`);
    smi('case "$1" in *compute_cap*) echo "Field \\"compute_cap\\" is not a valid field to query."; exit 2;; esac; echo Tesla K80');
    assert.equal(report('report.gpus'), 'wasm\n[{"name":"Tesla K80"}]');
    const build = fakeFolder('gpu');
    mkdirSync(build, { recursive: true });
    writeFileSync(join(build, 'cuda.json'), '{"cublas":"12.9.1","cudnn":"9.28.0"}');
    assert.equal(report('[report.cudaLibraries, report.devices[0].detail]'), 'wasm\n[{"cublas":"12.9.1","cudnn":"9.28.0"},"TensorFlow 2.21.0 on Tesla K80"]');
  });

  it('give way to WASM, with a warning, where the build is damaged', () => {
    mkdirSync(fakeBuild, { recursive: true });
    const error = ask('cpu', alone);
    assert.match(error, /^cpu: the native build does not load \(Cannot find module '.\/sizes.json'\); run `npx tfjs-diffusers setup` to build it anew$/);
    assert.equal(ask('auto', alone), `${error}\nwasm`);
  });

  it('see that a library was cut short', function () {
    if (!isBuilt('cpu')) this.skip();
    cpSync(join(buildFolder('cpu'), 'sizes.json'), join(fakeBuild, 'sizes.json'));
    mkdirSync(join(fakeBuild, 'lib'));
    writeFileSync(join(fakeBuild, 'lib', 'libtensorflow_cc.so.2'), 'short');
    assert.match(ask('cpu', alone), /^cpu: the native build does not load \(libtensorflow_cc.so.2 is damaged\)/);
  });
});

describe('a native build', function () {
  before(function () {
    if (!isBuilt('cpu')) this.skip();
  });

  it('loads without a word', () => {
    assert.equal(ask('cpu'), 'cpu');
  });

  it('lets a process run on one native device only', () => {
    const body = 'console.log((await describeDevices()).devices[0].detail);';
    assert.equal(ask('cpu', { body }), 'cpu\nTensorFlow runs on cpu in this process and cannot change; use another process');
  });

  it('hands a limit of GPU memory to TensorFlow before all else, which takes it', () => {
    assert.equal(Buffer.from(gpuConfig(0.5)).toString('hex'), '320909000000000000e03f'); // 6: { 1: 0.5 }
    const script = (use: string) => {
      const program = `import { loadBuild } from '${load}'; import { createRequire } from 'node:module'; import * as tf from '@tensorflow/tfjs';
        try { ${use} } catch (error) { console.log(error.message); }`;
      return spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' }).stdout.trim();
    };
    const folder = JSON.stringify(buildFolder('cpu'));
    const computes = "await tf.setBackend('tensorflow'); console.log(tf.sum(tf.ones([3])).dataSync()[0]);";
    assert.equal(script(`loadBuild(${folder}, { memoryFraction: 0.5 }); ${computes}`), '3');
    const configure = `createRequire(${folder} + '/build.cjs')('./lib/quiet.node').configure`;
    assert.equal(script(`${configure}(new Uint8Array([255])); console.log('none')`), 'Unparseable ConfigProto');
  });

  it('says nothing in a worker thread either, whose environment is a copy', () => {
    const work = `import('${devices}').then(({ useDevice }) => useDevice('cpu')).then(device => console.log(device))`;
    const program = `import { Worker } from 'node:worker_threads'; new Worker(${JSON.stringify(work)}, { eval: true });`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
    assert.deepEqual([stdout, stderr], ['cpu\n', '']);
  });

  it('keeps settings of TensorFlow that were made before', () => {
    const body = 'console.log(process.env.TF_CPU_ALLOCATOR_USE_BFC, process.env.CUDA_VISIBLE_DEVICES);';
    assert.equal(ask('cpu', { body }), 'cpu\n1 undefined');
    assert.equal(ask('cpu', { body, env: { TF_CPU_ALLOCATOR_USE_BFC: '0', CUDA_VISIBLE_DEVICES: '1' } }), 'cpu\n0 1');
  });
});
