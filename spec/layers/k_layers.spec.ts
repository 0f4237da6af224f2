import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import type { Block } from '../../lib/core/block.js';
import { gelu } from '../../lib/layers/activations.js';
import { AdaGroupNorm } from '../../lib/layers/ada_group_norm.js';
import { KAttentionBlock } from '../../lib/layers/k_attention_block.js';
import { blurDouble, blurHalve } from '../../lib/layers/k_resample.js';
import { ResnetBlockCondNorm2D, type ResnetBlockCondNorm2DConfig } from '../../lib/layers/resnet_block_cond_norm_2d.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

const LAYERS: Record<string, new (...args: never[]) => Block> = {
  AdaGroupNorm, KAttentionBlock,
  ResnetBlockCondNorm2D: class extends ResnetBlockCondNorm2D {
    constructor(config: ResnetBlockCondNorm2DConfig) {
      super({ ...config, activation: gelu });
    }
  },
};
const FUNCTIONS: Record<string, (x: tf.Tensor) => tf.Tensor> = { blurHalve, blurDouble };

describeOnDevices("k-diffusion's layers equal diffusers'", () => {
  const golden = loadGolden('k_layers');

  for (const [index, { layer, args }] of (golden.meta as Array<{ layer: string; args: never[] }>).entries()) {
    it(`${layer} ${JSON.stringify(args)}`, () => expectNoLeak(() => {
      const Layer = LAYERS[layer];
      const block = Layer && new Layer(...args);
      if (block) setTorchWeights(block, golden, `${index}/weights/`);
      tf.tidy(() => {
        for (const run of [0, 1]) {
          const inputs = [0, 1, 2].filter(n => golden.tensors[`${index}/${run}/in/${n}`]).map(n => goldenTensor(golden, `${index}/${run}/in/${n}`));
          const out = block ? block.forward(...inputs) as tf.Tensor : FUNCTIONS[layer](inputs[0]);
          expectClose(out, golden.tensors[`${index}/${run}/out`], { atol: 1e-5, rtol: 1e-5 });
        }
      });
      block?.dispose();
      return [];
    }));
  }

  it('say what does not fit', () => {
    assert.throws(() => new AdaGroupNorm(4, 10, 3), /^RangeError: AdaGroupNorm: 10 channels do not divide into 3 groups$/);
    assert.throws(() => new KAttentionBlock({ channels: 32, headDim: 5, crossAttentionDim: 4, tembChannels: 4, groupSize: 32 }),
      /^RangeError: KAttentionBlock: attention_head_dim: got 5, takes a number that divides a block's 32 channels$/);
  });
});
