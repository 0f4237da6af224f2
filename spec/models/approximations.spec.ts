import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import type { TokenMergingOptions } from '../../lib/layers/token_merging.js';
import { AutoencoderTiny } from '../../lib/models/autoencoder_tiny.js';
import { DeepCache } from '../../lib/models/deep_cache.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden, type Golden } from '../support/golden.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

const close = { atol: 1e-4, rtol: 1e-4 };

function makeUNet(golden: Golden): UNet2DConditionModel {
  const unet = new UNet2DConditionModel(golden.meta.config);
  setTorchWeights(unet, golden, 'weights/');
  return unet;
}

describeOnDevices('DeepCache', () => {
  const { tensors, meta } = loadGolden('models/deep_cache');
  const golden = { tensors, meta };
  const cases = Object.entries(meta.cases as Record<string, [number, number, number[]]>);

  for (const compiled of [false, true]) {
    it(`equals Python's DeepCache${compiled ? ', compiled' : ''}`, async () => {
      const unet = makeUNet(loadGolden('models/unet_sd1'));
      if (compiled) unet.compile();
      for (const [name, [cacheInterval, cacheBranchId, timesteps]] of compiled ? cases.slice(1, 2) : cases) {
        const encoderHiddenStates = goldenTensor(golden, `${name}/encoderHiddenStates`);
        await expectNoLeak(() => {
          const deepCache = new DeepCache(timesteps, { cacheInterval, cacheBranchId });
          timesteps.forEach((timestep, i) => tf.tidy(() => {
            const out = unet.forward(goldenTensor(golden, `${name}/${i}/sample`), timestep, { encoderHiddenStates, deepCache });
            expectClose(out, tensors[`${name}/${i}/out`], close);
          }));
          deepCache.dispose();
          return [];
        });
        encoderHiddenStates.dispose();
      }
      unet.dispose();
    });
  }

  it('gives the same as without where it runs all of the UNet, whichever branch, and for a batch that it has not seen', () => {
    for (const name of ['sd1', 'no_mid', 'plain']) {
      const source = loadGolden(`models/unet_${name}`);
      const unet = makeUNet(source);
      tf.tidy(() => {
        const [sample, encoderHiddenStates] = ['sample', 'encoderHiddenStates'].map(input => goldenTensor(source, `1/${input}`));
        for (const cacheBranchId of [0, 1, 2, 3, 13]) {
          const deepCache = new DeepCache([9, 1], { cacheInterval: 2, cacheBranchId });
          unet.forward(tf.concat([sample, sample]), 9, { encoderHiddenStates: tf.concat([encoderHiddenStates, encoderHiddenStates]), deepCache });
          for (let again = 0; again < 2; again++) expectClose(unet.forward(sample, 1, { encoderHiddenStates, deepCache }), source.tensors['1/out'], close);
          deepCache.dispose();
        }
      });
      unet.dispose();
    }
  });
});

