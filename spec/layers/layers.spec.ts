import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Block } from '../../lib/core/block.js';
import { gelu, geluTanh, getBlockActivation, mish, quickGelu, silu } from '../../lib/layers/activations.js';
import { AddedKVAttention } from '../../lib/layers/added_kv_attention.js';
import { Attention, SpatialAttention } from '../../lib/layers/attention.js';
import { BasicTransformerBlock } from '../../lib/layers/basic_transformer_block.js';
import { Conv2d } from '../../lib/layers/conv2d.js';
import { Downsample2D } from '../../lib/layers/downsample_2d.js';
import { Embedding } from '../../lib/layers/embedding.js';
import { FeedForward } from '../../lib/layers/feed_forward.js';
import { GroupNorm } from '../../lib/layers/group_norm.js';
import { LayerNorm } from '../../lib/layers/layer_norm.js';
import { Linear } from '../../lib/layers/linear.js';
import { ResnetBlock2D } from '../../lib/layers/resnet_block_2d.js';
import { causalMask, scaledDotProductAttention, type AttentionOptions } from '../../lib/layers/scaled_dot_product_attention.js';
import { getGuidanceScaleEmbedding, getTimestepEmbedding, TimestepEmbedding, type SinusoidOptions } from '../../lib/layers/timestep_embedding.js';
import { Transformer2DModel } from '../../lib/layers/transformer_2d.js';
import { Upsample2D } from '../../lib/layers/upsample_2d.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose, expectValues } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

type Forward = (...inputs: tf.Tensor[]) => tf.Tensor;
const CLASSES = {
  AddedKVAttention, Attention, BasicTransformerBlock, Conv2d, Downsample2D, Embedding, FeedForward, GroupNorm, LayerNorm, Linear, ResnetBlock2D, SpatialAttention,
  TimestepEmbedding, Transformer2DModel, Upsample2D,
} as unknown as Record<string, new (...args: unknown[]) => Block & { forward: Forward }>;

/** How to make the function of a case from its name and arguments, where it is no class. */
const FUNCTIONS: Record<string, (...args: never[]) => Forward> = {
  silu: () => silu,
  gelu: () => gelu,
  quick_gelu: () => quickGelu,
  gelu_new: () => geluTanh,
  mish: () => mish,
  relu: () => getBlockActivation('act_fn', 'ReLU'),
  scaledDotProductAttention: ({ heads, causal }: AttentionOptions & { causal?: boolean }) => (q, k, v) =>
    tf.tidy(() => scaledDotProductAttention(q, k, v, { heads, mask: causal ? causalMask(q.shape[1]!) : undefined })),
  getTimestepEmbedding: (timesteps: number[], dim: number, options: SinusoidOptions) => () => getTimestepEmbedding(timesteps, dim, options),
  getGuidanceScaleEmbedding: (scales: number[], dim: number) => () => getGuidanceScaleEmbedding(scales, dim),
};

/** torch's float32 exp is off by one rounding at a few frequencies, which at timestep 999 is an angle of 6e-5, and at a guidance of 20 one of 1e-3. */
const TOLERANCES: Record<string, { atol: number }> = { getTimestepEmbedding: { atol: 7e-5 }, getGuidanceScaleEmbedding: { atol: 1.2e-3 } };

/** The arguments of a case: an activation goes by its name in JSON. */
const named = (args: unknown[]) => args.map(arg => {
  const { activation } = (arg ?? {}) as { activation?: string };
  return activation ? { ...(arg as object), activation: getBlockActivation('activation', activation) } : arg;
});

const golden = loadGolden('layers');
const cases = golden.meta as Array<{ layer: string; args: unknown[]; runs: number }>;

describeOnDevices('layers equal torch and diffusers', () => {
  cases.forEach(({ layer, args, runs }, index) => {
    it(`${layer} ${JSON.stringify(args)}`, async () => {
      const isClass = layer in CLASSES;
      const size = layer === 'Upsample2D' ? args[1] : undefined; // an input of forward, no argument of the class
      const block = isClass ? new CLASSES[layer](...named(size ? args.slice(0, 1) : args)) : undefined;
      if (block) setTorchWeights(block, golden, `${index}/weights/`);
      const forward: Forward = block ? (...inputs) => block.forward(...inputs, ...(size ? [size as unknown as tf.Tensor] : [])) as tf.Tensor : FUNCTIONS[layer](...args as never[]);
      for (let run = 0; run < runs; run++) {
        const inputs = Object.keys(golden.tensors).filter(key => key.startsWith(`${index}/${run}/in/`)).map(key => goldenTensor(golden, key));
        await expectNoLeak(async () => {
          const out = forward(...inputs);
          await expectValues(out, golden.tensors[`${index}/${run}/out`], TOLERANCES[layer] ?? { atol: 2e-5, rtol: 2e-5 });
          return out;
        });
        tf.dispose(inputs);
      }
      block?.dispose();
    });
  });

  it('covers every class', () => {
    assert.deepEqual(Object.keys(CLASSES).filter(name => !cases.some(({ layer }) => layer === name)), []);
  });
}, { awaits: true });

