import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { GraphCache } from '../../../lib/core/graph.js';
import { scaledDotProductAttention } from '../../../lib/layers/scaled_dot_product_attention.js';
import { BINDING_PACKAGE, buildFolder, cacheFolder, isBuilt } from '../../../lib/runtime/native/build_folder.js';
import { fuseAttention } from '../../../lib/runtime/native/fused_attention.js';
import { GraphDef, type Proto } from '../../../lib/runtime/native/graph_def.js';
import type { NativeBackend } from '../../../lib/runtime/native/native_backend.js';
import { record } from '../../../lib/runtime/native/recording.js';
import { trim } from '../../../lib/runtime/native/xla_cache.js';
import { describeOnDevices } from '../../support/backends.js';
import { TINY } from '../../support/tiny_pipeline.js';

/** Draws with XLA in a process of its own, and prints the picture's sum and whether all was compiled. */
const DRAW = `
import { DiffusionPipeline, Generator, useDevice } from './dist/lib/index.js';
const device = await useDevice(process.argv[1]);
const pipe = await DiffusionPipeline.fromPretrained(${JSON.stringify(TINY)}, { device });
pipe.setProgressBarConfig({ disable: true });
if (process.argv[2] !== 'plain') pipe.compile({ xla: true, wait: true });
const { images: [{ data }] } = await pipe.generate('a cat', { numInferenceSteps: 2, generator: new Generator().manualSeed(1) });
console.log(JSON.stringify([...data]));`;

/** Compiles a product, with or without TF32. */
const MULTIPLY = `
import * as tf from '@tensorflow/tfjs';
import { GraphCache } from './dist/lib/core/graph.js';
import { useDevice } from './dist/lib/index.js';
import { setTf32 } from './dist/lib/runtime/native/load.js';
await useDevice(process.argv[1]);
setTf32(process.argv[2] === 'on');
const graphs = new GraphCache({ xla: true });
graphs.run('square', x => [tf.matMul(x, x)], [tf.ones([8, 8])]);
await graphs.compiled();`;

describeOnDevices('XLA', device => {
  if (device === 'wasm') return;
  let folder: string;

  /** A cache of its own, with the same native builds. */
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'xla-spec-'));
    const ours = join(folder, basename(dirname(cacheFolder())));
    mkdirSync(ours);
    symlinkSync(cacheFolder(), join(ours, basename(cacheFolder())));
  });
  after(() => rmSync(folder, { recursive: true }));

  function run(script: string, how: string, flags = ''): string {
    const env = { ...process.env, XDG_CACHE_HOME: folder, XLA_FLAGS: flags, TF_XLA_FLAGS: '' }; // not what this process set
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script, device, how], { env, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    assert.doesNotMatch(stderr, /XLA does not take/);
    return stdout;
  }
  const draw = (how: 'plain' | 'compiled') => JSON.parse(run(DRAW, how).trim().split('\n').at(-1)!) as number[];
  const files = () => readdirSync(join(folder, basename(dirname(cacheFolder())), 'xla'), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.pb')).map(name => join(folder, basename(dirname(cacheFolder())), 'xla', name));

  it('makes the same picture, keeps its machine code for the next process, and makes it anew where it is damaged', () => {
    const expected = draw('plain');
    const expectSame = (actual: number[]) => assert.ok(actual.every((byte, i) => Math.abs(byte - expected[i]) <= 2));
    expectSame(draw('compiled'));
    const kept = files();
    assert.equal(kept.length, 3); // text encoder, UNet, VAE
    const times = kept.map(file => statSync(file).mtimeMs);
    expectSame(draw('compiled'));
    assert.deepEqual(files().map(file => statSync(file).mtimeMs), times); // nothing was made again
    kept.forEach(file => truncateSync(file, 2000));
    expectSame(draw('compiled'));
    assert.ok(files().every(file => statSync(file).size > 2000));
  });

  it('computes float32 in float32, unless TF32 is allowed', () => {
    for (const [allowed, precise] of [['off', true], ['on', false]] as const) {
      const dump = join(folder, `dump_${allowed}`);
      run(MULTIPLY, allowed, `--xla_dump_to=${dump} --xla_dump_hlo_as_text`);
      const text = readdirSync(dump).filter(name => name.endsWith('before_optimizations.txt')).map(name => readFileSync(join(dump, name), 'utf8')).join('');
      assert.match(text, / dot\(/);
      assert.equal(text.includes('operand_precision={highest,highest}'), precise);
    }
  });
});

