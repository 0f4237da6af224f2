import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { fits, tfjsToTorch, torchShape, torchToTfjs } from '../../lib/weights/layouts.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { AutoencoderTiny } from '../../lib/models/autoencoder_tiny.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { CLIPTextModelWithProjection } from '../../lib/models/clip_text_model_with_projection.js';
import { CLIPVisionModelWithProjection } from '../../lib/models/clip_vision_model.js';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { ControlNetUnionModel } from '../../lib/models/controlnet_union.js';
import { StableDiffusionSafetyChecker } from '../../lib/models/safety_checker.js';
import { SD3ControlNetModel } from '../../lib/models/sd3_controlnet.js';
import { SD3Transformer2DModel } from '../../lib/models/sd3_transformer_2d_model.js';
import { T2IAdapter } from '../../lib/models/t2i_adapter.js';
import { T5EncoderModel } from '../../lib/models/t5_encoder_model.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { readSafetensors } from '../../lib/weights/safetensors.js';
import { loadGolden } from '../support/golden.js';

describe('layouts', () => {
  const { tensors } = readSafetensors(readFileSync('spec/golden/weights/dtypes.safetensors'));

  it('turns torch tensors as torch.permute does, tiles and their rests alike', () => {
    for (const [name, layout] of [['linear', 'linear'], ['conv', 'conv'], ['big_conv', 'conv']] as const) {
      const data = Float32Array.from(tensors[name].data);
      const turned = torchToTfjs(new Uint8Array(data.buffer), 4, tensors[name].shape, layout);
      assert.deepEqual(new Float32Array(turned.buffer), Float32Array.from(tensors[`${name}_as_tfjs`].data), name);
      assert.deepEqual(tfjsToTorch(turned, 4, tensors[`${name}_as_tfjs`].shape, layout), new Uint8Array(data.buffer), name);
    }
  });

  it('moves elements of any size and any address', () => {
    for (const size of [1, 2, 4, 8]) {
      const bytes = Uint8Array.from({ length: 6 * size + 1 }, (_, i) => i).subarray(1);
      const turned = torchToTfjs(bytes, size, [2, 3], 'linear');
      for (const [to, from] of [0, 3, 1, 4, 2, 5].entries()) {
        assert.deepEqual(turned.subarray(to * size, (to + 1) * size), bytes.subarray(from * size, (from + 1) * size));
      }
    }
  });

  it('lets a 1x1 conv and a linear stand for each other in torch files alone', () => {
    const linear = { shape: [3, 5], layout: 'linear' } as const;
    const conv = { shape: [1, 1, 3, 5], layout: 'conv' } as const;
    for (const spec of [linear, conv]) {
      assert.ok(fits([5, 3], spec, 'torch') && fits([5, 3, 1, 1], spec, 'torch'));
      assert.ok(!fits([3, 5], spec, 'torch') && !fits([5, 3, 3, 3], spec, 'torch') && !fits([5, 3, 1], spec, 'torch'));
      assert.ok(fits(spec.shape, spec, 'tfjs') && !fits([5, 3], spec, 'tfjs'));
    }
    assert.ok(!fits([4, 3, 1, 1], { shape: [4, 3], layout: 'plain' }, 'torch'));
    assert.deepEqual(torchShape({ shape: [3, 2, 4, 5], layout: 'conv' }), [5, 4, 3, 2]);
    assert.deepEqual(torchShape({ shape: [3, 5], layout: 'pointwise' }), [5, 3, 1, 1]);
  });

  it("knows torch's shape of every parameter of every network that there is a reference of", () => {
    const classes = {
      sd3_transformer: SD3Transformer2DModel, sd3_controlnet: SD3ControlNetModel, unet: UNet2DConditionModel, controlnet_union: ControlNetUnionModel, controlnet: ControlNetModel, vae_tiny: AutoencoderTiny, vae: AutoencoderKL, t2i_adapter: T2IAdapter,
      text_projection: CLIPTextModelWithProjection, text: CLIPTextModel, clip_vision: CLIPVisionModelWithProjection, safety_checker: StableDiffusionSafetyChecker, t5: T5EncoderModel,
    };
    const without = ['unet_k', 'vae_tiling']; // their weights are other files', or drawn anew
    let networks = 0;
    for (const file of readdirSync('spec/golden/models').filter(file => file.endsWith('.gz'))) {
      const name = file.split('.')[0];
      const Network = Object.entries(classes).find(([start]) => name.startsWith(start))?.[1];
      if (!Network || without.includes(name)) continue;
      const { tensors, meta } = loadGolden(`models/${name}`);
      const shapes = Object.entries(tensors).filter(([key]) => key.startsWith('weights/')).map(([key, { shape }]) => [key.slice('weights/'.length), [...shape]]);
      const specs = [...new Network(meta.config).parameterSpecs()].map(([path, spec]) => [path, [...torchShape(spec)]]);
      assert.deepEqual(Object.fromEntries(specs), Object.fromEntries(shapes), name);
      networks++;
    }
    assert.ok(networks > 40, `${networks} networks`);
  });
});
