import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { loadIpAdapters, projectionConfig } from '../../lib/adapters/ip_adapter_files.js';
import { scaleByBlock, type BlockScales } from '../../lib/adapters/lora_scale.js';
import { readCheckpoint, type Checkpoint } from '../../lib/checkpoints/checkpoint.js';
import { IPAdapterFullImageProjection, IPAdapterPlusImageProjection, ImageProjection } from '../../lib/layers/image_projection.js';
import { openModelFolder } from '../../lib/loading/open_model_folder.js';
import { DeepCache } from '../../lib/models/deep_cache.js';
import { downsampleMasks } from '../../lib/models/ip_adapter_masks.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { conditionsOf } from '../support/conditions.js';
import { loadGolden } from '../support/golden.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

const close = { atol: 1e-4, rtol: 1e-4 };

interface Run {
  scale: number | number[] | BlockScales;
  pictures?: number;
  masks?: boolean;
}

const fileOf = async (name: string): Promise<Checkpoint> => {
  const folder = await openModelFolder('spec/golden/models');
  return readCheckpoint(name, () => folder.open(`ip_adapter_${name}.safetensors`));
};

const unetOf = (name: string) => {
  const golden = loadGolden(`models/unet_${name}`);
  const unet = new UNet2DConditionModel(golden.meta.config);
  setTorchWeights(unet, golden, 'weights/');
  return unet;
};

