import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Generator } from '../../lib/core/random.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { CLIPTextModelWithProjection } from '../../lib/models/clip_text_model_with_projection.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import type { AddedConditions } from '../../lib/models/unet_down_path.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { conditionsOf } from '../support/conditions.js';
import { loadGolden } from '../support/golden.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';
import { convertModel } from '../../weights-converter/convert.js';

const close = { atol: 1e-4, rtol: 1e-4 };

describeOnDevices('UNet2DConditionModel equals diffusers', () => {
  const options = [
    'class_number', 'class_timestep', 'class_identity', 'class_projection', 'class_concat', 'text_projection', 'nested', 'reversed', 'early',
    'simple', 'simple_text_alone', 'simple_mixed', 'xl', 'xl_distilled',
  ];
  for (const name of ['sd1', 'sd2', 'other', 'plain', 'no_mid', ...options]) {
    it(name, async () => {
      const golden = loadGolden(`models/unet_${name}`);
      const unet = new UNet2DConditionModel(golden.meta.config);
      setTorchWeights(unet, golden, 'weights/');
      for (const [run, timestep] of golden.meta.timesteps.entries()) {
        const [sample, encoderHiddenStates] = ['sample', 'encoderHiddenStates'].map(input => goldenTensor(golden, `${run}/${input}`));
        const conditions = conditionsOf(golden, run);
        await expectNoLeak(() => {
          const out = unet.forward(sample, timestep, { encoderHiddenStates, ...conditions });
          expectClose(out, golden.tensors[`${run}/out`], close);
          return out;
        });
        tf.dispose([sample, encoderHiddenStates, conditions.classLabels ?? [], conditions.timestepCond ?? [], conditions.addedCondKwargs?.textEmbeds ?? []] as tf.TensorContainer);
      }
      unet.dispose();
    });
  }

  it('gives the same as a graph, where the backend has them, whatever it is led by', () => {
    for (const name of ['class_number', 'class_timestep', 'class_identity', 'class_projection', 'class_concat', 'text_projection', 'simple', 'xl', 'xl_distilled']) {
      const golden = loadGolden(`models/unet_${name}`);
      const unet = new UNet2DConditionModel(golden.meta.config);
      setTorchWeights(unet, golden, 'weights/');
      unet.compile();
      tf.tidy(() => {
        const [sample, encoderHiddenStates] = ['sample', 'encoderHiddenStates'].map(input => goldenTensor(golden, `0/${input}`));
        for (let call = 0; call < 2; call++) {
          expectClose(unet.forward(sample, golden.meta.timesteps[0], { encoderHiddenStates, ...conditionsOf(golden, 0) }), golden.tensors['0/out'], close);
        }
      });
      unet.dispose();
    }
  });

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
      assert.throws(() => unet.forward(sample, 1, { encoderHiddenStates: text, timestepCond: tf.zeros([2, 4]) }), /unet timestepCond: got shape \[2, 4\], takes \[\*, 0\]/);
    });
  });

  it('refuses classes that do not fit, and sizes that do not halve', () => {
    const make = (name: string) => new UNet2DConditionModel(loadGolden(`models/unet_${name}`).meta.config);
    const [numbers, vectors, doubling] = ['class_number', 'class_identity', 'simple'].map(make);
    tf.tidy(() => {
      const [sample, encoderHiddenStates] = [tf.zeros([2, 4, 4, 4]), tf.zeros([2, 3, 12])];
      assert.throws(() => numbers.forward(sample, 1, { encoderHiddenStates }), /unet classLabels: got undefined, takes a list of numbers, one for each sample/);
      assert.throws(() => numbers.forward(sample, 1, { encoderHiddenStates, classLabels: [7] }), /unet classLabels: got 7, takes a whole number, from 0 to 6/);
      assert.throws(() => numbers.forward(sample, 1, { encoderHiddenStates, classLabels: [1, 2, 3] }), /unet classLabels: got 3 classes, takes 1 or 2/);
      assert.throws(() => vectors.forward(sample, 1, { encoderHiddenStates, classLabels: [1, 2] }), /unet classLabels: got \[1, 2\], takes a tensor \[samples, features\]/);
      assert.throws(() => vectors.forward(sample, 1, { encoderHiddenStates, classLabels: tf.zeros([1, 7]) }), /unet classLabels: got shape \[1, 7\], takes \[\*, 20\]/);
      assert.throws(() => doubling.forward(tf.zeros([1, 5, 4, 4]), 1, { encoderHiddenStates: tf.zeros([1, 3, 32]) }), /unet sample of a height or width that does not halve evenly: the state after doubling: got shape \[1, 4, 4, 16\], takes \[\*, 5, 4, \*\]/);
    });
    [numbers, vectors, doubling].forEach(unet => unet.dispose());
  });
});