describeOnDevices('attention in chunks', () => {
  const limits = [{ maxHeads: 1 }, { maxHeads: 3 }, { maxScoreBytes: 1 }, { maxScoreBytes: 4 * 5 * 6 }, { maxScoreBytes: 4 * 5 * 9 * 2 }, { maxHeads: 2, maxScoreBytes: 4 * 5 * 4 }];
  for (const limit of limits) {
    it(`gives the same with ${JSON.stringify(limit)}`, async () => {
      const [q, k, v, mask] = [[2, 9, 16], [2, 5, 16], [2, 5, 16], [9, 5]].map((shape, i) => tf.randomNormal(shape, 0, 1, 'float32', i + 1));
      const whole = scaledDotProductAttention(q, k, v, { heads: 4, mask });
      await expectNoLeak(() => {
        const chunked = scaledDotProductAttention(q, k, v, { heads: 4, mask, ...limit });
        expectClose(chunked, { shape: whole.shape, data: whole.dataSync() }, { atol: 1e-6 });
        return chunked;
      });
      tf.dispose([q, k, v, mask, whole]);
    });
  }

  it('never holds more scores than asked for', () => {
    const [q, k] = [tf.randomNormal([2, 64, 32]), tf.randomNormal([2, 48, 32])];
    for (const limit of [{ maxScoreBytes: 4 * 48 * 10 }, { maxHeads: 3 }]) {
      const { kernels } = profiled(() => scaledDotProductAttention(q, k, k, { heads: 4, ...limit }));
      const largest = Math.max(...kernels.filter(({ name }) => name === 'Softmax').map(({ size }) => 4 * size));
      assert.ok(largest <= (limit.maxScoreBytes ?? 4 * 48 * 64 * 3), `${largest} bytes of scores`);
      assert.ok(largest > 0);
    }
    tf.dispose([q, k]);
  });
});

describeOnDevices('feed-forward in parts', device => {
  if (device === 'wasm') return; // takes long there
  it('gives the same, and never holds more than 64 MiB of what is gated', async () => {
    const layer = new FeedForward(4);
    layer.stateDict(); // makes them
    const x = tf.randomNormal([2, 600_001, 4], 0, 1, 'float32', 1);
    await expectNoLeak(() => {
      let whole: tf.Tensor | undefined;
      const { kernels } = profiled(() => (whole = layer.forward(x)).clone());
      const largest = Math.max(...kernels.map(({ size }) => 4 * size));
      assert.ok(largest <= 64 * 2 ** 20 && largest > 63 * 2 ** 20, `${largest} bytes`);
      for (const at of [[0, 0, 0], [0, 600_000, 0], [1, 448_570, 0], [1, 600_000, 0]]) {
        tf.tidy(() => expectClose(layer.forward(tf.slice(x, at, [1, 1, 4])), { shape: [1, 1, 4], data: tf.slice(whole!, at, [1, 1, 4]).dataSync() }));
      }
      return whole!;
    });
    x.dispose();
    layer.dispose();
  });
});

/** The kernels that `work` runs, with the number of elements each puts out. */
function profiled(work: () => tf.Tensor): { kernels: Array<{ name: string; size: number }> } {
  const kernels: Array<{ name: string; size: number }> = [];
  const engine = tf.engine();
  const runKernel = engine.runKernel.bind(engine);
  engine.runKernel = ((name: string, ...rest: [never, never]) => {
    const out = runKernel(name, ...rest);
    if (out instanceof tf.Tensor) kernels.push({ name, size: out.size });
    return out;
  }) as typeof engine.runKernel;
  try {
    work().dispose();
  } finally {
    engine.runKernel = runKernel;
  }
  return { kernels };
}

describeOnDevices('layers as tf.layers', () => {
  it('apply, on one tensor or several, is forward', () => {
    const attention = new Attention({ queryDim: 8, contextDim: 6, heads: 2 });
    const [x, context] = [tf.randomNormal([1, 5, 8]), tf.randomNormal([1, 3, 6])];
    const applied = attention.apply([x, context]) as tf.Tensor;
    expectClose(applied, { shape: [1, 5, 8], data: attention.forward(x, context).dataSync() }, { atol: 1e-6 });
    attention.dispose();
  });

  it('build a tf.model whose weights are theirs', () => {
    const input = tf.input({ shape: [8, 6, 4] });
    const [conv, norm, down] = [new Conv2d(4, 8), new GroupNorm(2, 8), new Downsample2D(8, [1, 1, 1, 1])];
    const output = [conv, norm, down].reduce((x, layer) => layer.apply(x) as tf.SymbolicTensor, input);
    const model = tf.model({ inputs: input, outputs: output });
    assert.deepEqual(output.shape, [null, 4, 3, 8]);
    assert.equal(model.countParams(), 9 * 4 * 8 + 8 + 16 + 9 * 8 * 8 + 8);
    const x = tf.randomNormal([2, 8, 6, 4]);
    const expected = tf.tidy(() => down.forward(norm.forward(conv.forward(x))));
    expectClose(model.predict(x) as tf.Tensor, { shape: expected.shape, data: expected.dataSync() }, { atol: 1e-6 });
  });
});

describe('layers refuse what they cannot take', () => {
  it('groups that do not divide the channels', () => assert.throws(() => new GroupNorm(3, 8), /GroupNorm: 8 channels do not divide into 3 groups/));
  it('heads that do not divide the features', () => assert.throws(() => new Attention({ queryDim: 8, heads: 3 }), /Attention: 8 features do not divide into 3 heads/));
  it('a slice of more heads than there are', () => {
    assert.throws(() => new Attention({ queryDim: 8, heads: 2 }).setSlice(3), /attention slice \(heads at once\): got 3, takes a whole number, from 1 to 2/);
  });
});