describeOnDevices('graphs of TensorFlow', device => {
  if (device === 'wasm') return;
  const backend = () => tf.backend() as NativeBackend;
  const proto = () => createRequire(join(buildFolder(device === 'cpu' && isBuilt('cpu') ? 'cpu' : 'gpu'), 'build.cjs'))(
    `${BINDING_PACKAGE}/dist/proto/api_pb`) as Proto;

  it('are the same bytes when the same is computed, whatever else is', () => {
    const x = tf.ones([2, 3]);
    const bytes = [false, true].map(more => {
      const def = new GraphDef(proto());
      const { inputs, outputs, results } = record(backend(), def, given => {
        if (more) tf.dispose(tf.exp(tf.add(given, 7))); // of no use
        return [tf.mul(tf.add(given, 1), 2)];
      }, [x], true);
      tf.dispose(results);
      return Buffer.from(def.serialize(inputs, outputs).bytes).toString('hex');
    });
    assert.equal(bytes[0], bytes[1]);
    x.dispose();
  });

  it('have fused attention where cuDNN has it, and only there', () => {
    const before = tf.memory().numTensors;
    const nodes = (headSize: number, masked: boolean, half: boolean) => {
      const def = new GraphDef(proto());
      const inputs = [0, 1, 2].map(() => tf.ones([1, 5, 2 * headSize]));
      const mask = masked ? tf.zeros([5, 5]) : undefined;
      const { attentions, results } = record(backend(), def, (q, k, v) => [scaledDotProductAttention(q, k, v, { heads: 2, mask })], inputs, true);
      tf.dispose([inputs, results, mask ?? []]);
      return fuseAttention(def, attentions.map(each => half ? { ...each, dtype: 19 } : each)).size;
    };
    assert.equal(nodes(40, false, true), 1);
    assert.equal(nodes(128, false, true), 1);
    assert.equal(nodes(160, false, true), 0);
    assert.equal(nodes(20, false, true), 0);
    assert.equal(nodes(40, true, true), 0);
    assert.equal(nodes(40, false, false), 0);
    assert.equal(tf.memory().numTensors, before);
  });

  it('compile without a tensor left, also while that goes on', async () => {
    const x = tf.ones([4]);
    const before = tf.memory().numTensors;
    const graphs = new GraphCache({ xla: true });
    const run = () => graphs.run('double', given => [tf.add(given, given)], [x])[0];
    run().dispose();
    assert.equal(tf.memory().numTensors, before);
    await graphs.compiled();
    const y = run();
    assert.deepEqual([...await y.data()], [2, 2, 2, 2]);
    y.dispose();
    graphs.clear();
    assert.equal(tf.memory().numTensors, before);
    x.dispose();
  });
});

describe('the folder of machine code', () => {
  it('keeps what was used last, up to a size', () => {
    const folder = mkdtempSync(join(tmpdir(), 'trim-spec-'));
    for (const [i, name] of ['old', 'new', 'middle'].entries()) {
      writeFileSync(join(folder, name), Buffer.alloc(100));
      const used = new Date(2020, [1, 3, 2][i], 1);
      utimesSync(join(folder, name), used, used);
    }
    trim(folder, 250);
    assert.deepEqual(readdirSync(folder).sort(), ['middle', 'new']);
    trim(folder, 0);
    assert.deepEqual(readdirSync(folder), []);
    rmSync(folder, { recursive: true });
  });
});
