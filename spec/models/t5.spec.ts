import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bytesOf } from '../../lib/core/bytes_of.js';
import { scaledDotProductAttention } from '../../lib/layers/scaled_dot_product_attention.js';
import { relativePositionBuckets } from '../../lib/models/t5_buckets.js';
import { T5EncoderModel } from '../../lib/models/t5_encoder_model.js';
import { T5Block } from '../../lib/models/t5_block.js';
import { readSafetensors, writeSafetensors } from '../../lib/weights/safetensors.js';
import { convertModel } from '../../weights-converter/convert.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose, expectValues } from '../support/close.js';
import { loadGolden, type Golden } from '../support/golden.js';
import { MemoryFolder } from '../support/memory_folder.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { setTorchWeights } from '../support/weights.js';

const close = { atol: 1e-4, rtol: 1e-4 };

function modelOf(golden: Golden): T5EncoderModel {
  const model = new T5EncoderModel(golden.meta.config);
  setTorchWeights(model, golden, 'weights/');
  return model;
}

describe("T5's positions", () => {
  it('are in the buckets that transformers has them in, up to 600 tokens', () => {
    for (const [name, { data }] of Object.entries(loadGolden('models/buckets_t5').tensors)) {
      const [buckets, most] = name.split(' ').map(Number);
      const found = relativePositionBuckets(600, buckets, most);
      for (let query = 0; query < 600; query++) {
        const wanted = Array.from(data).slice(599 - query, 1199 - query);
        assert.deepEqual([...found.subarray(query * 600, (query + 1) * 600)], wanted, `${name}, at ${query}`);
      }
    }
  });
});

describeOnDevices('T5EncoderModel equals transformers', () => {
  for (const name of ['gated', 'relu', 'silu']) {
    it(`${name}, op by op and compiled`, async () => {
      const golden = loadGolden(`models/t5_${name}`);
      const model = modelOf(golden);
      for (const [run, ids] of golden.meta.inputIds.entries()) {
        await expectNoLeak(async () => {
          const states = model.forward(ids);
          await expectValues(states, golden.tensors[`${run}/last`], close);
          return states;
        });
      }
      model.compile();
      for (let call = 0; call < 2; call++) {
        const ids = tf.tensor2d(golden.meta.inputIds[0], undefined, 'int32');
        const states = model.forward(ids);
        await expectValues(states, golden.tensors['0/last'], close);
        tf.dispose([ids, states]);
      }
      model.dispose();
    });
  }
}, { awaits: true });

describeOnDevices('Attention with a mask for each head', () => {
  it('is the same in chunks of heads and of queries', async () => {
    const [query, key, value] = [7, 5, 5].map((tokens, seed) => tf.randomNormal([2, tokens, 12], 0, 1, 'float32', seed));
    const mask = tf.randomNormal([3, 7, 5], 0, 2, 'float32', 9);
    const ofHead = (x: tf.Tensor, head: number) => tf.slice(x, [0, 0, 4 * head], [2, x.shape[1]!, 4]);
    const expected = tf.tidy(() => tf.concat([0, 1, 2].map(head => {
      const scores = tf.mul(tf.matMul(ofHead(query, head), ofHead(key, head), false, true), 0.7);
      return tf.matMul(tf.softmax(tf.add(scores, tf.gather(mask, head))), ofHead(value, head));
    }), 2));
    const values = { shape: expected.shape, data: await expected.data() };
    for (const options of [{}, { maxHeads: 2 }, { maxHeads: 1, maxScoreBytes: 50 }, { maxScoreBytes: 300 }]) {
      const attended = scaledDotProductAttention(query, key, value, { heads: 3, mask, scale: 0.7, ...options });
      await expectValues(attended, values);
      attended.dispose();
    }
    tf.dispose([query, key, value, mask, expected]);
  });
}, { awaits: true });

