import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PatchEmbed } from '../../lib/layers/patch_embed.js';
import { SD3ControlNetModel } from '../../lib/models/sd3_controlnet.js';
import { SD3Transformer2DModel } from '../../lib/models/sd3_transformer_2d_model.js';
import { TF } from '../../lib/runtime/native/binding.js';
import type { NativeBackend } from '../../lib/runtime/native/native_backend.js';
import { convertModel } from '../../weights-converter/convert.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose, expectValues } from '../support/close.js';
import { loadGolden, type Golden } from '../support/golden.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

const close = { atol: 1e-4, rtol: 1e-4 };

interface Run {
  timestep: number | number[];
  skip?: number[];
  control?: number;
}

const KINDS = ['3', '35_large', '35_medium'];

function load(name: string): { golden: Golden; net: SD3Transformer2DModel } {
  const golden = loadGolden(`models/sd3_transformer_${name}`);
  const net = new SD3Transformer2DModel(golden.meta.config);
  setTorchWeights(net, golden, 'weights/');
  return { golden, net };
}

/** What the net gives at a run of the golden. */
function predict(net: SD3Transformer2DModel, golden: Golden, run: number): tf.Tensor {
  return tf.tidy(() => {
    const { timestep, skip, control = 0 } = golden.meta.runs[run] as Run;
    const [sample, encoderHiddenStates, pooledProjections] = ['sample', 'encoderHiddenStates', 'pooledProjections']
      .map(input => goldenTensor(golden, `${run}/${input}`));
    const samples = Array.from({ length: control }, (_, i) => goldenTensor(golden, `${run}/control/${i}`));
    return net.forward(sample, timestep, {
      encoderHiddenStates, pooledProjections, skipLayers: skip, controlnetBlockSamples: control ? samples : undefined,
    });
  });
}

describeOnDevices('SD3Transformer2DModel equals diffusers', () => {
  for (const name of KINDS) {
    for (const compiled of [false, true]) {
      it(`${name}${compiled ? ', as a graph where the backend has them' : ''}`, () => expectNoLeak(async () => {
        const { golden, net } = load(name);
        if (compiled) net.compile();
        for (let call = 0; call < (compiled ? 2 : 1); call++) { // recorded, then called
          for (const run of golden.meta.runs.keys()) {
            const out = predict(net, golden, run);
            await expectValues(out, golden.tensors[`${run}/out`], close);
            out.dispose();
          }
        }
        net.dispose();
        return [];
      }));
    }
  }
}, { awaits: true });

describeOnDevices('SD3ControlNetModel equals diffusers', () => {
  for (const name of ['3', '35_medium', '35_large', 'unplaced']) {
    for (const compiled of [false, true]) {
      it(`${name}${compiled ? ', as a graph where the backend has them' : ''}`, () => expectNoLeak(async () => {
        const golden = loadGolden(`models/sd3_controlnet_${name}`);
        const net = new SD3ControlNetModel(golden.meta.config);
        setTorchWeights(net, golden, 'weights/');
        if (compiled) net.compile();
        for (let call = 0; call < (compiled ? 2 : 1); call++) {
          for (const [run, { timestep, scale }] of (golden.meta.runs as Array<{ timestep: number; scale: number }>).entries()) {
            const given = (input: string) => goldenTensor(golden, `${run}/${input}`);
            const { controlnetBlockSamples: samples } = tf.tidy(() => net.forward(given('sample'), timestep, {
              encoderHiddenStates: golden.meta.config.joint_attention_dim === null ? undefined : given('encoderHiddenStates'),
              pooledProjections: given('pooledProjections'), controlnetCond: given('controlnetCond'), conditioningScale: scale,
            }));
            assert.equal(samples.length, golden.meta.config.num_layers);
            for (const [i, sample] of samples.entries()) await expectValues(sample, golden.tensors[`${run}/out/${i}`], close);
            tf.dispose(samples);
          }
        }
        net.dispose();
        return [];
      }));
    }
  }
}, { awaits: true });

