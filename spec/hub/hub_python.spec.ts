import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { HubFolder } from '../../lib/hub/hub_folder.js';
import { HubServer } from '../support/hub_server.js';
import { temporaryFolder } from '../support/temporary_folder.js';

const python = process.env.PYTHON ?? 'python3';
const files = { 'model_index.json': '{"a":1}', 'unet/config.json': '{"b":2}', 'unet/model.safetensors': 'weights '.repeat(5000) };

/** Needs a Python with huggingface_hub: PYTHON=/its/bin/python. */
describe('HubFolder and Python\'s huggingface_hub', () => {
  const home = temporaryFolder();
  let server: HubServer;
  let commit: string;
  before(async function () {
    await promisify(execFile)(python, ['-c', 'import huggingface_hub']).catch(() => this.skip());
  });
  beforeEach(async () => {
    server = await HubServer.start();
    commit = server.push('owner/name', files, { refs: ['main', 'refs/pr/1'] });
  });
  afterEach(() => server?.close());

  const run = async (script: string, variables: Record<string, string> = {}) => {
    const env = {
      ...process.env, HF_HOME: home(), HF_HUB_CACHE: join(home(), 'hub'), HF_TOKEN: '', HF_ENDPOINT: server.endpoint, HF_HUB_OFFLINE: '',
      HF_HUB_DISABLE_PROGRESS_BARS: '1', ...variables,
    };
    const { stdout } = await promisify(execFile)(python, ['-c', `import json, huggingface_hub as hub\n${script}`], { env });
    return JSON.parse(stdout);
  };
  const open = (localFilesOnly: boolean, revision?: string) =>
    HubFolder.open('owner/name', { endpoint: server.endpoint, cacheDir: join(home(), 'hub'), token: false, localFilesOnly, revision });
  const read = async (folder: Awaited<ReturnType<typeof open>>) => Object.fromEntries(
    await Promise.all(Object.keys(files).map(async path => [path, await folder.readText(path)])));
  /** Every link of the cache, with what it leads to. */
  const links = () => readdirSync(join(home(), 'hub/models--owner--name/snapshots'), { recursive: true, withFileTypes: true }).filter(entry => entry.isSymbolicLink())
    .map(entry => `${join(entry.parentPath, entry.name).slice(home().length)} -> ${readlinkSync(join(entry.parentPath, entry.name))}`).sort();

  it('finds what Python downloaded', async () => {
    await run('print(json.dumps([hub.snapshot_download("owner/name"), hub.hf_hub_download("owner/name", "model_index.json", revision="refs/pr/1")]))');
    for (const revision of ['main', 'refs/pr/1', commit]) assert.deepEqual(await read(await open(true, revision)), files);
    server.requests.length = 0;
    assert.deepEqual(await read(await open(false)), files);
    assert.deepEqual(server.fetched, []);

    const made = links();
    rmSync(join(home(), 'hub'), { recursive: true });
    await (await open(false)).prefetch!(Object.keys(files));
    assert.deepEqual(links(), made, 'both make the same');
  });

  it('leaves what Python finds', async () => {
    await (await open(false)).prefetch!(Object.keys(files));
    await (await open(false, 'refs/pr/1')).prefetch!(Object.keys(files));
    server.requests.length = 0;
    const names = JSON.stringify(Object.keys(files));
    const offline = await run(`
paths = [hub.hf_hub_download("owner/name", path, revision=revision) for path in ${names} for revision in ["main", "refs/pr/1", "${commit}"]]
cache = hub.scan_cache_dir()
print(json.dumps({
    "folder": hub.snapshot_download("owner/name"), "texts": [open(path).read() for path in paths],
    "warnings": [str(warning) for warning in cache.warnings], "refs": [sorted(revision.refs) for repo in cache.repos for revision in repo.revisions],
    "bytes": cache.size_on_disk}))`, { HF_HUB_OFFLINE: '1' });
    assert.deepEqual(offline, {
      folder: join(home(), 'hub/models--owner--name/snapshots', commit), texts: Object.values(files).flatMap(text => [text, text, text]),
      warnings: [], refs: [['main', 'refs/pr/1']], bytes: 40_014,
    });
    assert.deepEqual(server.requests, []);
    await run(`print(json.dumps(hub.snapshot_download("owner/name")))`);
    assert.deepEqual(server.fetched, [], 'nothing is downloaded again');
    assert.ok(!existsSync(join(home(), 'hub/models--owner--name/.no_exist')));
  });
});
