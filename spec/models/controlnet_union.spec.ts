import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { ControlNetUnionModel } from '../../lib/models/controlnet_union.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { conditionsOf } from '../support/conditions.js';
import { loadGolden } from '../support/golden.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { TINY_UNION } from '../support/tiny_pipeline.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

const close = { atol: 1e-4, rtol: 1e-4 };

interface Run {
  modes: number[];
  scale: number | number[];
  guess?: boolean;
}

describeOnDevices('ControlNetUnionModel equals diffusers', () => {
  const folder = temporaryFolder();
  const golden = loadGolden('models/controlnet_union');
  const make = () => {
    const net = new ControlNetUnionModel(golden.meta.config);
    setTorchWeights(net, golden, 'weights/');
    return net;
  };
  const steer = (net: ControlNetUnionModel, run: number, options: object = {}) => {
    const { modes, scale, guess } = (golden.meta.runs as Run[])[run];
    return net.forward(goldenTensor(golden, `${run}/sample`), golden.meta.timesteps[run] as number, {
      encoderHiddenStates: goldenTensor(golden, `${run}/encoderHiddenStates`), ...conditionsOf(golden, run), conditioningScale: scale, guessMode: guess,
      controlnetCond: modes.map((_, i) => goldenTensor(golden, `${run}/picture/${i}`)), controlTypeIdx: modes, ...options,
    });
  };

  for (const compiled of [false, true]) {
    for (const [run, options] of (golden.meta.runs as Run[]).entries()) {
      it(`${JSON.stringify(options)}${compiled ? ', as graphs' : ''}`, () => expectNoLeak(() => {
        const net = make();
        if (compiled) net.compile();
        for (let call = 0; call < (compiled ? 2 : 1); call++) { // recorded, then called
          tf.tidy(() => {
            const { downBlockResSamples, midBlockResSample } = steer(net, run);
            downBlockResSamples.forEach((state, i) => expectClose(state, golden.tensors[`${run}/down/${i}`], close));
            expectClose(midBlockResSample, golden.tensors[`${run}/mid`], close);
          });
        }
        net.dispose();
        return [];
      }));
    }
  }

  it('loads a folder, also in half precision, and one whose config calls it a ControlNetModel, as its authors\' do', () => expectNoLeak(async () => {
    const path = join(folder(), 'xinsir');
    cpSync(TINY_UNION, path, { recursive: true });
    const config = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as object;
    writeFileSync(join(path, 'config.json'), JSON.stringify({ ...config, _class_name: 'ControlNetModel' }));
    const nets = await Promise.all([TINY_UNION, path].map(each => ControlNetUnionModel.fromPretrained(each)));
    const half = await ControlNetUnionModel.fromPretrained(path, { dtype: 'float16' });
    tf.tidy(() => {
      const picture = tf.tile(tf.reshape(tf.linspace(0, 1, 48), [1, 4, 4, 3]), [1, 2, 2, 1]);
      const give = (net: ControlNetUnionModel) => net.forward(tf.ones([1, 4, 4, 4]), 5, {
        encoderHiddenStates: tf.ones([1, 2, 24]), addedCondKwargs: { textEmbeds: tf.ones([1, 12]), timeIds: [[1, 2, 3, 4, 5, 6]] },
        controlnetCond: [picture, picture], controlTypeIdx: [7, 3],
      }).midBlockResSample;
      const [first, second] = nets.map(give);
      expectClose(second, { shape: first.shape, data: first.dataSync() }, close);
      expectClose(give(half), { shape: first.shape, data: first.dataSync() }, { atol: 0.02, rtol: 0.02 });
    });
    await assert.rejects(ControlNetModel.fromPretrained(TINY_UNION), /config\.json: _class_name: got 'ControlNetUnionModel', takes 'ControlNetModel'$/);
    await assert.rejects(ControlNetModel.fromPretrained(path), /^WeightsError: ControlNetModel: the weights of .* do not fit: unexpected control_add_embedding\.linear_1\.bias/);
    [...nets, half].forEach(net => net.dispose());
    return [];
  }));

  it('says what does not fit', () => expectNoLeak(() => tf.tidy(() => {
    const net = make();
    const refused = (message: RegExp, options: object, run = 0) => assert.throws(() => steer(net, run, options), message);
    refused(/^RangeError: controlnet controlTypeIdx: got 6, takes a whole number, from 0 to 5$/, { controlTypeIdx: [6] });
    refused(/^RangeError: controlnet controlTypeIdx: got an empty list, takes at least one mode$/, { controlTypeIdx: [] });
    refused(/^RangeError: controlnet controlnetCond: got a list of 1, takes 2, one for each mode of \[0, 1\]$/, { controlTypeIdx: [0, 1] });
    refused(/^RangeError: controlnet conditioningScale: got a list of 1, takes 2, one for each mode of \[4, 2\]$/, { conditioningScale: [1] }, 1);
    refused(/^RangeError: controlnet controlnetCond: got shape \[1, 4, 4, 3\], takes \[2, 16, 16, 3\]$/, { controlnetCond: [tf.zeros([1, 4, 4, 3])] });
    const config = (changes: object) => () => new ControlNetUnionModel({ ...golden.meta.config, ...changes });
    assert.throws(config({ num_trans_channel: 320 }), /^RangeError: controlnet config: num_trans_channel: got 320, takes the first of block_out_channels, 8$/);
    assert.throws(config({ num_trans_head: 3 }), /^RangeError: controlnet config: num_trans_head: got 3, takes a number that divides num_trans_channel, 8$/);
    assert.throws(config({ addition_embed_type: null, addition_time_embed_dim: null }), /^RangeError: controlnet config: addition_time_embed_dim: got null, takes a number$/);
    assert.throws(config({ controlnet_conditioning_channel_order: 'bgr' }), /^RangeError: controlnet config: controlnet_conditioning_channel_order: got 'bgr', takes 'rgb'$/);
    net.dispose();
    return [];
  })));
});