describeOnDevices('T5EncoderModel', device => {
  const folder = temporaryFolder();
  const golden = loadGolden('models/t5_gated');
  const [ids] = golden.meta.inputIds as number[][][];
  const statesOf = (model: T5EncoderModel): Float32Array => tf.tidy(() => model.forward(ids).dataSync<'float32'>());

  /** Saved, as files by their names. */
  async function saved(model = modelOf(golden)): Promise<{ 'config.json': string; 'model.safetensors': Uint8Array }> {
    const path = join(folder(), 'saved');
    await model.savePretrained(path);
    model.dispose();
    const [config, weights] = ['config.json', 'model.safetensors'].map(file => readFileSync(join(path, file)));
    return { 'config.json': config.toString(), 'model.safetensors': weights };
  }

  /** The same files, their tensors under other names. */
  async function renamed(files: Awaited<ReturnType<typeof saved>>, namesOf: (name: string) => string[]): Promise<MemoryFolder> {
    const { tensors } = readSafetensors(files['model.safetensors']);
    const written = Object.entries(tensors).flatMap(([name, { shape, data }]) => namesOf(name).map(name => (
      { name, dtype: 'F32' as const, shape, bytes: () => bytesOf(Float32Array.from(data)) }
    )));
    const chunks: Uint8Array[] = [];
    for await (const chunk of writeSafetensors(written, { format: 'pt' })) chunks.push(chunk);
    return new MemoryFolder({ ...files, 'model.safetensors': Buffer.concat(chunks) });
  }

  it('is saved as transformers saves it, and loaded from there, and once converted', async () => {
    const files = await saved();
    const { model_type, architectures, d_kv, feed_forward_proj } = JSON.parse(files['config.json']);
    assert.deepEqual({ model_type, architectures, d_kv, feed_forward_proj },
      { model_type: 't5', architectures: ['T5EncoderModel'], d_kv: 8, feed_forward_proj: 'gated-gelu' });
    const keys = Object.keys(golden.tensors).filter(key => key.startsWith('weights/')).map(key => key.slice('weights/'.length));
    assert.deepEqual(Object.keys(readSafetensors(files['model.safetensors']).tensors).sort(), keys.sort());
    const converted = join(folder(), 'converted');
    await convertModel(join(folder(), 'saved'), converted);
    for (const source of [join(folder(), 'saved'), converted]) {
      const model = await T5EncoderModel.fromPretrained(source);
      tf.tidy(() => expectClose(model.forward(ids), golden.tensors['0/last'], close));
      model.dispose();
    }
  });

  it('takes embeddings under the name that its encoder has for them, or under both, and leaves a decoder out', async () => {
    const files = await saved();
    const shared = 'shared.weight';
    const inEncoder = 'encoder.embed_tokens.weight';
    const also = ['decoder.embed_tokens.weight', 'lm_head.weight', 'decoder.block.0.layer.1.EncDecAttention.q.weight', 'decoder.final_layer_norm.weight'];
    for (const names of [[inEncoder], [shared, inEncoder], [inEncoder, shared], [...also, shared, inEncoder]]) {
      const model = await T5EncoderModel.fromPretrained(await renamed(files, name => name === shared ? names : [name]));
      tf.tidy(() => expectClose(model.forward(ids), golden.tensors['0/last'], close));
      model.dispose();
    }
    const wrong = await renamed(files, name => name === shared ? ['embed_tokens.weight'] : [name]);
    await assert.rejects(T5EncoderModel.fromPretrained(wrong), /^WeightsError: T5EncoderModel: .* missing shared\.weight; unexpected embed_tokens\.weight$/);
  });

  it('holds in float16 what float16 cannot: no state becomes infinite', async () => {
    const model = modelOf(golden);
    const path = 'encoder.block.0.layer.1.DenseReluDense.wo.weight';
    model.setParameter(path, tf.tidy(() => tf.mul(model.getParameter(path), 5e4)));
    const wide = statesOf(model);
    const block = [...model.descendants()].find(each => each instanceof T5Block)!;
    tf.tidy(() => {
      const state = block.forward(tf.ones([1, 5, 20]), block.positionBias(5));
      assert.ok(tf.max(tf.abs(state)).dataSync()[0] > 65504, 'beyond float16');
    });
    await saved(model);
    const half = await T5EncoderModel.fromPretrained(join(folder(), 'saved'), { dtype: 'float16' });
    const narrow = statesOf(half);
    for (const [i, value] of wide.entries()) assert.ok(Math.abs(narrow[i] - value) < 0.01 * (1 + Math.abs(value)), `at ${i}: ${narrow[i]} for ${value}`);
    half.compile();
    const compiled = { shape: [narrow.length], data: statesOf(half) };
    expectClose(compiled, { shape: [narrow.length], data: narrow }, { atol: 0.01, rtol: 0.01 });
    half.dispose();
  });

  it('keeps no second copy of weights, and none on the device that are released after use', async () => {
    await saved();
    const before = tf.memory().numTensors;
    const model = await T5EncoderModel.fromPretrained(join(folder(), 'saved'), { dtype: 'float16', offload: true });
    model.releaseAfterUse(true);
    statesOf(model);
    assert.equal(tf.memory().numTensors, before);
    model.dispose();
    const held = await T5EncoderModel.fromPretrained(join(folder(), 'saved'), { dtype: 'float16' });
    statesOf(held);
    assert.ok(tf.memory().numTensors - before <= held.parameterSpecs().size, device);
    held.dispose();
  });
});

describe('T5EncoderModel', () => {
  it("has as many parameters as Stable Diffusion 3's", () => {
    const xxl = { d_model: 4096, d_ff: 10240, num_layers: 24, num_heads: 64, feed_forward_proj: 'gated-gelu' };
    assert.equal(new T5EncoderModel(xxl).numParameters, 4_762_310_656);
  });

  const refused: Array<[string, object, RegExp]> = [
    ['an unknown activation', { feed_forward_proj: 'gated-magic' }, /^RangeError: T5 config: feed_forward_proj: got 'magic', takes 'silu', .*'gelu_pytorch_tanh'$/],
    ['a gate of a gate', { feed_forward_proj: 'gated-gated-gelu' }, /feed_forward_proj: got 'gated-gelu', takes/],
    ['another way of feeding forward', { feed_forward_proj: 'open-gelu' }, /feed_forward_proj: got 'open-gelu', takes/],
    ['too few buckets', { relative_attention_num_buckets: 3 }, /^RangeError: T5 config: relative_attention_num_buckets: got 3, takes a whole number, 4 or more$/],
    ['a last bucket that begins too near', { relative_attention_max_distance: 8 }, /relative_attention_max_distance: got 8, takes a whole number, 9 or more$/],
    ['no heads', { num_heads: 0 }, /num_heads: got 0, takes a whole number, 1 or more$/],
    ['sizes that only exhaust memory', { num_layers: 1e5 }, /T5 config: num_layers: got 100000, takes whole numbers up to 256$/],
    ['a text for a number', { d_model: '512' }, /^TypeError: T5 config: d_model: got '512', takes a value like 512$/],
  ];
  for (const [title, config, message] of refused) it(`refuses ${title}`, () => assert.throws(() => new T5EncoderModel(config), message));
});
