import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheFolder } from '../../../../lib/runtime/native/build_folder.js';
import { setupNative, type SetupOptions } from '../../../../lib/runtime/native/build/setup.js';

/** Programs that setup calls, as shell scripts: enough to come to the step after them. */
const WORKING = {
  'npm': 'exit 0',
  'g++': 'exit 0',
  'python3': `case "$*" in
    *tarfile*) /bin/mkdir "$7/package";;
  esac`,
};

describe('setup', () => {
  const { PATH, XDG_CACHE_HOME } = process.env;
  let home: string;

  /** The error of a setup that finds no other programs than `tools`. */
  async function failure(tools: Record<string, string>, options: SetupOptions = { kind: 'cpu' }): Promise<string> {
    for (const [name, script] of Object.entries(tools)) writeFileSync(join(home, 'bin', name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return setupNative(options).then(() => 'none', (error: Error) => error.message);
  }

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'setup-spec-'));
    mkdirSync(join(home, 'bin'));
    process.env.PATH = join(home, 'bin');
    process.env.XDG_CACHE_HOME = home;
  });

  afterEach(() => {
    process.env.PATH = PATH;
    if (XDG_CACHE_HOME === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = XDG_CACHE_HOME;
    rmSync(home, { recursive: true });
  });

  it('names the program that is missing', async () => {
    assert.equal(await failure({}), 'setup: needs npm on the PATH; it comes with Node');
    assert.equal(await failure({ npm: 'exit 0' }), 'setup: needs Python 3 with pip; install it (Debian: apt install python3-pip)');
    assert.equal(await failure({ python3: '[ "$1" = --version ]' }), 'setup: python3 has no pip; install it (Debian: apt install python3-pip)');
    assert.equal(await failure({ python3: 'exit 0' }), 'setup: needs a C++ compiler; install one (Debian: apt install g++), or name it in CXX');
  });

  it('says what it will download and keep, and what of CUDA it takes', async () => {
    const lines: string[] = [];
    const size = async (options: SetupOptions) => {
      lines.length = 0;
      await failure(WORKING, { ...options, onProgress: line => lines.push(line) });
      return lines[0].replace(/ in .*/, '');
    };
    assert.equal(await size({ kind: 'cpu' }), 'about 0.3 GB to download and 0.9 GB to keep');
    if (process.arch === 'x64') assert.equal(await size({ kind: 'gpu' }), 'about 3.0 GB to download and 4.6 GB to keep');
    assert.match(lines[0], /in .*tfjs-diffusers\/native, which has \d+\.\d GB free$/);
    assert.equal(await failure(WORKING, { kind: 'cpu', python: 'python3' }),
      'setup: got CUDA libraries for a cpu build, which has no use for them; takes them for gpu');
    assert.equal(await failure(WORKING, { cudaLibraries: '/nowhere' }), 'setup: cuda-libraries: there is no /nowhere');
    mkdirSync(join(cacheFolder(), 'old', 'nvidia'), { recursive: true });
    assert.equal(await failure(WORKING, { cudaLibraries: [home, join(cacheFolder(), 'old', 'nvidia')] }),
      `setup: cuda-libraries: ${join(cacheFolder(), 'old', 'nvidia')} belongs to a build, which goes when another takes its place`);
  });

  it('says which registry trouble npm and pip have', async () => {
    const npm = '[ "$1" = --version ] || { echo "npm error code ENOTFOUND" >&2; exit 1; }';
    assert.equal(await failure({ ...WORKING, npm }),
      'setup: the package registry does not answer (ENOTFOUND); see the network and the settings of npm and pip');
    const pip = (text: string) => ({ ...WORKING, python3: `case "$*" in *download*) echo "${text}" >&2; exit 1;; esac\n${WORKING.python3}` });
    assert.equal(await failure(pip('connection broken: [Errno 111] Connection refused')),
      'setup: the package registry does not answer (Connection refused); see the network and the settings of npm and pip');
    assert.equal(await failure(pip('ERROR: No matching distribution found for tensorflow-cpu==2.21.0')),
      'setup: pip finds no tensorflow-cpu==2.21.0 for this machine; needs pip 20.3 or newer and glibc 2.27 or newer');
    assert.equal(await failure(pip('ERROR: THESE PACKAGES DO NOT MATCH THE HASHES')), 'setup: a download came damaged; run setup again');
    assert.equal(await failure(pip('OSError: [Errno 28] No space left on device')),
      'setup: the disk is full; make room, or set XDG_CACHE_HOME to a folder on a larger disk');
    assert.equal(await failure(pip('ERROR: something new')), 'setup: python3 failed with exit code 1 (ERROR: something new)');
  });

  it('says where it cannot write', async () => {
    process.env.XDG_CACHE_HOME = join(home, 'file');
    writeFileSync(join(home, 'file'), '');
    assert.match(await failure(WORKING), /^setup: ENOTDIR: .*; set XDG_CACHE_HOME to a folder that can be written$/);
  });

  it('leaves nothing behind, neither of its own failure nor of a killed process', async () => {
    const stale = join(cacheFolder(), `.stage@${hostname()}@999999999-killed`); // no process has this number
    mkdirSync(stale, { recursive: true });
    assert.notEqual(await failure(WORKING), 'none');
    assert.deepEqual(readdirSync(cacheFolder()), []);
  });
});
