import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Generator } from '../../lib/core/random.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

const close = { atol: 1e-4, rtol: 1e-4 };

describeOnDevices('UNet2DConditionModel equals diffusers', () => {
  for (const name of ['sd1', 'sd2', 'other', 'plain', 'no_mid']) {
    it(name, async () => {
      const golden = loadGolden(`models/unet_${name}`);
      const unet = new UNet2DConditionModel(golden.meta.config);
      setTorchWeights(unet, golden, 'weights/');
      for (const [run, timestep] of golden.meta.timesteps.entries()) {
        const [sample, encoderHiddenStates] = ['sample', 'encoderHiddenStates'].map(input => goldenTensor(golden, `${run}/${input}`));
        await expectNoLeak(() => {
          const out = unet.forward(sample, timestep, { encoderHiddenStates });
          expectClose(out, golden.tensors[`${run}/out`], close);
          return out;
        });
        tf.dispose([sample, encoderHiddenStates]);
      }
      unet.dispose();
    });
  }

  it('attends in slices to the same effect', () => {
    const golden = loadGolden('models/unet_sd2');
    const unet = new UNet2DConditionModel(golden.meta.config);
    setTorchWeights(unet, golden, 'weights/');
    for (const slice of ['max', 'auto', 2, null] as const) {
      unet.setAttentionSlice(slice);
      tf.tidy(() => expectClose(unet.forward(goldenTensor(golden, '1/sample'), 1, { encoderHiddenStates: goldenTensor(golden, '1/encoderHiddenStates') }), golden.tensors['1/out'], close));
    }
    assert.throws(() => unet.setAttentionSlice(3), /attention slice \(heads at once\): got 3, takes a whole number, from 1 to 2/);
    unet.dispose();
  });

  it('refuses inputs that do not fit', () => {
    const unet = new UNet2DConditionModel(loadGolden('models/unet_plain').meta.config);
    tf.tidy(() => {
      const [sample, text] = [tf.zeros([2, 8, 8, 4]), tf.zeros([2, 3, 8])];
      assert.throws(() => unet.forward(tf.zeros([2, 8, 8, 9]), 1, { encoderHiddenStates: text }), /unet sample: got shape \[2, 8, 8, 9\], takes \[\*, \*, \*, 4\]/);
      assert.throws(() => unet.forward(sample, 1, { encoderHiddenStates: tf.zeros([1, 3, 8]) }), /unet encoderHiddenStates: got shape \[1, 3, 8\], takes \[2, \*, 8\]/);
      assert.throws(() => unet.forward(sample, [1, 2, 3], { encoderHiddenStates: text }), /unet timestep: got 3 timesteps, takes 1 or 2/);
    });
  });
});

describe('UNet2DConditionModel refuses configs', () => {
  const refused: Array<[string, object, RegExp]> = [
    ['of SDXL', { addition_embed_type: 'text_time' }, /unet config: addition_embed_type: got 'text_time', takes null/],
    ['with an unknown block', { down_block_types: ['AttnDownBlock2D', 'DownBlock2D', 'DownBlock2D', 'DownBlock2D'] }, /unet down_block_types: got 'AttnDownBlock2D', takes 'CrossAttnDownBlock2D', 'DownBlock2D'/],
    ['with lists of different lengths', { attention_head_dim: [5, 10] }, /unet config: attention_head_dim: got \[5, 10\], takes 4 values/],
    ['with a string for a number', { in_channels: '4' }, /unet config: in_channels: got '4', takes a value like 4/],
    ['with sizes that only exhaust memory', { layers_per_block: 1e9 }, /unet config: layers_per_block: got 1000000000/],
    ['with more layers than any has', { layers_per_block: 1e5 }, /unet config: layers_per_block: got 100000, takes whole numbers up to 16/],
  ];
  for (const [title, config, message] of refused) it(title, () => assert.throws(() => new UNet2DConditionModel(config), message));
});

