import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { HubFolder } from '../../lib/hub/hub_folder.js';
import type { DownloadProgress, ModelFolder } from '../../lib/files/model_folder.js';
import type { HubOptions } from '../../lib/hub/hub_settings.js';
import { openModelFolder } from '../../lib/loading/open_model_folder.js';
import { HubServer, refuse, sendJson, TOKEN } from '../support/hub_server.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { until } from '../support/until.js';
import { captureWarnings } from '../support/warnings.js';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
/** Bytes that repeat nowhere. */
const noise = (length: number, seed = 1) => {
  const words = new Uint32Array(length / 4);
  for (let i = 0, x = seed; i < words.length; i++) words[i] = x = Math.imul(x ^ x >>> 15, 0x2c1b3c6d) + 0x9e3779b9;
  return Buffer.from(words.buffer);
};
const weights = noise(400_000);
const files = { 'model_index.json': '{"a":1}', 'unet/config.json': '{"b":2}', 'vae/config.json': '{"b":2}', 'unet/model.safetensors': weights };

describe('HubFolder', () => {
  const cacheDir = temporaryFolder();
  let server: HubServer;
  let commit: string;
  const variables = { ...process.env };
  beforeEach(async () => {
    for (const name of ['HF_HOME', 'HF_TOKEN', 'HF_TOKEN_PATH', 'HF_ENDPOINT', 'HF_HUB_OFFLINE', 'HF_HUB_CACHE']) delete process.env[name];
    process.env.HF_HOME = cacheDir(); // nobody is logged in there
    server = await HubServer.start();
    server.kept = () => Math.max(0, ...blobs().filter(name => name.endsWith('.incomplete')).map(name => statSync(join(repository(), 'blobs', name), { throwIfNoEntry: false })?.size ?? 0));
    commit = server.push('owner/name', files);
  });
  afterEach(async () => {
    process.env = { ...variables };
    await server.close();
  });

  const open = (options: HubOptions = {}) => HubFolder.open('owner/name', { endpoint: server.endpoint, cacheDir: cacheDir(), ...options }, { firstPause: 1 });
  const repository = () => join(cacheDir(), 'models--owner--name');
  const blobs = () => existsSync(join(repository(), 'blobs')) ? readdirSync(join(repository(), 'blobs')) : [];
  const bytesOf = async (folder: ModelFolder, path = 'unet/model.safetensors') => {
    const source = await folder.open(path);
    return source.read(0, source.size).finally(() => source.close());
  };
  /** Sends the weights' bytes as `how` wants it, the nth time that they are asked for. */
  const onWeights = (how: (count: number, range: string | undefined, response: Parameters<NonNullable<HubServer['intercept']>>[1]) => boolean | void) => {
    let count = 0;
    server.intercept = ({ host, range }, response) => host === 'cdn' ? how(count++, range, response) : false;
  };

  describe('fetches', () => {
    it('what is read, into the cache of Python\'s huggingface_hub', async () => {
      const folder = await open();
      assert.equal(folder.name, 'owner/name');
      assert.deepEqual([await folder.has('unet/config.json'), await folder.has('unet'), await folder.has('none')], [true, false, false]);
      assert.deepEqual(server.fetched, []);
      assert.deepEqual(await folder.readJson('model_index.json'), { a: 1 });
      assert.equal(await folder.readText('unet/config.json'), '{"b":2}');
      assert.deepEqual(Buffer.from(await bytesOf(folder)), weights);
      assert.deepEqual(server.fetched, ['model_index.json', 'unet/config.json', 'unet/model.safetensors']);
      assert.equal(readlinkSync(join(repository(), 'snapshots', commit, 'unet/model.safetensors')), `../../../blobs/${sha256(weights)}`);
      assert.equal(readlinkSync(join(repository(), 'snapshots', commit, 'model_index.json')), '../../blobs/daa5053ecf5f9a37b2de733d0751cc1ab53ac010');
      assert.equal(blobs().length, 3);
      await bytesOf(folder);
      assert.equal(server.fetched.length, 3, 'once');
    });

    it('several files at once, the same content once, and tells how far it is', async () => {
      const progress: DownloadProgress[] = [];
      const folder = await open({ progressCallback: each => progress.push(each) });
      await folder.prefetch!([...Object.keys(files), 'none.json']);
      assert.deepEqual(server.fetched.sort(), ['model_index.json', 'unet/config.json', 'unet/model.safetensors']);
      assert.deepEqual(await folder.readJson('vae/config.json'), { b: 2 });
      const total = weights.length + 14;
      assert.deepEqual(progress[0], { stage: 'download', loaded: 0, total, filesLoaded: 0, files: 3, bytesPerSecond: 0 });
      const last = progress.at(-1)!;
      assert.deepEqual(last, { stage: 'download', loaded: total, total, filesLoaded: 3, files: 3, bytesPerSecond: last.bytesPerSecond });
      assert.ok(last.bytesPerSecond > 1000);
      assert.equal(readFileSync(join(repository(), 'refs/main'), 'utf8'), commit);

      progress.length = 0;
      await (await open({ progressCallback: each => progress.push(each) })).prefetch!(Object.keys(files));
      assert.deepEqual(progress, [], 'all of it is here');
    });

    it('a branch, a pull request and a commit; a new commit only as far as it changed', async () => {
      await (await open()).prefetch!(Object.keys(files));
      const next = server.push('owner/name', { ...files, 'vae/config.json': '{"b":3}' }, { refs: ['main', 'refs/pr/1'] });
      const before = server.fetched.length;
      const folder = await open();
      await folder.prefetch!(Object.keys(files));
      assert.deepEqual(await folder.readJson('vae/config.json'), { b: 3 });
      assert.deepEqual(server.fetched.slice(before), ['vae/config.json']);
      assert.equal(readFileSync(join(repository(), 'refs/main'), 'utf8'), next);
      assert.deepEqual(await (await open({ revision: commit })).readJson('vae/config.json'), { b: 2 });
      await (await open({ revision: 'refs/pr/1' })).prefetch!(['vae/config.json']);
      assert.equal(readFileSync(join(repository(), 'refs/refs/pr/1'), 'utf8'), next);
      for (const revision of ['', '../x', 'a..b', '/a', 'a/', 'a//b', 'a b', 'a\\b', '.a', 'a/.b', 'a:b', 'a\nb']) {
        await assert.rejects(open({ revision }), /^TypeError: revision: got '.*', takes a branch, tag or commit, as in 'main'$/s);
      }
    });

    it('with the token that was given, or that of the environment', async () => {
      server.push('owner/gated', files, { access: 'gated' });
      const gated = async (options: HubOptions = {}) =>
        (await HubFolder.open('owner/gated', { endpoint: server.endpoint, cacheDir: cacheDir(), ...options })).readJson('model_index.json');
      const page = `${server.endpoint}/owner/gated`;
      await assert.rejects(gated(), {
        name: 'HubError',
        message: `owner/gated: is gated: accept its conditions on ${page}, then pass token or set HF_TOKEN (tokens are made on ${server.endpoint}/settings/tokens)`,
      });
      writeFileSync(join(cacheDir(), 'token'), `${TOKEN}\n`);
      await assert.rejects(gated({ token: false }), /is gated/);
      assert.deepEqual(await gated(), { a: 1 });
      rmSync(join(cacheDir(), 'models--owner--gated'), { recursive: true });
      process.env.HF_TOKEN = 'hf_other';
      await assert.rejects(gated(), /does not accept the token/);
      assert.deepEqual(await gated({ token: TOKEN }), { a: 1 });
      server.intercept = ({ path }, response) => { if (path.includes('/resolve/')) refuse(response, 403, 'GatedRepo'); return path.includes('/resolve/'); };
      await assert.rejects(async () => (await HubFolder.open('owner/gated', { endpoint: server.endpoint, cacheDir: cacheDir(), token: TOKEN })).readJson('unet/config.json'), {
        message: `owner/gated: is gated: accept its conditions on ${page}, as the one whose token you use`,
      });
      await assert.rejects(gated({ token: 'hf_\nsecret' }), (error: Error) => error instanceof TypeError && /^token: takes/.test(error.message) && !error.message.includes('secret'));
    });

    it('from and to where the environment says', async () => {
      process.env.HF_ENDPOINT = `${server.endpoint}/`;
      const places: Array<[variables: Record<string, string>, place: string]> = [
        [{ HF_HOME: join(cacheDir(), 'home') }, 'home/hub'],
        [{ HF_HUB_CACHE: join(cacheDir(), 'cache') }, 'cache'],
        [{ HF_HUB_CACHE: '', HF_HOME: '', XDG_CACHE_HOME: join(cacheDir(), 'xdg') }, 'xdg/huggingface/hub'],
      ];
      for (const [changes, place] of places) {
        Object.assign(process.env, changes);
        await (await HubFolder.open('owner/name')).readJson('model_index.json');
        assert.ok(existsSync(join(cacheDir(), place, 'models--owner--name/snapshots', commit, 'model_index.json')), place);
      }
      for (const endpoint of ['huggingface.co', 'ftp://x', 'https://']) {
        await assert.rejects(HubFolder.open('owner/name', { endpoint }), new RegExp(`^TypeError: endpoint: got '${endpoint}', takes the address of a hub`));
      }
    });
  });

  describe('without a connection', () => {
    it('takes what the cache has, where nothing may be fetched', async () => {
      const nothing = (way: string) => ({ name: 'HubError', message: `owner/name: revision 'main' is not in ${cacheDir()}, and nothing may be fetched: load it once without ${way}` });
      await assert.rejects(open({ localFilesOnly: true }), nothing('localFilesOnly'));
      await (await open()).prefetch!(['model_index.json']);
      const before = server.requests.length;
      const folder = await open({ localFilesOnly: true });
      assert.deepEqual(await folder.readJson('model_index.json'), { a: 1 });
      assert.equal(await folder.has('unet/config.json'), false);
      await assert.rejects(folder.readJson('unet/config.json'), { message: 'owner/name (cached files only)/unet/config.json: there is no such file' });
      process.env.HF_HUB_OFFLINE = '1';
      assert.deepEqual(await (await open({ revision: commit })).readJson('model_index.json'), { a: 1 });
      rmSync(repository(), { recursive: true });
      await assert.rejects(open(), nothing('HF_HUB_OFFLINE'));
      assert.equal(server.requests.length, before);
    });

    it('takes what the cache has, with a warning, where the hub cannot be reached', async () => {
      await (await open()).prefetch!(['model_index.json']);
      server.intercept = (_, response) => { refuse(response, 503); return true; };
      let folder: ModelFolder;
      const warnings = await captureWarnings(async () => { folder = await open(); });
      assert.deepEqual(warnings, [`owner/name: ${server.endpoint} answers 503: try again later; using what is in the cache`]);
      assert.deepEqual(await folder!.readJson('model_index.json'), { a: 1 });
      server.intercept = undefined;
      await assert.rejects(open({ revision: 'v9' }), /has no revision 'v9'/);
    });

    it('says that a file is not there, or that it went away', async () => {
      const folder = await open();
      await assert.rejects(folder.readJson('none.json'), { message: 'owner/name/none.json: there is no such file' });
      server.intercept = ({ path }, response) => { if (path.includes('/resolve/')) refuse(response, 404, 'EntryNotFound'); return path.includes('/resolve/'); };
      await assert.rejects(folder.readJson('unet/config.json'), { message: 'owner/name: has no file unet/config.json' });
    });
  });

  describe('where the connection breaks', () => {
    it('continues from the byte that came last', async () => {
      const ranges: Array<string | undefined> = [];
      onWeights((count, range, response) => {
        ranges.push(range);
        if (count < 3) server.send(response, weights, range, 100_000);
        return count < 3;
      });
      assert.deepEqual(Buffer.from(await bytesOf(await open())), weights);
      assert.deepEqual(ranges, [undefined, 'bytes=100000-', 'bytes=200000-', 'bytes=300000-']);
      assert.deepEqual(blobs(), [sha256(weights)]);
    });

    it('begins anew where the server sends everything again', async () => {
      const progress: DownloadProgress[] = [];
      onWeights((count, _, response) => server.send(response, weights, undefined, count === 0 ? 100_000 : Infinity) ?? true);
      const folder = await open({ progressCallback: each => progress.push(each) });
      await folder.prefetch!(['unet/model.safetensors']);
      assert.deepEqual(Buffer.from(await bytesOf(folder)), weights);
      assert.ok(progress.every(({ loaded, total }) => loaded <= total));
      assert.equal(progress.at(-1)!.loaded, weights.length);
    });

    it('gives up a server that begins anew for ever', async () => {
      onWeights((_, __, response) => { server.send(response, weights, undefined, 100_000); return true; });
      await assert.rejects(async () => bytesOf(await open()), /cannot be reached/);
      const requests = server.requests.filter(({ host }) => host === 'cdn').length; // more than 6 if the first of them broke even earlier
      assert.ok(requests >= 6 && requests <= 12, `${requests} requests`);
    });

    it('begins anew where the server has no such range', async () => {
      onWeights((count, range, response) => {
        if (count === 0) server.send(response, weights, undefined, 100_000);
        if (range) refuse(response, 416);
        return count === 0 || !!range;
      });
      assert.deepEqual(Buffer.from(await bytesOf(await open())), weights);
    });

    it('gives up in the end, keeps what came, and continues the next time', async () => {
      onWeights((count, range, response) => {
        if (count === 0) server.send(response, weights, range, 150_000);
        else response.destroy();
        return true;
      });
      await assert.rejects(async () => (await open()).prefetch!(Object.keys(files)), new RegExp(`^HubError: owner/name: ${server.endpoint} cannot be reached: `));
      assert.equal(server.requests.filter(({ host }) => host === 'cdn').length, 6, 'once, and five times without progress');
      assert.deepEqual(blobs().filter(name => name.startsWith(sha256(weights))).length, 1);
      assert.ok(!existsSync(join(repository(), 'refs/main')), 'the branch is at what is here in whole');

      const progress: DownloadProgress[] = [];
      onWeights(() => false);
      const folder = await open({ progressCallback: each => progress.push(each) });
      await folder.prefetch!(Object.keys(files));
      assert.equal(progress[0].loaded, 150_000);
      assert.equal(server.requests.at(-1)!.range, 'bytes=150000-');
      assert.deepEqual(Buffer.from(await bytesOf(folder)), weights);
      assert.ok(blobs().every(name => !name.endsWith('.incomplete')));
    });

    it('asks the hub again where the host that it leads to refuses', async () => {
      onWeights((count, _, response) => { if (count < 2) refuse(response, 403); return count < 2; });
      assert.deepEqual(Buffer.from(await bytesOf(await open())), weights);
      assert.deepEqual(server.fetched, new Array(3).fill('unet/model.safetensors'));
      rmSync(repository(), { recursive: true });
      onWeights((_, __, response) => { refuse(response, 404); return true; });
      await assert.rejects(async () => bytesOf(await open()), new RegExp(`^HubError: owner/name: localhost:\\d+, where ${server.endpoint} leads, answers 404: try again later$`));
    });

    it('gives up a server that stalls', async () => {
      process.env.HF_HUB_DOWNLOAD_TIMEOUT = '0.5';
      onWeights((count, _, response) => {
        if (count > 0) return false;
        response.writeHead(200, { 'Content-Length': weights.length }).write(weights.subarray(0, 1000));
        return true;
      });
      assert.deepEqual(Buffer.from(await bytesOf(await open())), weights);
      assert.equal(server.requests.at(-1)!.range, 'bytes=1000-');
    });

    it('ends when aborted', async () => {
      const controller = new AbortController();
      onWeights((_, __, response) => {
        response.writeHead(200, { 'Content-Length': weights.length }).write(weights.subarray(0, 70_000));
        setTimeout(() => controller.abort(), 50);
        return true;
      });
      await assert.rejects(async () => (await open({ signal: controller.signal })).prefetch!(Object.keys(files)), { name: 'AbortError' });
      assert.equal(blobs().filter(name => name.startsWith(sha256(weights))).length, 1);
    });
  });

  describe('keeps nothing that is wrong', () => {
    const wrong = Buffer.from(weights);
    wrong[1234] ^= 1;
    /** Nothing but links to blobs that are what their names say. */
    const assertSound = () => {
      for (const name of blobs().filter(each => !each.endsWith('.incomplete'))) {
        const bytes = readFileSync(join(repository(), 'blobs', name));
        assert.equal(name, name.length === 64 ? sha256(bytes) : createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex'));
      }
      for (const entry of readdirSync(join(repository(), 'snapshots'), { recursive: true, withFileTypes: true })) {
        if (!entry.isDirectory()) assert.ok(entry.isSymbolicLink() && existsSync(join(entry.parentPath, entry.name)), entry.name);
      }
    };
    afterEach(assertSound);

    it('refuses other bytes, of large files and of small ones', async () => {
      onWeights((_, range, response) => { server.send(response, wrong, range); return true; });
      await assert.rejects(async () => bytesOf(await open()), {
        name: 'HubError', message: 'owner/name/unet/model.safetensors: twice came other bytes than the hub lists; try again later',
      });
      server.intercept = ({ path }, response) => { if (path.endsWith('config.json')) response.end('{"b":4}'); return path.endsWith('config.json'); };
      await assert.rejects(async () => (await open()).readJson('unet/config.json'), /unet\/config\.json: twice came other bytes/);
      assert.deepEqual(blobs(), []);
    });

    it('refuses more bytes, and fewer', async () => {
      onWeights((_, range, response) => { server.send(response, Buffer.concat([weights, Buffer.from('more')]), range); return true; });
      await assert.rejects(async () => bytesOf(await open()), /unet\/model\.safetensors: is longer than the 400000 bytes that the hub lists/);
      rmSync(repository(), { recursive: true });
      onWeights((_, range, response) => { server.send(response, weights.subarray(0, 5000), range); return true; });
      await assert.rejects(async () => bytesOf(await open()), /broke off at byte 5000 of 400000; try again later$/);
    });

    it('begins anew where an earlier download left other bytes', async () => {
      mkdirSync(join(repository(), 'blobs'), { recursive: true });
      const part = join(repository(), 'blobs', `${sha256(weights)}.${sha256(Buffer.from(hostname())).slice(0, 8)}-0-01234567.incomplete`);
      for (const left of [wrong.subarray(0, 5000), Buffer.concat([weights, weights])]) {
        writeFileSync(part, left);
        const folder = await open();
        assert.deepEqual(Buffer.from(await bytesOf(folder)), weights);
        assert.deepEqual(blobs(), [sha256(weights)]);
        rmSync(join(repository(), 'blobs', sha256(weights)));
      }
      writeFileSync(part, weights);
      await bytesOf(await open());
    });

    it('leaves alone what others may be writing to, unless it is old', async () => {
      mkdirSync(join(repository(), 'blobs'), { recursive: true });
      const name = (owner: string) => join(repository(), 'blobs', `${sha256(weights)}.${owner}.incomplete`);
      const host = sha256(Buffer.from(hostname())).slice(0, 8);
      const others = ['0a1b2c3d', `${host}-${process.pid}-01234567`, `00000000-999999999-01234567`];
      for (const owner of others) writeFileSync(name(owner), weights.subarray(0, 10));
      await bytesOf(await open());
      assert.equal(server.requests.at(-1)!.range, undefined);
      assert.ok(others.every(owner => existsSync(name(owner))));
      rmSync(join(repository(), 'blobs', sha256(weights)));
      utimesSync(name(others[0]), 1e9, 1e9);
      await bytesOf(await open());
      assert.equal(server.requests.at(-1)!.range, 'bytes=10-');
      assert.ok(!existsSync(name(others[0])));
    });

    it('fetches again what is shorter than it should be, or a link to nowhere', async () => {
      const folder = await open();
      await bytesOf(folder);
      truncateSync(join(repository(), 'blobs', sha256(weights)), 100);
      assert.deepEqual(Buffer.from(await bytesOf(folder)), weights);
      rmSync(join(repository(), 'blobs', sha256(weights)));
      assert.deepEqual(Buffer.from(await bytesOf(folder)), weights);
      const other = join(repository(), 'snapshots', commit, 'vae/config.json');
      mkdirSync(join(other, '..'), { recursive: true });
      symlinkSync('/etc/hostname', other);
      assert.deepEqual(await folder.readJson('vae/config.json'), { b: 2 });
    });

    it('never leaves the cache, whatever the hub lists', async () => {
      const oid = '9e26dfeeb6e641a33dae4961196235bdb965b21b';
      server.intercept = ({ path }, response) => {
        if (path.includes('/tree/')) sendJson(response, ['../../x', '/etc/x', 'a\\..\\b', 'C:x'].map(each => ({ type: 'file', path: each, size: 2, oid })));
        else if (path.includes('/resolve/')) response.end('{}');
        else return false;
        return true;
      };
      const folder = await open();
      for (const path of ['../../x', '/etc/x', 'a\\..\\b', 'C:x']) {
        await assert.rejects(folder.readJson(path), /^ModelFileError: path '.*': takes a path inside the model's folder/);
        await assert.rejects(folder.prefetch!([path]), /takes a path inside/);
      }
      assert.deepEqual(readdirSync(cacheDir()), ['models--owner--name']);
    });

    it('says in a line that the disk is full, or cannot be written to', async () => {
      server.intercept = ({ path }, response) => {
        if (path.includes('/tree/')) sendJson(response, [{ type: 'file', path: 'huge.bin', size: 4e15, oid: '0'.repeat(40) }]);
        return path.includes('/tree/');
      };
      await assert.rejects(async () => (await open()).open('huge.bin'),
        /^ModelFileError: owner\/name: does not fit into .*: 4000\.0 TB are missing, .* (GB|MB|TB) are free; make room, or take another disk with cacheDir or HF_HUB_CACHE$/);
      rmSync(join(repository(), 'blobs'), { recursive: true });
      server.intercept = undefined;
      writeFileSync(join(repository(), 'blobs'), 'not a folder');
      await assert.rejects(async () => (await open()).readJson('model_index.json'), /^ModelFileError: owner\/name: cannot be kept in .*; take another folder with cacheDir or HF_HUB_CACHE$/);
      rmSync(join(repository(), 'blobs'));
    });
  });

  describe('beside other processes', () => {
    /** Another process that fetches all files. */
    const start = (wrap: (command: string, args: string[]) => [string, string[]] = (command, args) => [command, args]) => {
      const script = `
        const { HubFolder } = await import(${JSON.stringify(import.meta.resolve('../../lib/hub/hub_folder.js'))});
        const folder = await HubFolder.open('owner/name', ${JSON.stringify({ endpoint: server.endpoint, cacheDir: cacheDir() })}, { firstPause: 1 });
        await folder.prefetch(${JSON.stringify(Object.keys(files))}).catch(error => { console.error(error.message); process.exit(1); });`;
      const [command, args] = wrap(process.execPath, ['--input-type=module', '-e', script]);
      const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'pipe'] });
      let errors = '';
      child.stderr.on('data', data => { errors += data; });
      const ended = new Promise<{ code: number | null; errors: string }>(resolve => { child.on('close', code => resolve({ code, errors })); });
      return { child, ended };
    };
    /** Sends bytes a few at a time, those up to `end`. */
    const trickle = (milliseconds: number, end = weights.length) => onWeights((_, range, response) => {
      const from = Number(/\d+/.exec(range ?? '0')![0]);
      response.writeHead(range ? 206 : 200, { 'Content-Length': weights.length - from, ...(range && { 'Content-Range': `bytes ${from}-${weights.length - 1}/${weights.length}` }) });
      let at = from;
      const timer = setInterval(() => {
        response.write(weights.subarray(at, at += Math.min(20_000, end - at)));
        if (at >= weights.length) response.end();
        if (at >= end || response.destroyed) clearInterval(timer);
      }, milliseconds);
      return true;
    });

    it('fetches the same model twice at once', async () => {
      trickle(5);
      const ends = await Promise.all([start().ended, start().ended, (await open()).prefetch!(Object.keys(files))]);
      assert.deepEqual(ends.slice(0, 2), [{ code: 0, errors: '' }, { code: 0, errors: '' }]);
      assert.deepEqual(readFileSync(join(repository(), 'snapshots', commit, 'unet/model.safetensors')), weights);
      assert.equal(blobs().length, 3);
    });

    it('continues what a killed process left, and never sees a file that is not whole', async () => {
      let resumed = 0;
      for (const part of [0.2, 0.5, 0.9]) {
        trickle(20, part * weights.length);
        const { child, ended } = start();
        await until(() => child.exitCode !== null || server.kept() >= part * weights.length, 'so much has come');
        child.kill('SIGKILL');
        await ended;
        assert.ok(!existsSync(join(repository(), 'blobs', sha256(weights))));
        assert.ok(!existsSync(join(repository(), 'snapshots', commit, 'unet/model.safetensors')));
        if (server.requests.some(({ range }) => range !== undefined)) resumed++;
      }
      assert.equal(resumed, 2);
      trickle(20);
      assert.deepEqual(Buffer.from(await bytesOf(await open())), weights);
      assert.ok(Number(/\d+/.exec(server.requests.at(-1)!.range!)![0]) >= 0.9 * weights.length);
      assert.deepEqual(blobs().filter(name => name.endsWith('.incomplete')), []);
    });

    it('says in a line that the disk became full', async function () {
      if (process.platform === 'win32') return this.skip();
      const { ended } = start((command, args) => ['sh', ['-c', 'trap "" XFSZ; ulimit -f 300; exec "$@"', 'sh', command, ...args]]);
      assert.deepEqual(await ended, {
        code: 1,
        errors: `owner/name: does not fit into ${cacheDir()}: no space is left on the disk; make room, or take another disk with cacheDir or HF_HUB_CACHE\n`,
      });
      await (await open()).prefetch!(Object.keys(files));
      assert.match(server.requests.findLast(({ host }) => host === 'cdn')!.range!, /^bytes=\d{5,}-$/);
    });
  });

  describe('by name', () => {
    it('a local folder wins over a hub id', async () => {
      const here = process.cwd();
      process.chdir(cacheDir());
      try {
        const options = { endpoint: server.endpoint, cacheDir: cacheDir() };
        assert.ok(await openModelFolder('owner/name', options) instanceof HubFolder);
        mkdirSync('owner/name', { recursive: true });
        writeFileSync('owner/name/model_index.json', '{"local":true}');
        const before = server.requests.length;
        assert.deepEqual(await (await openModelFolder('owner/name', options)).readJson('model_index.json'), { local: true });
        assert.equal(server.requests.length, before);
        renameSync('owner/name/model_index.json', 'owner/file');
        await assert.rejects(openModelFolder('owner/file', options), /owner\/file: is a file, takes the folder of a model/);
        await assert.rejects(openModelFolder('./owner/none', options), /\.\/owner\/none: there is no such folder/);
        await assert.rejects(openModelFolder('owner/none', options), /owner\/none: there is no such folder here, and no such model on http/);
      } finally {
        process.chdir(here);
      }
    });
  });
});
