import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { DeepCache } from '../../lib/models/deep_cache.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { conditionsOf } from '../support/conditions.js';
import { loadGolden } from '../support/golden.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

const close = { atol: 1e-4, rtol: 1e-4 };
const K = loadGolden('models/unet_k').meta.config;

describeOnDevices("A UNet2DConditionModel of k-diffusion's blocks equals diffusers'", () => {
  for (const name of ['k', 'k_joined']) {
    for (const compiled of [false, true]) {
      it(`${name}${compiled ? ', as a graph' : ''}`, async () => {
        const golden = loadGolden(`models/unet_${name}`);
        const unet = name === 'k' ? await UNet2DConditionModel.fromPretrained('spec/golden/pipelines/unet_k') : new UNet2DConditionModel(golden.meta.config);
        if (name !== 'k') setTorchWeights(unet, golden, 'weights/');
        if (compiled) unet.compile({ xla: false });
        await expectNoLeak(() => tf.tidy(() => {
          for (const [run, timestep] of golden.meta.timesteps.entries()) {
            const [sample, encoderHiddenStates] = ['sample', 'encoderHiddenStates'].map(input => goldenTensor(golden, `${run}/${input}`));
            for (let call = 0; call < (compiled ? 2 : 1); call++) {
              expectClose(unet.forward(sample, timestep, { encoderHiddenStates, ...conditionsOf(golden, run) }), golden.tensors[`${run}/out`], close);
            }
          }
          return [];
        }));
        unet.dispose();
      });
    }
  }

  it('attends in slices to the same effect', async () => {
    const golden = loadGolden('models/unet_k');
    const unet = await UNet2DConditionModel.fromPretrained('spec/golden/pipelines/unet_k');
    for (const slice of ['max', 'auto', 2, null] as const) {
      unet.setAttentionSlice(slice);
      tf.tidy(() => {
        const encoderHiddenStates = goldenTensor(golden, '0/encoderHiddenStates');
        expectClose(unet.forward(goldenTensor(golden, '0/sample'), golden.meta.timesteps[0], { encoderHiddenStates, ...conditionsOf(golden, 0) }), golden.tensors['0/out'], close);
      });
    }
    unet.dispose();
  });

  it('says what does not fit', () => expectNoLeak(() => tf.tidy(() => {
    const refused = (changes: object, message: RegExp) => assert.throws(() => new UNet2DConditionModel({ ...K, ...changes }), message);
    refused({ up_block_types: ['KCrossAttnUpBlock2D', 'UpBlock2D'] }, /^RangeError: unet config: up_block_types: got .*, takes K blocks alone, or none$/);
    refused({ mid_block_type: 'UNetMidBlock2DCrossAttn' }, /^RangeError: unet config: mid_block_type: got 'UNetMidBlock2DCrossAttn', takes null between K blocks$/);
    refused({ time_embedding_dim: 33 }, /^RangeError: unet config: time_embedding_dim: got 33, takes an even number where time_embedding_type is 'fourier'$/);
    refused({ time_embedding_dim: 34 }, /^RangeError: unet config: got channels 32 and 32 .* 34 features of the time, takes all alike/);
    refused({ class_embed_type: 'timestep' }, /^RangeError: unet config: class_embed_type: got 'timestep', takes another where/);
    refused({ attention_head_dim: 5 }, /attention_head_dim: got 5, takes a number that divides a block's 32 channels$/);
    refused({ block_out_channels: [16, 16], time_embedding_dim: 16 }, /^RangeError: AdaGroupNorm: 16 channels do not divide into 0 groups$/);
    assert.throws(() => new UNet2DConditionModel({ norm_num_groups: null }), /^RangeError: unet config: norm_num_groups: got null, takes a number where blocks are not K blocks$/);
    assert.throws(() => new ControlNetModel({ down_block_types: K.down_block_types, block_out_channels: [32, 32] }), /^RangeError: controlnet config: down_block_types: takes no K blocks/);
    const unet = new UNet2DConditionModel(K);
    const [sample, encoderHiddenStates] = [tf.zeros([1, 8, 8, 8]), tf.zeros([1, 3, 16])];
    const deepCache = new DeepCache([1], { cacheInterval: 1, cacheBranchId: 0 });
    assert.throws(() => unet.forward(sample, 1, { encoderHiddenStates, deepCache }), /^RangeError: unet: got deepCache, control or .*, takes none of them with K blocks$/);
    assert.throws(() => unet.forward(tf.zeros([1, 7, 8, 8]), 1, { encoderHiddenStates }), /that does not halve evenly: the state after doubling: got shape \[1, 6, 8, 32\], takes \[\*, 7, 8, \*\]$/);
    unet.dispose();
    return [];
  })));
});
