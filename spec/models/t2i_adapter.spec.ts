import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { MultiAdapter } from '../../lib/models/multi_adapter.js';
import { T2IAdapter } from '../../lib/models/t2i_adapter.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { conditionsOf } from '../support/conditions.js';
import { loadGolden } from '../support/golden.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

const close = { atol: 1e-5, rtol: 1e-5 };
const FOLDER = 'spec/golden/pipelines/t2i';

describeOnDevices('T2IAdapter equals diffusers', () => {
  const unetOf = (name: string) => {
    const golden = loadGolden(`models/unet_${name}`);
    const unet = new UNet2DConditionModel(golden.meta.config);
    setTorchWeights(unet, golden, 'weights/');
    return unet;
  };

  for (const name of ['full', 'light', 'xl', 'no_mid', 'outermost']) {
    for (const compiled of [false, true]) {
      it(`${name}, and so does a UNet that it steers${compiled ? ', as graphs' : ''}`, () => expectNoLeak(() => {
        const golden = loadGolden(`models/t2i_adapter_${name}`);
        const [net, unet] = [new T2IAdapter(golden.meta.config), unetOf(golden.meta.unet)];
        setTorchWeights(net, golden, 'weights/');
        assert.equal(net.totalDownscaleFactor, golden.meta.totalDownscaleFactor);
        if (compiled) [net, unet].forEach(network => network.compile());
        tf.tidy(() => {
          for (const [run, timestep] of (golden.meta.timesteps as number[]).entries()) {
            const [sample, encoderHiddenStates, picture] = ['sample', 'encoderHiddenStates', 'picture'].map(input => goldenTensor(golden, `${run}/${input}`));
            const conditions = { encoderHiddenStates, ...conditionsOf(golden, run) };
            for (let call = 0; call < (compiled ? 2 : 1); call++) { // recorded, then called
              const states = net.forward(picture);
              states.forEach((state, i) => expectClose(state, golden.tensors[`${run}/states/${i}`], close));
              assert.deepEqual(states.map(({ shape }) => shape), net.computeOutputShape(picture.shape));
              expectClose(unet.forward(sample, timestep, { ...conditions, downIntrablockAdditionalResiduals: states }), golden.tensors[`${run}/out`], { atol: 1e-4, rtol: 1e-4 });
            }
          }
        });
        [net, unet].forEach(network => network.dispose());
        return [];
      }));
    }
  }

  it('several, weighted', () => expectNoLeak(() => {
    const golden = loadGolden('models/multi_adapter');
    const nets = new MultiAdapter((golden.meta.configs as object[]).map(config => new T2IAdapter(config)));
    setTorchWeights(nets, golden, 'weights/');
    tf.tidy(() => {
      const pictures = [0, 1].map(i => goldenTensor(golden, `picture/${i}`));
      for (const [name, weights] of Object.entries({ default: undefined, weighted: [0.7, -0.4], second: [0, 1.2] })) {
        const states = nets.forward(pictures, weights);
        assert.deepEqual(states.map(({ shape }) => shape), nets.computeOutputShape(pictures[0].shape));
        states.forEach((state, i) => expectClose(state, golden.tensors[`${name}/${i}`], close));
      }
      nets.forward(pictures, [0, 0]).forEach(state => assert.equal(state.abs().max().dataSync()[0], 0));
    });
    nets.dispose();
    return [];
  }));

  it('is added once for all samples as for each', () => expectNoLeak(() => {
    const golden = loadGolden('models/t2i_adapter_xl');
    const [net, unet] = [new T2IAdapter(golden.meta.config), unetOf('xl')];
    setTorchWeights(net, golden, 'weights/');
    tf.tidy(() => {
      const [sample, encoderHiddenStates, picture] = ['sample', 'encoderHiddenStates', 'picture'].map(input => goldenTensor(golden, `0/${input}`));
      const conditions = { encoderHiddenStates, ...conditionsOf(golden, 0) };
      const states = net.forward(tf.slice(picture, 0, 1));
      assert.equal(states.length, 4); // the last of them for the middle
      const [one, each] = [states, states.map(state => tf.concat([state, state]))]
        .map(states => unet.forward(sample, 5, { ...conditions, downIntrablockAdditionalResiduals: states }));
      expectClose(one, { shape: each.shape, data: each.dataSync() }, close);
    });
    [net, unet].forEach(network => network.dispose());
    return [];
  }));

  it('several are loaded from where diffusers saves them, in what they are asked for', () => expectNoLeak(async () => {
    for (const [source, options] of [
      [FOLDER, {}], [`${FOLDER}/adapter`, {}], [`${FOLDER}/xl/`, {}], [FOLDER, { subfolder: 'xl' }], [FOLDER, { dtype: 'float16' }],
    ] as Array<[string, object]>) {
      const nets = await MultiAdapter.fromPretrained(source, options);
      assert.equal(nets.adapters.length, 2);
      assert.equal(nets.config.constructor, Object);
      assert.equal(nets.adapters[1].config.adapter_type, JSON.stringify([source, options]).includes('xl') ? 'full_adapter_xl' : 'full_adapter');
      assert.equal(nets.weightDtype, 'dtype' in options ? 'float16' : 'float32');
      assert.notDeepEqual(nets.getParameter('adapters.0.adapter.conv_in.weight').dataSync(), nets.getParameter('adapters.1.adapter.conv_in.weight').dataSync());
      nets.dispose();
    }
    await assert.rejects(MultiAdapter.fromPretrained(`${FOLDER}/light`), /^TypeError: adapter: got a list of 1, takes at least two; one is a T2IAdapter$/);
    await assert.rejects(MultiAdapter.fromPretrained(FOLDER, { subfolder: 'none' }), /none\/config\.json: there is no such file|none: has no weights/);
    return [];
  }));

  it('says what does not fit', () => expectNoLeak(() => tf.tidy(() => {
    const [net, grey] = [{}, { in_channels: 1 }].map(more => new T2IAdapter({ channels: [8, 16], num_res_blocks: 1, downscale_factor: 2, ...more }));
    assert.throws(() => net.forward(tf.zeros([1, 8, 8, 1])), /^RangeError: adapter picture: got shape \[1, 8, 8, 1\], takes \[\*, \*, \*, 3\]$/);
    assert.throws(() => net.forward(tf.zeros([1, 8, 9, 3])), /^RangeError: adapter picture: got 8 x 9 pixels, takes multiples of 2$/);
    assert.throws(() => new MultiAdapter([net]), /^TypeError: adapter: got a list of 1, takes at least two/);
    const other = new T2IAdapter({ channels: [8, 16], num_res_blocks: 1, downscale_factor: 4 });
    assert.throws(() => new MultiAdapter([net, other]), /^RangeError: adapter: got states of channels \[8 at 1\/2, 16 at 1\/4\] and \[8 at 1\/4, 16 at 1\/8\], takes adapters with the same$/);
    const both = new MultiAdapter([net, grey]);
    assert.throws(() => both.forward([tf.zeros([1, 4, 4, 3])]), /^RangeError: adapter pictures: got a list of 1, takes one of 2$/);
    assert.throws(() => both.forward([tf.zeros([1, 4, 4, 3]), tf.zeros([1, 4, 4, 1])], [1]), /^RangeError: adapter weights: got a list of 1, takes one of 2$/);
    const refused = (config: object, message: RegExp) => assert.throws(() => new T2IAdapter(config), message);
    refused({ adapter_type: 'heavy_adapter' }, /^RangeError: adapter config: adapter_type: got 'heavy_adapter', takes 'full_adapter', 'full_adapter_xl', 'light_adapter'$/);
    refused({ channels: [4, 3], adapter_type: 'light_adapter' }, /^RangeError: adapter config: channels: got 3, takes a whole number, 4 or more$/);
    refused({ channels: [4, 4, 8, 4], adapter_type: 'full_adapter_xl' }, /^RangeError: adapter config: channels: got \[4, 4, 8, 4\], takes the same number from the third on/);
    refused({ downscale_factor: 0 }, /^RangeError: adapter config: downscale_factor: got 0, takes a whole number, 1 or more$/);
    refused({ num_res_blocks: 17 }, /^RangeError: adapter config: num_res_blocks: got 17, takes whole numbers up to 16$/);
    const unet = unetOf('plain');
    const led = { encoderHiddenStates: tf.zeros([2, 3, 8]) };
    for (const shape of [[2, 8, 8, 8], [3, 4, 4, 8]]) {
      assert.throws(() => unet.forward(tf.zeros([2, 8, 8, 4]), 1, { ...led, downIntrablockAdditionalResiduals: [tf.zeros(shape)] }),
        /^RangeError: unet downIntrablockAdditionalResiduals: got shape \[\d, \d, \d, 8\], takes \[2, 4, 4, 8\]$/);
    }
    [net, grey, other, unet].forEach(network => network.dispose());
    return [];
  })));
});