describeOnDevices('SD3Transformer2DModel', device => {
  const folder = temporaryFolder();

  it('knows the shape of what it gives', () => {
    const { net } = load('3');
    assert.deepEqual(net.computeOutputShape([2, 8, null, 4]), [2, 8, null, 6]);
    assert.deepEqual(new PatchEmbed({ patchSize: 2, inChannels: 4, dim: 8 }).computeOutputShape([2, 8, 6, 4]), [2, 12, 8]);
    net.dispose();
  });

  it('attends in slices to the same effect', () => expectNoLeak(() => {
    const { golden, net } = load('35_medium');
    for (const slice of ['max', 'auto', 1, null] as const) {
      net.setAttentionSlice(slice);
      tf.tidy(() => expectClose(predict(net, golden, 0), golden.tensors['0/out'], close));
    }
    assert.throws(() => net.setAttentionSlice(3), /attention slice \(heads at once\): got 3, takes a whole number, from 1 to 2/);
    net.dispose();
    return [];
  }));

  it('steers and is steered: patches for a ControlNet without its own, and what that gives for each block', () => expectNoLeak(() => {
    const { net } = load('3');
    const controlnet = new SD3ControlNetModel({ ...net.config, num_layers: 1, joint_attention_dim: null, use_pos_embed: false });
    tf.tidy(() => {
      const [sample, pooledProjections] = [tf.randomNormal([1, 4, 6, 4]), tf.zeros([1, 10])];
      const { controlnetBlockSamples } = controlnet.forward(net.embedPatches(sample), 3.5, { pooledProjections, controlnetCond: sample });
      const told = { pooledProjections, encoderHiddenStates: tf.zeros([1, 2, 12]) };
      const [led, free] = [{ ...told, controlnetBlockSamples }, told].map(each => net.forward(sample, 3.5, each));
      assert.ok(tf.max(tf.abs(tf.sub(led, free))).dataSync()[0] > 1e-3);
    });
    [net, controlnet].forEach(each => each.dispose());
    return [];
  }));

  it('gives a ControlNet its first layers, which changes nothing yet', () => expectNoLeak(() => {
    const { net } = load('35_medium');
    const layers = net.config.num_layers;
    const controlnet = SD3ControlNetModel.fromTransformer(net, { numLayers: layers - 1, numExtraConditioningChannels: 0 });
    assert.deepEqual(controlnet.config, { // as diffusers' from_transformer makes it
      ...net.config, num_layers: layers - 1, extra_conditioning_channels: 0, pos_embed_type: 'sincos', use_pos_embed: true, force_zeros_for_pooled_projection: true,
    });
    const [theirs, own] = [net.stateDict(), controlnet.stateDict()];
    const zeros = Object.keys(own).filter(path => !Object.hasOwn(theirs, path));
    assert.deepEqual(new Set(zeros.map(path => path.split('.')[0])), new Set(['controlnet_blocks', 'pos_embed_input']));
    for (const [path, tensor] of Object.entries(own)) {
      assert.deepEqual(tensor.dataSync(), zeros.includes(path) ? new Float32Array(tensor.size) : theirs[path].dataSync(), path);
    }
    const bare = SD3ControlNetModel.fromTransformer(net, { numLayers: null, loadWeightsFromTransformer: false });
    assert.deepEqual([bare.config.num_layers, bare.config.extra_conditioning_channels], [layers, 1]);
    assert.throws(() => SD3ControlNetModel.fromTransformer(net),
      new RangeError(`numLayers: got 12, takes less than ${layers}: the transformer's last layer is built otherwise`));
    assert.throws(() => SD3ControlNetModel.fromTransformer(net, { num_layers: 1 } as object), /there is no option 'num_layers': it is called numLayers here/);
    [net, controlnet, bare].forEach(each => each.dispose());
    return [];
  }));

  it('has no number of places where it has no places, as in Stability\'s ControlNets', () => {
    const config = { joint_attention_dim: null, num_layers: 1, pos_embed_max_size: null };
    assert.equal(new SD3ControlNetModel({ ...config, use_pos_embed: false, pos_embed_type: null }).config.pos_embed_max_size, null);
    assert.throws(() => new SD3ControlNetModel(config), /^RangeError: controlnet config: pos_embed_max_size: got null, takes a number where use_pos_embed is true$/);
  });

  it('comes back as it was saved, and in fewer bits', () => expectNoLeak(async () => {
    const { golden, net } = load('35_medium');
    const saved = join(folder(), 'saved');
    await net.savePretrained(saved);
    const config = JSON.parse(readFileSync(join(saved, 'config.json'), 'utf8'));
    assert.equal(config._class_name, 'SD3Transformer2DModel');
    assert.deepEqual(config.dual_attention_layers, [0, 2]);
    net.dispose();
    const scale = Math.max(...golden.tensors['0/out'].data as unknown as number[]);
    for (const [dtype, share] of [[undefined, 1e-5], ['int8', 0.05], ['int4', 0.5]] as const) {
      const converted = dtype ? join(folder(), dtype) : saved;
      if (dtype) await convertModel(saved, converted, { dtype });
      const loaded = await SD3Transformer2DModel.fromPretrained(converted);
      tf.tidy(() => expectClose(predict(loaded, golden, 0), golden.tensors['0/out'], { atol: share * scale, rtol: 0 }));
      loaded.dispose();
    }
    return [];
  }));

  for (const [dtype, type, rounding] of [['float16', TF.HALF, 2 ** -11], ['bfloat16', TF.BFLOAT16, 2 ** -8]] as const) {
    it(`${dtype}: stays near float32, and gives float32`, () => expectNoLeak(async () => {
      const { golden, net } = load('35_medium');
      const saved = join(folder(), dtype);
      await net.savePretrained(saved);
      net.dispose();
      const half = await SD3Transformer2DModel.fromPretrained(saved, { dtype });
      const backend = tf.backend() as NativeBackend;
      const typesOf = (tensors: tf.Tensor[]) => [...new Set(tensors.map(({ dataId }) => backend.dataOf(dataId).dtype))];
      if (device !== 'wasm') assert.deepEqual(typesOf(Object.values(half.stateDict())), [type]);
      for (const run of golden.meta.runs.keys()) {
        const scale = Math.max(...golden.tensors[`${run}/out`].data as unknown as number[]);
        tf.tidy(() => {
          const out = predict(half, golden, run);
          if (device !== 'wasm') assert.deepEqual(typesOf([out]), [TF.FLOAT]);
          expectClose(out, golden.tensors[`${run}/out`], { atol: 20 * rounding * scale, rtol: 0 });
        });
      }
      half.dispose();
      return [];
    }));
  }

  it('refuses inputs that do not fit', () => expectNoLeak(() => tf.tidy(() => {
    const { net } = load('3');
    const told = { encoderHiddenStates: tf.zeros([1, 2, 12]), pooledProjections: tf.zeros([1, 10]) };
    const sample = tf.zeros([1, 4, 4, 4]);
    const refuse = (run: () => unknown, message: RegExp) => assert.throws(run, message);
    refuse(() => net.forward(tf.zeros([1, 4, 4, 3]), 1, told), /^RangeError: transformer sample: got shape \[1, 4, 4, 3\], takes \[\*, \*, \*, 4\]$/);
    refuse(() => net.forward(tf.zeros([1, 4, 5, 4]), 1, told), /^RangeError: transformer sample: got 4 x 5, takes multiples of the patch size 2$/);
    refuse(() => net.forward(tf.zeros([1, 4, 14, 4]), 1, told), /^RangeError: transformer sample: got 4 x 14, takes up to 12 each, 6 patches \(pos_embed_max_size\) of 2$/);
    refuse(() => net.forward(sample, [1, 2], told), /^RangeError: transformer timestep: got 2 timesteps, takes 1 or 1, one for each sample$/);
    refuse(() => net.forward(sample, 1, { ...told, encoderHiddenStates: tf.zeros([2, 2, 12]) }), /^RangeError: transformer encoderHiddenStates: got shape \[2, 2, 12\], takes \[1, \*, 12\]$/);
    refuse(() => net.forward(sample, 1, { ...told, pooledProjections: tf.zeros([1, 9]) }), /^RangeError: transformer pooledProjections: got shape \[1, 9\], takes \[1, 10\]$/);
    refuse(() => net.forward(sample, 1, { ...told, skipLayers: [2] }), /^RangeError: transformer skipLayers: got 2, takes a whole number, from 0 to 1$/);
    refuse(() => net.forward(sample, 1, { ...told, controlnetBlockSamples: [] }), /^RangeError: transformer controlnetBlockSamples: number of them: got 0, takes a whole number, 1 or more$/);
    refuse(() => net.forward(sample, 1, { ...told, controlnetBlockSamples: [tf.zeros([1, 3, 8])] }), /^RangeError: transformer controlnetBlockSamples: got shape \[1, 3, 8\], takes \[1, 4, 8\]$/);
    const controlnet = new SD3ControlNetModel(loadGolden('models/sd3_controlnet_35_large').meta.config);
    const control = { pooledProjections: told.pooledProjections, controlnetCond: sample };
    refuse(() => controlnet.forward(tf.zeros([1, 4, 8]), 1, { ...control, encoderHiddenStates: told.encoderHiddenStates }),
      /^TypeError: controlnet encoderHiddenStates: got a tensor, takes none where joint_attention_dim is null$/);
    refuse(() => controlnet.forward(tf.zeros([1, 3, 8]), 1, control), /^RangeError: controlnet sample \(patches\): got shape \[1, 3, 8\], takes \[1, 4, 8\]$/);
    const joint = new SD3ControlNetModel(loadGolden('models/sd3_controlnet_3').meta.config);
    refuse(() => joint.forward(sample, 1, { ...control, controlnetCond: tf.zeros([1, 4, 4, 5]) }),
      /^TypeError: controlnet encoderHiddenStates: got undefined, takes a tensor \[batch, tokens, 12\]$/);
    refuse(() => joint.forward(sample, 1, { ...control, ...told }), /^RangeError: controlnet controlnetCond: got shape \[1, 4, 4, 4\], takes \[1, 4, 4, 5\]$/);
    [net, controlnet, joint].forEach(each => each.dispose());
    return [];
  })));
});