describeOnDevices('UNet2DConditionModel of SDXL', () => {
  it('takes one row of sizes for all samples, and refuses what does not fit', () => {
    const golden = loadGolden('models/unet_xl');
    const unet = new UNet2DConditionModel(golden.meta.config);
    tf.tidy(() => {
      const [sample, encoderHiddenStates, textEmbeds] = [tf.randomNormal([2, 4, 4, 4]), tf.randomNormal([2, 3, 12]), tf.randomNormal([2, 9])];
      const sizes = [64, 48, 0, 3, 1024, 1024];
      const run = (addedCondKwargs?: AddedConditions) => unet.forward(sample, 1, { encoderHiddenStates, addedCondKwargs });
      const whole = run({ textEmbeds, timeIds: [sizes, sizes] });
      expectClose(run({ textEmbeds, timeIds: [sizes] }), { shape: whole.shape, data: whole.dataSync() }, close);
      assert.throws(() => run(), /^TypeError: unet addedCondKwargs: got undefined, takes \{ textEmbeds, timeIds \}$/);
      assert.throws(() => run({ textEmbeds, timeIds: [sizes, sizes, sizes] }), /^RangeError: unet addedCondKwargs.timeIds: got 3 rows, takes 1 or 2/);
      assert.throws(() => run({ textEmbeds, timeIds: [[1, 2, 3, 4, 5]] }), /^RangeError: unet addedCondKwargs: got 9 features of a text and 5 numbers of 6 features, takes 45 features$/);
      assert.throws(() => run({ textEmbeds: tf.zeros([1, 8]), timeIds: [sizes] }), /got 8 features of a text and 6 numbers of 6 features, takes 45 features$/);
      assert.throws(() => run({ textEmbeds: tf.zeros([3, 9]), timeIds: [sizes] }), /unet addedCondKwargs.textEmbeds: got 3 texts, takes 1 or 2/);
    });
    unet.dispose();
  });
});

