import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buildFolder, isBuilt } from '../../../../lib/runtime/native/build_folder.js';
import { CUDA_FOLDER } from '../../../../lib/runtime/native/cuda/cuda_libraries.js';
import { verifyBuild } from '../../../../lib/runtime/native/build/verify.js';

const real = buildFolder('gpu');
const devices = new URL('../../../../lib/runtime/devices.js', import.meta.url).href;

/** Of the GPU build in the cache; no GPU is needed. */
describe('the check of a GPU build', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gpu-check-spec-'));
  const cuda = join(folder, CUDA_FOLDER);

  before(function () {
    if (!isBuilt('gpu')) {
      console.log('      no GPU build in the cache: `npm run setup -- --gpu` makes one, without a GPU as well');
      this.skip();
    }
  });

  /** A build of links. What a library finds beside itself goes by the place of the link, but for addons: Node follows theirs. */
  beforeEach(() => {
    for (const part of ['lib', CUDA_FOLDER]) {
      mkdirSync(join(folder, part), { recursive: true });
      for (const name of readdirSync(join(real, part))) {
        const [from, to] = [join(real, part, name), join(folder, part, name)];
        if (name.endsWith('.node')) copyFileSync(from, to);
        else symlinkSync(from, to);
      }
    }
    for (const name of ['node_modules', 'sizes.json', join('nvidia', 'cuda_nvcc')]) symlinkSync(join(real, name), join(folder, name));
  });
  afterEach(() => {
    readdirSync(folder).forEach(name => rmSync(join(folder, name), { recursive: true }));
  });
  after(() => rmSync(folder, { recursive: true }));

  const verdict = () => verifyBuild(folder, 'gpu').then(() => 'works', (error: Error) => error.message);

  it('finds all that TensorFlow opens', async () => {
    assert.equal(await verdict(), 'works');
  });

  it('names a library that TensorFlow does not find, though it lies where its package puts it', async () => {
    const elsewhere = join(folder, 'nvidia', 'cusolver', 'lib');
    mkdirSync(elsewhere, { recursive: true });
    rmSync(join(cuda, 'libcusolver.so.11'));
    symlinkSync(join(real, CUDA_FOLDER, 'libcusolver.so.11'), join(elsewhere, 'libcusolver.so.11'));
    assert.equal(await verdict(), 'TensorFlow cannot open libcusolver.so.11: cannot open shared object file: No such file or directory');
  });

  it('names a library that another one needs', async () => {
    readdirSync(cuda).filter(name => name.startsWith('libnvJitLink')).forEach(name => rmSync(join(cuda, name)));
    assert.match(await verdict(), /^TensorFlow cannot open libcusolver.so.11 \(libnvJitLink.so.1[23]: cannot open shared object file/);
  });

  it('names a library that is damaged, one that is for another machine, and a link that leads nowhere', async () => {
    const name = readdirSync(cuda).find(name => name.startsWith('libnvrtc-builtins'))!;
    const path = join(cuda, name);
    rmSync(path);
    copyFileSync(join(real, CUDA_FOLDER, name), path);
    truncateSync(path, 4_000_000);
    assert.equal(await verdict(), `${name} is cut short`);
    writeFileSync(path, '404: Not Found');
    assert.equal(await verdict(), `${name} is no library`);
    const foreign = Buffer.alloc(64);
    foreign.write('\x7fELF\x02', 'latin1');
    foreign.writeUInt16LE(183, 18);
    writeFileSync(path, foreign);
    assert.equal(await verdict(), `${name} is not for x86_64`);
    rmSync(path);
    symlinkSync(`/nowhere/${name}`, path);
    assert.equal(await verdict(), `${name} is gone from /nowhere/${name}`);
  });

  it('names what XLA does not find', async () => {
    rmSync(join(folder, 'nvidia', 'cuda_nvcc'));
    assert.equal(await verdict(), 'XLA finds no bin/ptxas');
  });

  it('is what useDevice says where TensorFlow takes no GPU', function () {
    if (spawnSync('nvidia-smi').status === 0) this.skip();
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    const smi = (driver: string) => writeFileSync(join(bin, 'nvidia-smi'), `#!/bin/sh\necho "NVIDIA T4, ${driver}, 15360, 7.5"\n`, { mode: 0o755 });
    const ask = (cache: string) => {
      const script = `import { useDevice } from '${devices}'; console.log(await useDevice('cuda').catch(error => error.message));`;
      const env = { ...process.env, PATH: bin, XDG_CACHE_HOME: cache };
      return spawnSync(process.execPath, ['--input-type=module', '-e', script], { env, encoding: 'utf8' }).stdout.trim();
    };
    smi('550.54.14');
    const cache = join(folder, 'cache');
    const fake = join(cache, 'tfjs-diffusers', 'native');
    mkdirSync(fake, { recursive: true });
    symlinkSync(folder, join(fake, real.slice(dirname(real).length + 1)));
    assert.equal(ask(cache), 'cuda: TensorFlow cannot open libcuda.so.1: cannot open shared object file: No such file or directory;'
      + ' it comes with the driver of the GPU');
    rmSync(join(cuda, 'libcufft.so.11'));
    assert.equal(ask(cache), 'cuda: TensorFlow cannot open libcufft.so.11: cannot open shared object file: No such file or directory;'
      + ' run `npx tfjs-diffusers setup --gpu` to build it anew');
  });
});
