import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FetchFolder } from '../../lib/files/fetch_folder.js';
import { FileListFolder } from '../../lib/files/file_list_folder.js';
import type { DownloadProgress, ModelFolder } from '../../lib/files/model_folder.js';
import { openByName } from '../../lib/loading/open_by_url.js';
import { HubServer, TOKEN } from '../support/hub_server.js';

const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i);
const files: Record<string, Uint8Array> = {
  'model_index.json': new TextEncoder().encode('{ "a": 1 }'),
  'unet/b.bin': bytes,
  'latin1.txt': Uint8Array.of(0xe9),
};

/** What every folder does. */
function itIsAFolder(open: () => ModelFolder): void {
  it('reads its files', async () => {
    const folder = open();
    assert.deepEqual(await folder.readJson('model_index.json'), { a: 1 });
    assert.equal(await folder.has('unet/b.bin'), true);
    assert.equal(await folder.has('unet'), false);
    const source = await folder.open('unet/b.bin');
    assert.equal(source.size, 1000);
    assert.deepEqual(await source.read(10, 20), bytes.slice(10, 30));
    await source.close();
  });

  it('says what is wrong, in one line that begins with the path', async () => {
    const folder = open();
    const { name } = folder;
    await assert.rejects(folder.open('unet/none.bin'), { name: 'ModelFileError', message: `${name}/unet/none.bin: there is no such file` });
    await assert.rejects(folder.readText('latin1.txt'), { name: 'ModelFileError', message: `${name}/latin1.txt: is not UTF-8 text` });
    await assert.rejects(async () => folder.has('../secret'), /takes a path inside the model's folder/);
    await assert.rejects((await folder.open('unet/b.bin')).read(990, 20), { message: `${name}/unet/b.bin: ends at byte 1000, bytes up to 1010 were wanted` });
  });
}

describe('FileListFolder', () => {
  const picked = () => Object.entries(files).map(([path, content]) => [`my model/${path}`, new Blob([content as BlobPart])] as const);
  itIsAFolder(() => new FileListFolder(picked()));

  it('is called what the user picked, and refuses nothing', () => {
    assert.equal(new FileListFolder(picked()).name, 'my model');
    assert.throws(() => new FileListFolder([]), { name: 'ModelFileError', message: 'folder: has no files, takes the folder of a model' });
  });
});

describe('FetchFolder', () => {
  let server: Server;
  let url: string;
  let requests: string[];
  before(done => {
    server = createServer(({ url: path, method }, response) => {
      const content = files[path!.replace('/models/m%201/', '')];
      requests.push(`${method} ${path}`);
      if (path!.endsWith('/broken')) response.writeHead(500).end();
      else if (!content) response.writeHead(404).end();
      else if (method === 'HEAD') response.writeHead(200, { 'Content-Length': content.length }).end();
      else response.end(content);
    }).listen(0, 'localhost', () => {
      url = `http://localhost:${(server.address() as AddressInfo).port}/models/m%201`;
      done();
    });
  });
  after(done => { server.close(done); });
  beforeEach(() => { requests = []; });

  describe('without a list of files', () => itIsAFolder(() => new FetchFolder(url)));
  const sizes = new Map(Object.entries(files).map(([path, { length }]) => [path, length]));
  describe('with a list of files', () => itIsAFolder(() => new FetchFolder(`${url}/`, { name: 'm', files: sizes })));

  it('asks for nothing that is not in the list', async () => {
    const folder = new FetchFolder(url, { files: sizes });
    assert.equal(await folder.has('unet/none.bin'), false);
    assert.equal(await folder.has('unet/b.bin'), true);
    assert.deepEqual(requests, []);
  });

  it('goes by what the folder says that it has', async () => {
    const listed = { ...Object.fromEntries(sizes), 'unet/none.bin': 5 };
    files['files.json'] = new TextEncoder().encode(JSON.stringify(listed));
    try {
      const seen: DownloadProgress[] = [];
      const folder = new FetchFolder(url, { name: 'm', progressCallback: progress => seen.push(progress) });
      assert.deepEqual([await folder.has('vae/config.json'), await folder.has('unet/b.bin')], [false, true]);
      await folder.prefetch(['unet/b.bin', 'vae/config.json']);
      assert.deepEqual(requests, ['GET /models/m%201/files.json', 'GET /models/m%201/unet/b.bin']);
      assert.equal(seen.at(-1)!.total, 1000);
      await assert.rejects(folder.open('unet/none.bin'), { message: 'm/unet/none.bin: there is no such file' });
    } finally {
      delete files['files.json'];
    }
  });

  it('says what is wrong with what the folder says', async () => {
    const listings = { '[]': /takes \{ path: bytes, \.\.\. \}$/, '{ "a": -1 }': /'a': got -1, takes its size in bytes$/, '{ "../a": 1 }': /takes a path inside/, '{': /not JSON/ };
    for (const [text, message] of Object.entries(listings)) {
      files['files.json'] = new TextEncoder().encode(text);
      await assert.rejects(new FetchFolder(url, { name: 'm' }).has('a'), error => error instanceof Error && message.test(error.message), text);
    }
    delete files['files.json'];
  });

  it('asks once for each file that may be missing, where the folder does not say', async () => {
    const folder = new FetchFolder(url);
    for (let i = 0; i < 2; i++) await Promise.all(['unet/none.bin', 'unet/b.bin'].map(path => folder.has(path)));
    assert.deepEqual(requests.sort(), ['GET /models/m%201/files.json', 'HEAD /models/m%201/unet/b.bin', 'HEAD /models/m%201/unet/none.bin']);
  });

  it('takes a page for no file', async () => {
    const application = createServer(({ url: path }, response) => {
      const content = files[path!.slice(1)];
      response.writeHead(200, { 'Content-Type': content ? 'application/octet-stream' : 'text/html; charset=utf-8' }).end(content ?? '<!doctype html>');
    });
    await new Promise<void>(resolve => { application.listen(0, 'localhost', resolve); });
    try {
      const address = `http://localhost:${(application.address() as AddressInfo).port}`;
      const folder = new FetchFolder(address);
      assert.deepEqual([await folder.has('unet/b.bin'), await folder.has('unet/none.bin')], [true, false]);
      assert.deepEqual(await folder.readJson('model_index.json'), { a: 1 });
      const isPage = 'model_index.json: the server answers with a page (HTML), as many do where there is no such file: is the address right?';
      await assert.rejects(new FetchFolder(`${address}/elsewhere/`).has('model_index.json'), { name: 'ModelFileError', message: `${address}/elsewhere/${isPage}` });
      const listed = new FetchFolder(`${address}/elsewhere/`, { files: sizes });
      await assert.rejects(listed.readJson('model_index.json'), { name: 'ModelFileError', message: `${address}/elsewhere/${isPage}` });
    } finally {
      application.close();
    }
  });

  it('takes a whole address where there is no page', () => {
    assert.throws(() => new FetchFolder('./models/shapes'), { name: 'ModelFileError', message: /^\.\/models\/shapes\/: takes a whole address here/ });
  });

  it('fetches several files with their progress as one', async () => {
    const seen: DownloadProgress[] = [];
    const folder = new FetchFolder(url, { files: sizes, progressCallback: progress => seen.push(progress) });
    await folder.prefetch(['model_index.json', 'unet/b.bin', 'unet/none.bin']);
    assert.deepEqual(requests, ['GET /models/m%201/model_index.json', 'GET /models/m%201/unet/b.bin']);
    const { stage, loaded, total, files: count, filesLoaded } = seen.at(-1)!;
    assert.deepEqual({ stage, loaded, total, count, filesLoaded }, { stage: 'download', loaded: 1010, total: 1010, count: 2, filesLoaded: 2 });
  });

  it('refuses a file of another size than the list says', async () => {
    const folder = new FetchFolder(url, { name: 'm', files: new Map([['unet/b.bin', 999]]) });
    await assert.rejects(folder.open('unet/b.bin'), { name: 'ModelFileError', message: 'm/unet/b.bin: is 1000 bytes long, takes 999' });
  });

  it('says what the server answers, or that there is none', async () => {
    await assert.rejects(new FetchFolder(url, { name: 'm' }).has('broken'), { name: 'ModelFileError', message: 'm/broken: the server answers 500' });
    await assert.rejects(new FetchFolder('http://localhost:1/', { name: 'm' }).has('a'), { name: 'ModelFileError', message: /^m\/a: cannot be fetched: / });
    const aborted = new FetchFolder(url, { signal: AbortSignal.abort(new Error('enough')) });
    await assert.rejects(aborted.open('unet/b.bin'), { message: 'enough' });
  });
});

describe('openByName of a page', () => {
  let hub: HubServer;
  let endpoint: string;
  before(async () => {
    hub = await HubServer.start();
    ({ endpoint } = hub);
    hub.push('owner/model', files, { refs: ['main', 'v1'] });
    hub.push('owner/secret', files, { access: 'private' });
  });
  after(() => hub.close());

  it('opens a model on the hub by its id, at one commit', async () => {
    const folder = await openByName('owner/model', { endpoint, revision: 'v1' });
    assert.equal(folder.name, 'owner/model');
    assert.equal(await folder.has('unet/none.bin'), false);
    const source = await folder.open('unet/b.bin');
    assert.deepEqual(await source.read(0, 5), bytes.slice(0, 5));
    assert.deepEqual(hub.fetched, ['unet/b.bin']);
  });

  it('opens a private one with a token', async () => {
    const folder = await openByName('owner/secret', { endpoint, token: TOKEN });
    assert.deepEqual(await folder.readJson('model_index.json'), { a: 1 });
  });

  it('opens any other name as an address', async () => {
    const folder = await openByName(`${endpoint}/owner/model/resolve/main/`, {});
    assert.deepEqual(await folder.readJson('model_index.json'), { a: 1 });
  });

  it('says what is wrong in one line', async () => {
    const missing = /^owner\/\w+: the hub has no such model or revision, or it takes a token to read it$/;
    await assert.rejects(openByName('owner/none', { endpoint }), { name: 'ModelFileError', message: missing });
    await assert.rejects(openByName('owner/secret', { endpoint }), { name: 'ModelFileError', message: missing });
    await assert.rejects(openByName('owner/model', { endpoint, revision: 'v2' }), { name: 'ModelFileError', message: missing });
    await assert.rejects(openByName('owner/model', { endpoint: 'http://localhost:1' }), { message: /^owner\/model: the hub cannot be reached: / });
  });
});
