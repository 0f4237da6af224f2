import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { convertModel } from '../../weights-converter/convert.js';
import { pickle, pickledTensor, pickledText, zip } from '../support/pickle.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { fuzz } from './fuzz.js';
import { safetensors } from './target.js';
import { hostileTargets } from './targets.js';

describe('Hostile files', () => {
  it('are read or refused by name, whatever is spoilt in them (npm run fuzz tries more)', async () => {
    for (const target of await hostileTargets()) {
      const { cases, read } = await fuzz(target, 300);
      assert.ok(read < cases, `${target.name}: nothing was refused`);
    }
  });

  it('are read as they are when nothing is spoilt', async () => {
    for (const { name, seeds, read } of await hostileTargets()) {
      if (name !== 'pickle' && name !== 'safetensors' && name !== 'safetensors header') await read(seeds[0]);
    }
  });
});

/** Attacks on loaders of weights that were published, each by the routes that a user takes: as a model that is loaded, and that is converted. */
describe('A published attack', () => {
  const folder = temporaryFolder();
  const config = readFileSync('models/shapes/vae/config.json', 'utf8');
  const weights = 'diffusion_pytorch_model.safetensors';
  const index = (shard: string) => JSON.stringify({ metadata: {}, weight_map: { 'encoder.conv_in.weight': shard } });

  /** A safetensors file of this header and so many bytes of data. */
  const file = (header: unknown, data = 0, length?: bigint): Buffer => {
    const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(length ?? BigInt(json.length));
    return Buffer.concat([size, json, Buffer.alloc(data)]);
  };
  const tensor = (begin: number, end: number, shape = [end - begin]) => ({ dtype: 'U8', shape, data_offsets: [begin, end] });

  const system = (name: string) => pickle(`\x80\x02c${name}\n`, pickledText('touch pwned'), '\x85R.');
  const storage = new Uint8Array(4_000_000);
  const bomb = pickle('\x80\x02}(', ...Array.from({ length: 300 }, (_, i) => pickledText(`w${i}`) + pickledTensor(0, [1_000_000], [1], 1_000_000)), 'u.');

  const attacks: Array<[string, Record<string, Uint8Array | string>, RegExp]> = [
    ['a header of 9 exabytes', { [weights]: file('{}', 0, 2n ** 63n - 1n) }, /its header would be 9223372036854776000 bytes long/],
    ['a header longer than the file', { [weights]: file('{}', 0, 99_999_999n) }, /is cut off: its header ends at byte 100000007, the file at 10$/],
    ['tensors that overlap', { [weights]: file({ a: tensor(0, 4), b: tensor(2, 6) }, 6) }, /'b': its data begins at 2, takes 4/],
    ['a hole between tensors', { [weights]: file({ a: tensor(0, 4), b: tensor(6, 8) }, 8) }, /'b': its data begins at 6, takes 4/],
    ['another file behind the tensors', { [weights]: Buffer.concat([file({ a: tensor(0, 4) }, 4), zip({})]) }, /has bytes behind its last tensor/],
    ['a shape whose product overflows', { [weights]: file({ a: tensor(0, 0, [2 ** 32, 2 ** 32]) }) }, /shape \[4294967296, 4294967296\] is too large/],
    ['keys that come twice', { [weights]: file('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', 4) }, /has the key 'a' twice/],
    ['a deep header', { [weights]: file('{"a":'.repeat(100_000)) }, /header: is nested over 64 levels deep/],
    ['a deep config', { [weights]: file('{}'), 'config.json': '['.repeat(1_000_000) }, /config\.json: is nested over 64 levels deep/],
    ['a config that changes prototypes', { [weights]: file('{}'), 'config.json': '{"_class_name":"AutoencoderKL","__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"polluted":1}' }, /do not fit: missing encoder/],
    ['a config of endless layers', { [weights]: file('{}'), 'config.json': '{"_class_name":"AutoencoderKL","layers_per_block":100000}' }, /layers_per_block: got 100000, takes whole numbers up to 16$/],
    ['a shard above the folder', { 'diffusion_pytorch_model.safetensors.index.json': index('../secret.safetensors') }, /names the shard '\.\.\/secret\.safetensors'/],
    ['a shard by its absolute path', { 'diffusion_pytorch_model.safetensors.index.json': index('/etc/passwd') }, /names the shard '\/etc\/passwd'/],
    ['a pickle that calls os.system', { 'model.ckpt': system('os\nsystem') }, /asks for 'os\.system', which weights do not need; it may be made to do harm, and nothing of it was run/],
    ['a pickle that calls posix.system, in a zip', { 'model.ckpt': zip({ 'a/data.pkl': { content: system('posix\nsystem') } }) }, /asks for 'posix\.system'/],
    ['a pickle that calls it by protocol 4', { 'model.pt': pickle('\x80\x04\x8c\x05posix\x8c\x06system\x93', pickledText('touch pwned'), '\x85R.') }, /asks for 'posix\.system'/],
    ['a pickle that evaluates', { 'model.bin': system('__builtin__\neval') }, /asks for '__builtin__\.eval'/],
    ['a pickle that is found in a folder', { 'diffusion_pytorch_model.bin': system('nt\nsystem') }, /asks for 'nt\.system'/],
    ['a pickle called safetensors', { 'model.safetensors': system('os\nsystem') }, /asks for 'os\.system'/],
    ['a pickle that multiplies a storage', { 'model.ckpt': zip({ 'a/data.pkl': { content: bomb }, 'a/data/0': { content: storage } }) },
      /its tensors share their values: 1200000000 bytes of them in a file of \d{7}$/],
    ['a zip that unpacks to gigabytes', { 'model.ckpt': zip({ 'a/data.pkl': { content: Buffer.alloc(1000), method: 8, size: 0xfffffff0 } }) }, /its entry 'a\/data\.pkl' is compressed or encrypted/],
    ['a zip whose entry is said to be larger', { 'model.ckpt': zip({ 'a/data.pkl': { content: Buffer.alloc(1000), size: 0x7fffffff } }) }, /cannot be read as a zip/],
  ];
  for (const [title, files, message] of attacks) {
    it(`is refused: ${title}`, async () => {
      const [model, out] = [join(folder(), 'model'), join(folder(), 'out')];
      mkdirSync(model);
      writeFileSync(join(folder(), 'secret.safetensors'), await safetensors({ secret: [1] }));
      const all = { 'config.json': config, ...files };
      for (const [path, content] of Object.entries(all)) writeFileSync(join(model, path), content);
      const single = Object.keys(files).find(path => path.startsWith('model.'));
      const source = single ? join(model, single) : model;
      for (const work of [() => AutoencoderKL.fromPretrained(source), () => convertModel(source, out)]) {
        await assert.rejects(work as () => Promise<unknown>, (error: Error) => {
          assert.match(error.message, message);
          assert.ok(!error.message.includes('\n'));
          return true;
        });
      }
      assert.deepEqual(readdirSync(folder()).sort(), ['model', 'secret.safetensors']);
      assert.deepEqual(readdirSync(model).sort(), Object.keys(all).sort());
      assert.ok(!existsSync('pwned'));
      assert.equal(({} as { polluted?: number }).polluted, undefined);
    });
  }

  it('is refused: a link to what is none of the model\'s', async () => {
    const secret = join(folder(), 'secret');
    writeFileSync(secret, config);
    for (const path of [weights, 'config.json']) {
      const model = join(folder(), path, 'model');
      mkdirSync(model, { recursive: true });
      if (path !== 'config.json') writeFileSync(join(model, 'config.json'), config);
      symlinkSync(secret, join(model, path));
      for (const work of [() => AutoencoderKL.fromPretrained(model), () => convertModel(model, join(dirname(model), 'out'))]) {
        await assert.rejects(work as () => Promise<unknown>, /^ModelFileError: .* is a link that leaves the folder, to .*secret; put the file itself there$/);
      }
    }
  });

  it('is refused: a name on the hub that is a path', async () => {
    const options = { cacheDir: join(folder(), 'cache'), endpoint: 'http://127.0.0.1:9', token: false as const };
    for (const name of ['../../etc/passwd', '../name', 'owner/..', 'owner/name/..', 'owner/na--me', '/etc', 'owner\\name']) {
      await assert.rejects(AutoencoderKL.fromPretrained(name, options), /ModelFileError: .*(there is no such folder|is a file|config\.json: there is no such file)/, name);
    }
    for (const revision of ['../../main', 'a/../b', '/etc', 'main\0', '..']) {
      await assert.rejects(AutoencoderKL.fromPretrained('owner/name', { ...options, revision }), /^TypeError: revision: got /, revision);
    }
    for (const subfolder of ['../secret', '/etc', 'a/../..']) {
      await assert.rejects(AutoencoderKL.fromPretrained('models/shapes', { subfolder }), /^ModelFileError: path .* takes a path inside the model's folder/, subfolder);
    }
    assert.deepEqual(readdirSync(folder()), []);
  });
});
