import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { removeOldBuilds } from '../../../../lib/runtime/native/build/old_builds.js';
import { buildFolder, cacheFolder } from '../../../../lib/runtime/native/build_folder.js';

describe('builds of other versions', () => {
  const { XDG_CACHE_HOME } = process.env;
  let home: string;

  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'old-builds-spec-'));
    process.env.XDG_CACHE_HOME = home;
  });

  afterEach(() => {
    if (XDG_CACHE_HOME === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = XDG_CACHE_HOME;
    rmSync(home, { recursive: true });
  });

  it('are removed when nobody used them for long, and nothing else is', async () => {
    const current = basename(buildFolder('cpu'));
    const version = (number: string) => current.replace(/-\d+-[\da-f]{8}$/, number);
    const make = (name: string, days: number) => {
      const file = join(cacheFolder(), name, 'sizes.json');
      mkdirSync(join(cacheFolder(), name, 'lib'), { recursive: true });
      writeFileSync(file, '{}');
      writeFileSync(join(cacheFolder(), name, 'lib', 'library'), Buffer.alloc(60e6));
      const used = Date.now() / 1000 - 86_400 * days;
      utimesSync(file, used, used);
    };
    const gone = [version('-1'), version(''), version('-5-01234567'), version('-2').replace('2.21.0', '2.19.1')];
    const stay = [current, version('-5-0123456'), 'tensorflow', `${version('-2')}.mine`, version('-2').replace('linux', 'other')];
    [...gone, ...stay].forEach(name => make(name, 31));
    make(version('-2'), 29);
    const lines: string[] = [];
    await removeOldBuilds(line => lines.push(line));
    assert.deepEqual(readdirSync(cacheFolder()).sort(), [...stay, version('-2')].sort());
    assert.deepEqual(lines.sort(), gone.sort().map(name =>
      `removing ${join(cacheFolder(), name)}, a build of another version that was not used for 30 days: 0.1 GB`).sort());
  });
});