describeOnDevices('AutoencoderKL equals diffusers', () => {
  for (const name of ['sd', 'no_quant']) {
    it(name, async () => {
      const golden = loadGolden(`models/vae_${name}`);
      const vae = new AutoencoderKL(golden.meta.config);
      setTorchWeights(vae, golden, 'weights/');
      for (let run = 0; run < golden.meta.runs; run++) {
        const [image, latents] = ['image', 'latents'].map(input => goldenTensor(golden, `${run}/${input}`));
        await expectNoLeak(() => {
          const { latentDist } = vae.encode(image);
          const [sample, mode] = [latentDist.sample(new Generator().manualSeed(run)), latentDist.mode()];
          expectClose(latentDist.mean, golden.tensors[`${run}/mean`], close);
          expectClose(mode, golden.tensors[`${run}/mean`], close);
          expectClose(latentDist.logvar, golden.tensors[`${run}/logvar`], close);
          expectClose(sample, golden.tensors[`${run}/sample`], close);
          latentDist.dispose();
          return [sample, mode];
        });
        await expectNoLeak(() => {
          const decoded = vae.decode(latents);
          expectClose(decoded, golden.tensors[`${run}/decoded`], close);
          return decoded;
        });
        tf.dispose([image, latents]);
      }
      vae.dispose();
    });
  }

  it('in tiles', async () => {
    const golden = loadGolden('models/vae_tiling');
    const vae = new AutoencoderKL(golden.meta.config);
    setTorchWeights(vae, golden, 'weights/');
    vae.enableTiling();
    for (const slicing of [false, true]) {
      if (slicing) vae.enableSlicing();
      for (let run = 0; run < golden.meta.runs; run++) {
        const [image, latents] = ['image', 'latents'].map(input => goldenTensor(golden, `${run}/${input}`));
        await expectNoLeak(() => {
          const { latentDist } = vae.encode(image);
          expectClose(latentDist.mean, golden.tensors[`${run}/mean`], close);
          expectClose(latentDist.logvar, golden.tensors[`${run}/logvar`], close);
          const decoded = vae.decode(latents);
          expectClose(decoded, golden.tensors[`${run}/decoded`], close);
          latentDist.dispose();
          return decoded;
        });
        tf.dispose([image, latents]);
      }
    }
    const latents = goldenTensor(golden, '0/latents');
    vae.disableTiling();
    const sliced = vae.decode(latents);
    vae.disableSlicing();
    const whole = vae.decode(latents);
    expectClose(sliced, { shape: whole.shape, data: whole.dataSync() }, close);
    assert.throws(() => expectClose(whole, golden.tensors['0/decoded'], close), /worst at/, 'tiles differ from the whole');
    tf.dispose([latents, sliced, whole]);
    vae.dispose();
  });

  it('refuses tiles that do not divide', () => {
    assert.throws(() => new AutoencoderKL({ sample_size: 30 }).enableTiling(), /vae tiling: got sample_size 30, takes a multiple of 4/);
  });

  it('refuses another number of channels', () => {
    const vae = new AutoencoderKL();
    assert.throws(() => vae.decode(tf.zeros([1, 2, 2, 3])), /vae.decode: got shape \[1, 2, 2, 3\], takes \[\*, \*, \*, 4\]/);
    assert.throws(() => new AutoencoderKL({ up_block_types: ['AttnUpDecoderBlock2D'] }), /vae config: up_block_types: got \[AttnUpDecoderBlock2D\], takes 1 times UpDecoderBlock2D/);
  });
});

describeOnDevices('CLIPTextModel equals transformers', () => {
  for (const name of ['sd1', 'sd2']) {
    it(name, async () => {
      const golden = loadGolden(`models/text_${name}`);
      const model = new CLIPTextModel(golden.meta.config);
      setTorchWeights(model, golden, 'weights/');
      for (const [run, ids] of golden.meta.inputIds.entries()) {
        await expectNoLeak(() => {
          const { lastHiddenState, hiddenStates } = model.forward(ids);
          expectClose(lastHiddenState, golden.tensors[`${run}/last`], close);
          // transformers 5 puts the final norm on the last of its hidden states; ours are all without it
          hiddenStates.slice(0, -1).forEach((state, i) => expectClose(state, golden.tensors[`${run}/hidden/${i}`], close));
          const normalized = model.finalLayerNorm.forward(hiddenStates[hiddenStates.length - 1]);
          expectClose(normalized, golden.tensors[`${run}/last`], close);
          return [lastHiddenState, ...hiddenStates, normalized];
        });
      }
      model.dispose();
    });
  }

  it('refuses more tokens than positions', () => {
    const model = new CLIPTextModel(loadGolden('models/text_sd1').meta.config);
    assert.throws(() => model.forward([Array(78).fill(1)]), /text encoder: got 78 tokens, takes 77 at most/);
  });
});