describe('networks of Stable Diffusion 3 refuse configs', () => {
  const refused: Array<[string, object, RegExp]> = [
    ['with more layers than any has', { num_layers: 257 }, /^RangeError: transformer config: num_layers: got 257, takes whole numbers up to 256$/],
    ['without layers', { num_layers: 0 }, /^RangeError: transformer config: num_layers: got 0, takes a whole number, 1 or more$/],
    ['with another norm', { qk_norm: 'layer_norm' }, /^RangeError: transformer config: qk_norm: got 'layer_norm', takes null, 'rms_norm'$/],
    ['with a text of another size', { caption_projection_dim: 1536 }, /^RangeError: transformer config: caption_projection_dim: got 1536, takes 1152, num_attention_heads times attention_head_dim$/],
    ['with more positions than fit', { pos_embed_max_size: 1e5 }, /^RangeError: transformer config: pos_embed_max_size: got 100000, takes whole numbers up to 4096$/],
    ['with layers that are no numbers', { dual_attention_layers: ['0'] }, /^TypeError: transformer config: dual_attention_layers: got \[0\], takes a value like \[0\]$/],
    ['with one layer for a list', { dual_attention_layers: 3 }, /^TypeError: transformer config: dual_attention_layers: got 3, takes a value like \[0\]$/],
    ['with a list without end', { dual_attention_layers: Array(300).fill(1) }, /^TypeError: transformer config: dual_attention_layers: got \[1, 1, /],
    ['without a text', { joint_attention_dim: null }, /^TypeError: transformer config: joint_attention_dim: got null, takes a value like 4096$/],
  ];
  for (const [title, config, message] of refused) it(title, () => assert.throws(() => new SD3Transformer2DModel(config), message));

  it('of ControlNets', () => {
    assert.throws(() => new SD3ControlNetModel({ pos_embed_type: 'rope' }), /^RangeError: controlnet config: pos_embed_type: got 'rope', takes null, 'sincos'$/);
  });
});

describe('networks of Stable Diffusion 3 have as many parameters as', () => {
  const medium = { num_layers: 24, num_attention_heads: 24, caption_projection_dim: 1536 };
  const kinds = {
    'SD3 medium': [{ ...medium, pos_embed_max_size: 192 }, 2_084_951_104],
    'SD3.5 medium': [{ ...medium, pos_embed_max_size: 384, qk_norm: 'rms_norm', dual_attention_layers: Array.from({ length: 13 }, (_, i) => i) }, 2_469_663_936],
    'SD3.5 large': [{ num_layers: 38, num_attention_heads: 38, caption_projection_dim: 2432, pos_embed_max_size: 192, qk_norm: 'rms_norm' }, 8_146_280_768],
  } as const;
  for (const [name, [config, count]] of Object.entries(kinds)) {
    it(name, () => assert.equal(new SD3Transformer2DModel(config as never).numParameters, count));
  }
});
