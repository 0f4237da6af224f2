import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { LocalFolder } from '../../lib/files/local_folder.js';
import { locateFile } from '../../lib/loading/locate_file.js';
import { openModelFolder } from '../../lib/loading/open_model_folder.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { CLIPTokenizer } from '../../lib/tokenizer/clip_tokenizer.js';
import { convertModel } from '../../weights-converter/convert.js';

describe('LocalFolder', () => {
  let root: string;
  let folder: LocalFolder;
  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'folder-'));
    mkdirSync(join(root, 'model/unet'), { recursive: true });
    writeFileSync(join(root, 'outside.json'), '{}');
    writeFileSync(join(root, 'model/unet/config.json'), '{"a":1}');
    writeFileSync(join(root, 'model/broken.json'), '{"a":');
    writeFileSync(join(root, 'model/latin1.txt'), Buffer.from([0x61, 0xe9]));
    writeFileSync(join(root, 'model/bytes'), Buffer.from([0, 1, 2, 3, 4]));
    symlinkSync('unet/config.json', join(root, 'model/inside.json'));
    symlinkSync('../outside.json', join(root, 'model/outside.json'));
    symlinkSync('/etc', join(root, 'model/etc'));
    folder = await LocalFolder.open(join(root, 'model'));
  });
  after(() => rmSync(root, { recursive: true }));

  it('reads files inside', async () => {
    assert.deepEqual(await folder.readJson('unet/config.json'), { a: 1 });
    assert.deepEqual(await folder.readJson('inside.json'), { a: 1 });
    assert.equal(await folder.has('unet/config.json'), true);
    assert.equal(await folder.has('unet'), false);
    assert.equal(await folder.has('nothing'), false);
  });

  it('reads ranges of bytes', async () => {
    const source = await folder.open('bytes');
    assert.equal(source.size, 5);
    assert.deepEqual([...await source.read(1, 3)], [1, 2, 3]);
    assert.deepEqual([...await source.read(5, 0)], []);
    await assert.rejects(source.read(3, 3), /bytes: ends at byte 5, bytes up to 6 were wanted/);
    truncateSync(join(root, 'model/bytes'), 2);
    await assert.rejects(source.read(1, 3), /bytes: became shorter while it was read/);
    await source.close();
  });

  it('names the file in every error', async () => {
    await assert.rejects(folder.readJson('broken.json'), /^SyntaxError: .*model\/broken\.json: is not JSON/);
    await assert.rejects(folder.readText('latin1.txt'), /^ModelFileError: .*model\/latin1\.txt: is not UTF-8 text$/);
    await assert.rejects(folder.open('none.json'), /^ModelFileError: .*model\/none\.json: there is no such file$/);
    await assert.rejects(folder.open('unet'), /model\/unet: there is no such file/);
    await assert.rejects(LocalFolder.open(join(root, 'none')), /none: there is no such folder/);
    await assert.rejects(LocalFolder.open(join(root, 'outside.json')), /outside\.json: is a file, takes the folder of a model/);
  });

  it('never leaves the folder by a path', async () => {
    for (const path of ['../outside.json', '/etc/passwd', 'unet/../../outside.json', '', '.', 'unet//config.json', 'a\\b', 'C:x', 'a\0b', 'unet/']) {
      await assert.rejects(folder.readText(path), /^ModelFileError: path .* takes a path inside the model's folder/);
      await assert.rejects(folder.has(path), /^ModelFileError/);
    }
  });

  it('never leaves the folder by a link', async () => {
    await assert.rejects(folder.readJson('outside.json'), /outside\.json: is a link that leaves the folder, to /);
    await assert.rejects(folder.readText('etc/passwd'), /etc\/passwd: is a link that leaves the folder/);
  });

  it('leaves the user\'s own folder by a link from weights to weights, or to a folder of them and their configs', async () => {
    const disk = join(root, 'disk/unet');
    mkdirSync(disk, { recursive: true });
    mkdirSync(join(root, 'models--a--b/blobs'), { recursive: true });
    for (const path of ['disk/unet/weights.safetensors', 'models--a--b/blobs/abc', 'disk/unet/config.json', 'disk/secret', 'disk/unet/notes.txt']) writeFileSync(join(root, path), '[3]');
    const own = join(root, 'own');
    mkdirSync(own);
    symlinkSync(disk, join(own, 'unet'));
    const links: Array<[name: string, target: string]> = [
      ['far.safetensors', join(disk, 'weights.safetensors')], ['near.bin', '../disk/unet/weights.safetensors'], ['blob.ckpt', join(root, 'models--a--b/blobs/abc')],
      ['twice.pt', join(own, 'far.safetensors')], ['secret.safetensors', join(root, 'disk/secret')], ['config.json', join(disk, 'config.json')],
    ];
    for (const [name, target] of links) symlinkSync(target, join(own, name));
    const opened = await openModelFolder(own);
    for (const path of ['far.safetensors', 'near.bin', 'blob.ckpt', 'twice.pt', 'unet/weights.safetensors', 'unet/config.json']) assert.equal(await opened.readText(path), '[3]', path);
    for (const path of ['secret.safetensors', 'config.json', 'unet/notes.txt']) await assert.rejects(opened.readText(path), /is a link that leaves the folder/, path);
  });

  it('follows a link to anywhere that the user named himself, and no other beside it', async () => {
    const own = join(root, 'named');
    mkdirSync(own);
    for (const name of ['lora.safetensors', 'other.safetensors']) symlinkSync('../outside.json', join(own, name));
    const { folder: found, path } = await locateFile(join(own, 'lora.safetensors'), undefined, []);
    assert.equal(await found.readText(path), '{}');
    await assert.rejects(found.readText('other.safetensors'), /is a link that leaves the folder/);
  });

  it('follows the links of a hub cache to its blobs, and only there', async () => {
    const cache = join(root, 'models--owner--name');
    mkdirSync(join(cache, 'snapshots/0123/unet'), { recursive: true });
    mkdirSync(join(cache, 'blobs'));
    writeFileSync(join(cache, 'blobs/abc'), '{"b":2}');
    symlinkSync('../../../blobs/abc', join(cache, 'snapshots/0123/unet/config.json'));
    symlinkSync('../../../../outside.json', join(cache, 'snapshots/0123/unet/other.json'));
    writeFileSync(join(root, 'outside.safetensors'), '');
    symlinkSync('../../../../outside.safetensors', join(cache, 'snapshots/0123/unet/model.safetensors'));
    for (const [path, prefix] of [['', 'unet/'], ['unet', '']]) {
      const snapshot = await openModelFolder(join(cache, 'snapshots/0123', path));
      assert.deepEqual(await snapshot.readJson(`${prefix}config.json`), { b: 2 });
      await assert.rejects(snapshot.readJson(`${prefix}other.json`), /is a link that leaves the folder/);
      await assert.rejects(snapshot.open(`${prefix}model.safetensors`), /is a link that leaves the folder/);
    }
  });

  it('is named by an address as well, with any characters', async () => {
    const odd = join(root, 'a model #1 100%');
    mkdirSync(odd);
    writeFileSync(join(odd, 'config.json'), '[4]');
    writeFileSync(join(odd, 'my lora.safetensors'), '');
    for (const source of [pathToFileURL(odd), pathToFileURL(odd).href]) assert.deepEqual(await (await openModelFolder(source)).readJson('config.json'), [4]);
    const { folder: found, path } = await locateFile(pathToFileURL(join(odd, 'my lora.safetensors')), undefined, []);
    assert.deepEqual([path, await found.readText(path)], ['my lora.safetensors', '']);
    await assert.rejects(openModelFolder(new URL('file:///none/at/all')), /^ModelFileError: \/none\/at\/all: there is no such folder/);
    await assert.rejects(openModelFolder(pathToFileURL(join(odd, 'none.ckpt'))), /^ModelFileError: .*none\.ckpt: there is no such file$/);
  });

  it('says in a sentence what is no source', async () => {
    for (const source of [undefined, null, 7, '', {}, [], true]) {
      const message = /^TypeError: source: got .*, takes a path or an address, an id on the hub, as in 'owner\/name', or a ModelFolder$/;
      for (const work of [openModelFolder, (each: never) => locateFile(each, undefined, []), (each: never) => StableDiffusionPipeline.fromPretrained(each, { device: 'wasm' }),
        (each: never) => AutoencoderKL.fromSingleFile(each), CLIPTokenizer.fromPretrained, (each: never) => convertModel(each, 'out')]) {
        await assert.rejects(async () => work(source as never), message);
      }
    }
    for (const out of [undefined, '', 3]) await assert.rejects(convertModel('models/shapes', out as never), /^TypeError: out: got .*, takes the path of a new folder$/);
  });

  it('takes no pipe or device for a file', async function () {
    if (process.platform === 'win32') return this.skip();
    execFileSync('mkfifo', [join(root, 'model/pipe')]);
    assert.equal(await folder.has('pipe'), false);
    await assert.rejects(folder.open('pipe'), /there is no such file/);
  });

  it('reads no endless text', async () => {
    writeFileSync(join(root, 'model/large.json'), '');
    truncateSync(join(root, 'model/large.json'), 60_000_000);
    await assert.rejects(folder.readJson('large.json'), /large\.json: is 60000000 bytes long, takes up to 50000000/);
  });
});