describeOnDevices('Token merging', () => {
  const golden = loadGolden('models/token_merging');
  for (const compiled of [false, true]) {
    it(`equals Python's tomesd${compiled ? ', compiled' : ''}`, async () => {
      const unet = makeUNet(golden);
      if (compiled) unet.compile();
      for (const [run, [, options]] of golden.meta.cases.entries()) {
        if (compiled && run > 0 && run !== 5) continue;
        unet.setTokenMerging(inOurWords(options));
        const [sample, encoderHiddenStates] = ['sample', 'encoderHiddenStates'].map(input => goldenTensor(golden, `${run}/${input}`));
        await expectNoLeak(() => {
          const outs = [0, 1].map(() => unet.forward(sample, 500, { encoderHiddenStates }));
          outs.forEach(out => expectClose(out, golden.tensors[`${run}/out`], close));
          return outs;
        });
        tf.dispose([sample, encoderHiddenStates]);
      }
      unet.dispose();
    });
  }

  it('off, or of no tokens, changes nothing', () => {
    const source = loadGolden('models/unet_sd1');
    const unet = makeUNet(source);
    const check = () => tf.tidy(() => expectClose(
      unet.forward(goldenTensor(source, '1/sample'), 1, { encoderHiddenStates: goldenTensor(source, '1/encoderHiddenStates') }), source.tensors['1/out'], close));
    unet.setTokenMerging({ ratio: 0, maxDownsample: 8 });
    check();
    unet.setTokenMerging({ maxDownsample: 8 });
    assert.throws(check, /worst at/);
    tf.tidy(() => unet.forward(tf.ones([1, 4, 5, 4]), 1, { encoderHiddenStates: tf.ones([1, 2, 24]) })); // down to a single row of tokens
    unet.setTokenMerging(null);
    check();
    unet.dispose();
  });

  it('refuses what cannot be', () => {
    const unet = new UNet2DConditionModel(golden.meta.config);
    assert.throws(() => unet.setTokenMerging({ ratio: 0.8 }), /ratio: got 0.8, takes a number from 0 to 0.75/);
    assert.throws(() => unet.setTokenMerging({ maxDownsample: 0 }), /maxDownsample: got 0, takes a whole number, from 1 to 8/);
  });
});

describeOnDevices('AutoencoderTiny', () => {
  for (const name of ['vae_tiny', 'vae_tiny_gelu']) it(`equals diffusers: ${name}`, async () => {
    const golden = loadGolden(`models/${name}`);
    const vae = new AutoencoderTiny(golden.meta.config);
    setTorchWeights(vae, golden, 'weights/');
    for (const slicing of [false, true]) {
      if (slicing) vae.enableSlicing();
      for (const run of [0, 1]) {
        const [image, latents] = ['image', 'latents'].map(input => goldenTensor(golden, `${run}/${input}`));
        await expectNoLeak(() => {
          const { latents: encoded } = vae.encode(image);
          const decoded = vae.decode(latents);
          expectClose(encoded, golden.tensors[`${run}/encoded`], close);
          expectClose(decoded, golden.tensors[`${run}/decoded`], close);
          return [encoded, decoded];
        });
        tf.dispose([image, latents]);
      }
    }
    vae.dispose();
  });

  it('has the weights of diffusers where a config says nothing', () => {
    const shapes = [...new AutoencoderTiny().parameterSpecs()].map(([path, { shape, layout }]) => {
      const [height, width, input, output] = shape;
      return [path, layout === 'conv' ? [output, input, height, width] : [...shape]];
    });
    assert.deepEqual(Object.fromEntries(shapes), loadGolden('models/vae_tiny').meta.default);
  });

  it('refuses another architecture, tiles and other channels', () => {
    assert.throws(() => new AutoencoderTiny({ encoder_block_out_channels: [8, 16], num_encoder_blocks: [1, 1] }), /encoder_block_out_channels: got \[8, 16\], takes the same number in every stage/);
    assert.throws(() => new AutoencoderTiny({ num_decoder_blocks: [1] }), /num_decoder_blocks: got \[1\], takes 4 values/);
    assert.throws(() => new AutoencoderTiny({ upsampling_scaling_factor: 4 } as object), /upsampling_scaling_factor: got 4, takes 2/);
    assert.throws(() => new AutoencoderTiny().enableTiling(), /AutoencoderTiny: has no tiles/);
    assert.throws(() => new AutoencoderTiny().decode(tf.zeros([1, 2, 2, 3])), /vae.decode: got shape \[1, 2, 2, 3\], takes \[\*, \*, \*, 4\]/);
  });
});

/** The words of golden/parts/approximations.py. */
function inOurWords(options: Record<string, never>): TokenMergingOptions {
  const camel = (key: string) => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return Object.fromEntries(Object.entries(options).map(([key, value]) => [camel(key), value]));
}