describe('UNet2DConditionModel refuses configs', () => {
  const refused: Array<[string, object, RegExp]> = [
    ['of Kandinsky', { addition_embed_type: 'text_image' }, /unet config: addition_embed_type: got 'text_image', takes null, 'text_time'$/],
    ['that add nothing', { addition_embed_type: 'text_time' }, /unet config: addition_time_embed_dim: got null, takes a number where addition_embed_type is 'text_time'$/],
    ['that add what has no size', { addition_embed_type: 'text_time', addition_time_embed_dim: 256 }, /unet config: projection_class_embeddings_input_dim: got null, takes a number where addition_embed_type/],
    ['that add to two', { addition_embed_type: 'text_time', addition_time_embed_dim: 4, projection_class_embeddings_input_dim: 30, num_class_embeds: 2, class_embeddings_concat: true }, /unet config: class_embeddings_concat: got true, takes false where addition_embed_type is 'text_time'$/],
    ['with an unknown class embedding', { class_embed_type: 'magic' }, /unet config: class_embed_type: got 'magic', takes null, 'timestep', 'identity', 'projection', 'simple_projection'$/],
    ['with a projection of nothing', { class_embed_type: 'projection' }, /unet config: projection_class_embeddings_input_dim: got null, takes a number where class_embed_type is 'projection'$/],
    ['with classes beside time that are none', { class_embeddings_concat: true }, /unet config: class_embeddings_concat: got true, takes false where there are neither class_embed_type nor num_class_embeds$/],
    ['with another kind of text', { encoder_hid_dim: 8, encoder_hid_dim_type: 'image_proj' }, /unet config: encoder_hid_dim_type: got 'image_proj', takes null, 'text_proj'$/],
    ['with a text of no size', { encoder_hid_dim_type: 'text_proj' }, /unet config: encoder_hid_dim: got null, takes a number where encoder_hid_dim_type is 'text_proj'$/],
    ['with a text projected to several', { encoder_hid_dim: 8, cross_attention_dim: [4, 4, 4, 4] }, /unet config: cross_attention_dim: got \[4, 4, 4, 4\], takes one number where there is an encoder_hid_dim$/],
    ['with an unknown activation', { act_fn: 'tanh' }, /unet config: act_fn: got 'tanh', takes 'silu', 'swish', 'mish', 'gelu', 'relu'$/],
    ['with another way of time', { resnet_time_scale_shift: 'spatial' }, /unet config: resnet_time_scale_shift: got 'spatial', takes 'default', 'scale_shift'$/],
    ['that nest one way alone', { transformer_layers_per_block: [[1, 2], 1, 1, 1] }, /unet config: reverse_transformer_layers_per_block: got null, takes a list where transformer_layers_per_block has lists in it$/],
    ['that nest too few', { transformer_layers_per_block: [[1], 1, 1, 1], reverse_transformer_layers_per_block: [1, 1, 1, 1] }, /unet config: transformer_layers_per_block: got \[1\] for a block, takes a number for each of its layers$/],
    ['that nest too deep', { transformer_layers_per_block: [[[1]], 1, 1, 1] }, /unet config: transformer_layers_per_block: got \[\[\[1\]\], 1, 1, 1\], takes a value like 1$/],
    ['that nest too many', { transformer_layers_per_block: [[1, 1e6], 1, 1, 1] }, /unet config: transformer_layers_per_block: got \[\[1, 1000000\], 1, 1, 1\], takes whole numbers up to 16$/],
    ['with heads that do not divide', { down_block_types: Array(4).fill('DownBlock2D'), mid_block_type: 'UNetMidBlock2DSimpleCrossAttn', attention_head_dim: 7 }, /unet config: attention_head_dim: got 7, takes a number that divides a block's 1280 channels$/],
    ['with a kernel of nothing', { conv_in_kernel: 0 }, /unet config: conv_in_kernel: got 0, takes a whole number, 1 or more$/],
    ['with an unknown block', { down_block_types: ['AttnDownBlock2D', 'DownBlock2D', 'DownBlock2D', 'DownBlock2D'] }, /unet down_block_types: got 'AttnDownBlock2D', takes 'CrossAttnDownBlock2D', 'DownBlock2D'/],
    ['with lists of different lengths', { attention_head_dim: [5, 10] }, /unet config: attention_head_dim: got \[5, 10\], takes 4 values/],
    ['with a string for a number', { in_channels: '4' }, /unet config: in_channels: got '4', takes a value like 4/],
    ['with sizes that only exhaust memory', { layers_per_block: 1e9 }, /unet config: layers_per_block: got 1000000000/],
    ['with more layers than any has', { layers_per_block: 1e5 }, /unet config: layers_per_block: got 100000, takes whole numbers up to 16/],
  ];
  for (const [title, config, message] of refused) it(title, () => assert.throws(() => new UNet2DConditionModel(config), message));
});

describe('UNet2DConditionModel has as many parameters as', () => {
  const told = { addition_embed_type: 'text_time', addition_time_embed_dim: 256, use_linear_projection: true };
  const base = {
    ...told, block_out_channels: [320, 640, 1280], cross_attention_dim: 2048, projection_class_embeddings_input_dim: 2816, attention_head_dim: [5, 10, 20],
    down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'], up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'],
    transformer_layers_per_block: [1, 2, 10],
  };
  const refiner = {
    ...told, block_out_channels: [384, 768, 1536, 1536], cross_attention_dim: 1280, projection_class_embeddings_input_dim: 2560, attention_head_dim: [6, 12, 24, 24],
    down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
    up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'], transformer_layers_per_block: 4,
  };
  for (const [name, config, count] of [['SDXL', base, 2_567_463_684], ["SDXL's refiner", refiner, 2_259_526_660]] as const) {
    it(name, () => assert.equal(new UNet2DConditionModel(config as never).numParameters, count));
  }

  it('OpenCLIP bigG, the second text encoder', () => {
    const config = { hidden_size: 1280, intermediate_size: 5120, num_hidden_layers: 32, num_attention_heads: 20, hidden_act: 'gelu', projection_dim: 1280 };
    assert.equal(new CLIPTextModelWithProjection(config).numParameters, 694_659_840);
  });
});

