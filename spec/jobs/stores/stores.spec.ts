import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import S3rver from 's3rver';
import { FolderStore } from '../../../lib/jobs/stores/folder_store.js';
import { MemoryStore } from '../../../lib/jobs/stores/memory_store.js';
import type { S3Store } from '../../../lib/jobs/stores/s3_store.js';
import { openStore } from '../../../lib/jobs/stores/open_store.js';
import { optionalPackage } from '../../../lib/jobs/optional_package.js';
import { isOver } from '../../../lib/jobs/stores/picture_names.js';
import type { PictureStore } from '../../../lib/jobs/stores/picture_store.js';
import { temporaryFolder } from '../../support/temporary_folder.js';

const ID = '0b54ab12-3f2c-4d6e-8a55-0123456789ab';
const PICTURE = `${ID}/0.png`;
const WAITING = `waiting/${ID}/image`;
const BYTES = new Uint8Array(100_000).map((_, i) => i * i);

describe('Stores', () => {
  const folder = temporaryFolder();

  async function keeps(store: PictureStore): Promise<void> {
    assert.equal(await store.read(PICTURE), undefined);
    await store.remove(PICTURE);
    await store.write(PICTURE, BYTES);
    await store.write(WAITING, BYTES.slice(0, 10));
    await store.write(PICTURE, BYTES.slice(1));
    assert.deepEqual(new Uint8Array((await store.read(PICTURE))!), BYTES.slice(1));
    assert.deepEqual(new Uint8Array((await store.read(WAITING))!), BYTES.slice(0, 10));
    await store.remove(PICTURE);
    assert.equal(await store.read(PICTURE), undefined);
    await store.close?.();
  }

  async function refusesNames(store: PictureStore): Promise<void> {
    for (const name of ['../../etc/passwd', `${ID}/../0.png`, '/etc/passwd', `${ID}`, `${ID}/.hidden`, `other/${ID}/0.png`, `${ID}/0.png\n`, `${ID}/A.png`, '']) {
      await assert.rejects(store.write(name, BYTES), /^Error: the store: has no names like /, name);
      await assert.rejects(store.read(name), /has no names like/, name);
    }
    await store.close?.();
  }

  it('in memory keep pictures', () => keeps(new MemoryStore()));

  describe('in a folder', () => {
    it('keep pictures, and nothing else lies there', async () => {
      await keeps(await openStore(join(folder(), 'new', 'store')));
      assert.deepEqual(readdirSync(join(folder(), 'new', 'store'), { recursive: true }).sort(), ['waiting', `waiting/${ID}`, WAITING]);
    });

    it('have no names that lead out of it', () => refusesNames(new FolderStore(folder())));

    it('have a picture whole or not at all, also while it is written anew', async () => {
      const store = new FolderStore(folder());
      const [one, two] = [1, 2].map(value => new Uint8Array(1_000_000).fill(value));
      await store.write(PICTURE, one);
      const writing = (async () => { for (let i = 0; i < 10; i++) await store.write(PICTURE, i % 2 ? one : two); })();
      let done = false;
      void writing.then(() => { done = true; });
      while (!done) {
        const bytes = (await store.read(PICTURE))!;
        assert.ok(bytes.length === one.length && bytes.every(byte => byte === bytes[0]));
      }
      await store.close();
    });

    it('remove what is over, what was left unfinished, and nothing that is not theirs', async () => {
      const store = new FolderStore(folder(), 60);
      const other = '1b54ab12-3f2c-4d6e-8a55-0123456789ab';
      const place = (name: string) => join(folder(), name);
      for (const id of [ID, other]) mkdirSync(place(id));
      mkdirSync(place('photos'));
      const old = [PICTURE, `${ID}/0.png.${other}.part`, 'photos/0.png', 'notes.txt', `${other}/Notes.txt`];
      for (const name of [...old, `${other}/0.png`]) writeFileSync(place(name), 'x');
      await store.write(WAITING, BYTES);
      for (const name of [...old, WAITING]) utimesSync(place(name), new Date(), new Date(Date.now() - 61_000));
      await store.sweep();
      const left = (readdirSync(folder(), { recursive: true }) as string[]).filter(name => statSync(place(name)).isFile()).sort();
      assert.deepEqual(left, [`${other}/0.png`, `${other}/Notes.txt`, 'notes.txt', 'photos/0.png', WAITING].sort());
      assert.ok(!existsSync(place(ID)));
      for (const empty of [ID, `waiting/${other}`]) {
        mkdirSync(place(empty));
        utimesSync(place(empty), new Date(), new Date(Date.now() - 61_000));
      }
      await store.sweep();
      assert.ok(!existsSync(place(ID)) && !existsSync(place(`waiting/${other}`)) && existsSync(place('photos')), 'empty folders of jobs go too');
      await store.close();
    });

    it('say what they cannot use', async () => {
      writeFileSync(join(folder(), 'file'), '');
      await assert.rejects(openStore(join(folder(), 'file')), /^Error: --store: .*file cannot be written to: E/);
      await assert.rejects(openStore('http://example.org/pictures'), /^TypeError: --store: got 'http:\/\/example\.org\/pictures', takes a folder or s3:/);
      await assert.rejects(openStore('s3:/x'), /^TypeError: --store: got 's3:\/x', takes a folder or s3:/);
      await assert.rejects(openStore('s3://'), /takes a folder or s3:\/\/bucket\/prefix/);
    });
  });

  describe('in S3 (by s3rver)', () => {
    let server: S3rver;
    let s3Endpoint: string;
    const before_ = { id: process.env.AWS_ACCESS_KEY_ID, secret: process.env.AWS_SECRET_ACCESS_KEY };
    beforeEach(async () => {
      Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' });
      server = new S3rver({ address: '127.0.0.1', port: 0, silent: true, directory: folder(), configureBuckets: [{ name: 'pictures', configs: [] }] });
      s3Endpoint = `http://127.0.0.1:${(await server.run()).port}`;
    });
    afterEach(async () => {
      await server.close();
      for (const [name, value] of [['AWS_ACCESS_KEY_ID', before_.id], ['AWS_SECRET_ACCESS_KEY', before_.secret]] as const) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    });

    it('keep pictures below their prefix', async () => {
      await keeps(await openStore('s3://pictures/of/mine', { s3Endpoint }));
      await keeps(await openStore('s3://pictures', { s3Endpoint }));
      assert.ok(existsSync(join(folder(), 'pictures', 'of', 'mine', 'waiting')));
    });

    it('have no names but theirs', async () => refusesNames(await openStore('s3://pictures', { s3Endpoint })));

    it('remove what is over', async () => {
      const open = async (keepSeconds: number) => await openStore('s3://pictures/mine', { s3Endpoint, keepSeconds }) as S3Store;
      const [long, short] = [await open(3600), await open(0)];
      await long.write(PICTURE, BYTES);
      await long.write(WAITING, BYTES);
      await long.sweep();
      assert.ok(await long.read(PICTURE));
      await short.sweep();
      assert.equal(await long.read(PICTURE), undefined);
      assert.ok(await long.read(WAITING));
      await Promise.all([long.close(), short.close()]);
    });

    it('say what they cannot use', async () => {
      await assert.rejects(openStore('s3://others', { s3Endpoint }), /^Error: --store: the bucket others cannot be used: /);
      await assert.rejects(openStore('s3://pictures', { s3Endpoint: 'http://127.0.0.1:1' }), /^Error: --store: the bucket pictures cannot be used: .*ECONNREFUSED/);
    });
  });

  it('keep a picture to begin from until its request can have been drawn', () => {
    const yesterday = Date.now() - 25 * 3600 * 1000;
    assert.deepEqual([isOver(PICTURE, yesterday, 600), isOver(WAITING, yesterday, 600), isOver(WAITING, yesterday - 48 * 3600 * 1000, 600)], [true, false, true]);
  });
});

describe('A package that is installed where it is needed', () => {
  it('is asked for in one line where it is not there', async () => {
    const load = () => import('there-is-no-such-package' as string) as Promise<object>;
    await assert.rejects(optionalPackage(load, '--redis', 'bullmq ioredis'), /^Error: --redis: needs packages that are not installed; npm install bullmq ioredis$/);
    await assert.rejects(optionalPackage(async () => { throw new Error('spoilt'); }, '--redis', 'bullmq'), /^Error: spoilt$/);
  });
});