describeOnDevices('A UNet with IP-Adapters equals diffusers', () => {
  for (const name of ['sd2', 'many', 'xl']) {
    for (const compiled of [false, true]) {
      it(`${name}${compiled ? ', as graphs' : ''}`, () => expectNoLeak(async () => {
        const golden = loadGolden(`models/ip_adapter_${name}`);
        const kinds = golden.meta.kinds as string[];
        const unet = unetOf(golden.meta.unet);
        unet.setIpAdapters(await loadIpAdapters(unet, await Promise.all(kinds.map((_, i) => fileOf(`${name}_${i}`))), false));
        if (compiled) unet.compile();
        tf.tidy(() => {
          for (const [run, { scale, masks }] of (golden.meta.runs as Run[]).entries()) {
            if (compiled && run % 2 === 1) continue; // recording takes its time
            const each = (what: string) => kinds.map((_, i) => goldenTensor(golden, `${run}/${what}/${i}`));
            const [sample, encoderHiddenStates] = ['sample', 'encoderHiddenStates'].map(input => goldenTensor(golden, `${run}/${input}`));
            const byBlock = typeof scale === 'number' || Array.isArray(scale) ? () => scale : scaleByBlock('scale', scale, unet.textAttentions.keys(), 0);
            unet.setIpAdapterScales(byBlock);
            for (let call = 0; call < (compiled ? 2 : 1); call++) { // recorded, then called
              const imagePrompts = unet.projectImages(each('embeds'), masks ? each('mask') : undefined, sample.shape.slice(1, 3) as [number, number]);
              imagePrompts.states.forEach((state, i) => expectClose(state, golden.tensors[`${run}/tokens/${i}`], close));
              const conditions = { encoderHiddenStates, ...conditionsOf(golden, run), imagePrompts };
              expectClose(unet.forward(sample, 500, conditions), golden.tensors[`${run}/out`], close);
              if (run > 0) continue;
              const deepCache = new DeepCache([500], { cacheInterval: 2, cacheBranchId: 1 });
              expectClose(unet.forward(sample, 500, { ...conditions, deepCache }), golden.tensors[`${run}/out`], close);
              deepCache.dispose();
            }
          }
        });
        unet.dispose();
        return [];
      }));
    }
  }

  it('attends in slices to the same effect, and without them as if they had never been', () => expectNoLeak(async () => {
    const golden = loadGolden('models/ip_adapter_many');
    const [unet, plain] = [unetOf('sd2'), unetOf('sd2')];
    unet.setAttentionSlice('max');
    const load = async () => unet.setIpAdapters(await loadIpAdapters(unet, await Promise.all([0, 1, 2].map(i => fileOf(`many_${i}`))), false));
    await load();
    await load(); // in their own place
    const paths = [...unet.parameterSpecs().keys()];
    assert.ok(paths.includes('down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k_ip.2.weight'));
    assert.ok(paths.includes('encoder_hid_proj.image_projection_layers.0.layers.1.attn.to_out.0.weight'));
    tf.tidy(() => {
      const [sample, encoderHiddenStates] = ['sample', 'encoderHiddenStates'].map(input => goldenTensor(golden, `0/${input}`));
      const imagePrompts = unet.projectImages([0, 1, 2].map(i => goldenTensor(golden, `0/embeds/${i}`)));
      expectClose(unet.forward(sample, 500, { encoderHiddenStates, imagePrompts }), golden.tensors['0/out'], close);
      unet.setIpAdapters();
      unet.setAttentionSlice(null);
      assert.deepEqual(unet.forward(sample, 500, { encoderHiddenStates }).dataSync(), plain.forward(sample, 500, { encoderHiddenStates }).dataSync());
      assert.throws(() => unet.forward(sample, 500, { encoderHiddenStates, imagePrompts }), /unet imagePrompts: got pictures of 3 IP-Adapters, takes none without IP-Adapters/);
    });
    assert.deepEqual([...unet.parameterSpecs().keys()], [...plain.parameterSpecs().keys()]);
    [unet, plain].forEach(network => network.dispose());
    return [];
  }));

  it('leaves out what acts not at all', () => expectNoLeak(async () => {
    const golden = loadGolden('models/ip_adapter_sd2');
    const unet = unetOf('sd2');
    unet.setIpAdapters(await loadIpAdapters(unet, [await fileOf('sd2_0')], false));
    tf.tidy(() => {
      const [sample, encoderHiddenStates] = ['sample', 'encoderHiddenStates'].map(input => goldenTensor(golden, `0/${input}`));
      const imagePrompts = unet.projectImages([goldenTensor(golden, '0/embeds/0')]);
      unet.setIpAdapterScales(() => 0);
      assert.deepEqual(unet.forward(sample, 500, { encoderHiddenStates, imagePrompts }).dataSync(), unet.forward(sample, 500, { encoderHiddenStates }).dataSync());
    });
    unet.dispose();
    return [];
  }));

  it('refuses files of something else, and for another UNet', () => expectNoLeak(async () => {
    const [sd2, xl] = [unetOf('sd2'), unetOf('xl')];
    const spoilt = async (change: (tensors: Checkpoint['tensors']) => void) => {
      const file = await fileOf('many_0');
      change(file.tensors);
      return loadIpAdapters(sd2, [file], false);
    };
    await assert.rejects(loadIpAdapters(xl, [await fileOf('sd2_0')], false), /sd2_0: is for another UNet: it has 16 attentions, takes 18/);
    await assert.rejects(spoilt(tensors => tensors.delete('ip_adapter.1.to_k_ip.weight')), /missing .*attn2\.processor\.to_k_ip\.0\.weight/);
    await assert.rejects(spoilt(tensors => tensors.delete('image_proj.latents')), /is no IP-Adapter: it holds/);
    await assert.rejects(spoilt(tensors => tensors.delete('image_proj.proj_in.weight')), /is no whole IP-Adapter: image_proj\.proj_in\.weight is missing/);
    await assert.rejects(spoilt(tensors => tensors.set('image_proj.perceiver_resampler.proj_in.weight', tensors.get('image_proj.latents')!)), /is an IP-Adapter FaceID, which takes embeddings of faces/);
    await assert.rejects(spoilt(tensors => tensors.set('ip_adapter.1.to_k_lora.down.weight', tensors.get('image_proj.latents')!)), /unexpected ip_adapter\.1\.to_k_lora\.down\.weight/);
    const simple = unetOf('simple');
    assert.throws(() => simple.newIpAdapters([]), /attends to text and picture at once, with which no IP-Adapter goes together/);
    const projected = unetOf('text_projection');
    assert.throws(() => projected.newIpAdapters([]), /unet: encoder_hid_dim: got \d+, with which no IP-Adapter goes together/);
    [sd2, xl, simple, projected].forEach(unet => unet.dispose());
    return [];
  }));

  it('knows kinds of image projections', async () => {
    const kinds = await Promise.all([0, 1, 2].map(async i => projectionConfig(await fileOf(`many_${i}`))));
    assert.deepEqual(kinds, [
      { kind: 'plus', tokens: 3, hiddenDim: 8, embedDim: 14, outputDim: 32, heads: 1, layers: 4 },
      { kind: 'base', imageEmbedDim: 10, crossAttentionDim: 32, tokens: 4 }, { kind: 'full', imageEmbedDim: 14, crossAttentionDim: 32 },
    ]);
    assert.deepEqual([new ImageProjection(3, 4, 2), new IPAdapterFullImageProjection(3, 4), new IPAdapterPlusImageProjection(kinds[0] as never)].map(each => each.readsStates), [false, true, true]);
  });

  it('makes masks as large as what attends', () => {
    const golden = loadGolden('models/ip_adapter_masks');
    (golden.meta.queries as number[]).forEach((queries, i) => tf.tidy(() => {
      expectClose(downsampleMasks(goldenTensor(golden, `${i}/mask`), queries), golden.tensors[`${i}/out`]);
    }));
  });
});