describeOnDevices('AutoencoderKL equals diffusers', () => {
  for (const name of ['sd', 'no_quant', 'mish', 'relu']) {
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

  it('keeps what some pipelines do to latents', () => {
    const given = { shift_factor: -0.25, latents_mean: [0.1, -0.2, 0, 3], latents_std: [1.5, 0.5, 2, 1] };
    const { shift_factor, latents_mean, latents_std } = new AutoencoderKL(given).config;
    assert.deepEqual({ shift_factor, latents_mean, latents_std }, given);
    const nothing = { shift_factor: null, latents_mean: null, latents_std: null };
    const { config } = new AutoencoderKL(nothing);
    assert.deepEqual({ shift_factor: config.shift_factor, latents_mean: config.latents_mean, latents_std: config.latents_std }, nothing);
  });

  it('refuses another number of channels', () => {
    const vae = new AutoencoderKL();
    assert.throws(() => vae.decode(tf.zeros([1, 2, 2, 3])), /vae.decode: got shape \[1, 2, 2, 3\], takes \[\*, \*, \*, 4\]/);
    assert.throws(() => new AutoencoderKL({ latents_std: [1, 2] }), /vae config: latents_std: got \[1, 2\], takes 4 numbers, one for each of latent_channels/);
    assert.throws(() => new AutoencoderKL({ act_fn: 'sigmoid' }), /vae config: act_fn: got 'sigmoid', takes 'silu', 'swish', 'mish', 'gelu', 'relu'/);
    assert.throws(() => new AutoencoderKL({ up_block_types: ['AttnUpDecoderBlock2D'] }), /vae config: up_block_types: got \[AttnUpDecoderBlock2D\], takes 1 times UpDecoderBlock2D/);
  });
});

describeOnDevices('CLIPTextModel equals transformers', () => {
  const folder = temporaryFolder();
  const models = { sd1: CLIPTextModel, sd2: CLIPTextModel, gelu_new: CLIPTextModel, relu: CLIPTextModel, projection: CLIPTextModelWithProjection, projection_old: CLIPTextModelWithProjection };
  for (const [name, Model] of Object.entries(models)) {
    it(name, async () => {
      const golden = loadGolden(`models/text_${name}`);
      const model = new Model(golden.meta.config);
      setTorchWeights(model, golden, 'weights/');
      for (const [run, ids] of golden.meta.inputIds.entries()) {
        await expectNoLeak(() => {
          const { lastHiddenState, hiddenStates, ...more } = model.forward(ids);
          expectClose(lastHiddenState, golden.tensors[`${run}/last`], close);
          // transformers 5 puts the final norm on the last of its hidden states; ours are all without it
          hiddenStates.slice(0, -1).forEach((state, i) => expectClose(state, golden.tensors[`${run}/hidden/${i}`], close));
          const normalized = model.finalLayerNorm.forward(hiddenStates[hiddenStates.length - 1]);
          expectClose(normalized, golden.tensors[`${run}/last`], close);
          assert.deepEqual(Object.keys(more), Model === CLIPTextModel ? [] : ['textEmbeds']);
          for (const textEmbeds of Object.values(more)) expectClose(textEmbeds as tf.Tensor, golden.tensors[`${run}/embeds`], close);
          return [lastHiddenState, ...hiddenStates, normalized, more];
        });
      }
      model.dispose();
    });
  }

  it('takes the part of a whole CLIP that is its', () => {
    assert.deepEqual(new CLIPTextModel({ text_config: { hidden_size: 16 } }).config,
      { vocab_size: 49408, hidden_size: 16, intermediate_size: 2048, num_hidden_layers: 12, num_attention_heads: 8, max_position_embeddings: 77, hidden_act: 'quick_gelu',
        layer_norm_eps: 1e-5, projection_dim: 512, eos_token_id: 49407 });
    assert.throws(() => new CLIPTextModel({ hidden_act: 'magic' }), /text encoder config: hidden_act: got 'magic', takes 'silu', 'swish', 'mish', 'gelu', 'relu', 'quick_gelu', 'gelu_new', 'gelu_pytorch_tanh'/);
  });

  it('loads from the folder of a whole CLIP, as itself and with its projection, and once converted', async () => {
    const golden = loadGolden('models/clip_text');
    const converted = join(folder(), 'clip');
    await convertModel('spec/golden/models/clip', converted);
    for (const source of ['spec/golden/models/clip', converted]) {
      const model = await CLIPTextModel.fromPretrained(source);
      tf.tidy(() => expectClose(model.forward(golden.meta.inputIds).lastHiddenState, golden.tensors.last, close));
      model.dispose();
    }
    const model = await CLIPTextModelWithProjection.fromPretrained('spec/golden/models/clip');
    tf.tidy(() => {
      const { textEmbeds, lastHiddenState } = model.forward(tf.tensor2d(golden.meta.inputIds, undefined, 'int32'));
      expectClose(textEmbeds, golden.tensors.embeds, close);
      expectClose(lastHiddenState, golden.tensors.last, close);
    });
    model.dispose();
  });

  it('refuses more tokens than positions', () => {
    const model = new CLIPTextModel(loadGolden('models/text_sd1').meta.config);
    assert.throws(() => model.forward([Array(78).fill(1)]), /text encoder: got 78 tokens, takes 77 at most/);
  });
});
