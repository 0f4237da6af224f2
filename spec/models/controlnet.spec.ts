import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { conditionsOf } from '../support/conditions.js';
import { loadGolden, type Golden } from '../support/golden.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

const close = { atol: 1e-4, rtol: 1e-4 };

interface Run {
  timestep: number;
  scale: number;
  guess: boolean;
}

describeOnDevices('ControlNetModel equals diffusers', () => {
  const unetOf = (name: string) => {
    const golden = loadGolden(`models/unet_${name}`);
    const unet = new UNet2DConditionModel(golden.meta.config);
    setTorchWeights(unet, golden, 'weights/');
    return unet;
  };
  const make = (golden: Golden) => {
    const net = new ControlNetModel(golden.meta.config);
    setTorchWeights(net, golden, 'weights/');
    return net;
  };

  for (const name of ['sd2', 'plain', 'xl']) {
    for (const compiled of [false, true]) {
      it(`${name}, and so does a UNet that it steers${compiled ? ', as graphs' : ''}`, () => expectNoLeak(() => {
        const golden = loadGolden(`models/controlnet_${name}`);
        const [net, unet] = [make(golden), unetOf(name)];
        if (compiled) [net, unet].forEach(network => network.compile());
        tf.tidy(() => {
          for (const [run, { timestep, scale, guess }] of (golden.meta.runs as Run[]).entries()) {
            const [sample, encoderHiddenStates, controlnetCond] = ['sample', 'encoderHiddenStates', 'picture'].map(input => goldenTensor(golden, `${run}/${input}`));
            const conditions = { encoderHiddenStates, ...conditionsOf(golden, run) };
            for (let call = 0; call < (compiled ? 2 : 1); call++) { // recorded, then called
              const control = net.forward(sample, timestep, { ...conditions, controlnetCond, conditioningScale: scale, guessMode: guess });
              control.downBlockResSamples.forEach((state, i) => expectClose(state, golden.tensors[`${run}/down/${i}`], close));
              expectClose(control.midBlockResSample, golden.tensors[`${run}/mid`], close);
              expectClose(unet.forward(sample, timestep, { ...conditions, control }), golden.tensors[`${run}/out`], close);
            }
          }
        });
        [net, unet].forEach(network => network.dispose());
        return [];
      }));
    }
  }

  it('made of a UNet has its weights and changes nothing', () => expectNoLeak(() => {
    const unet = unetOf('plain');
    const net = ControlNetModel.fromUnet(unet, { conditioningEmbeddingOutChannels: [4, 8] });
    assert.equal(net.config.conditioning_channels, 3);
    tf.tidy(() => {
      const [sample, encoderHiddenStates] = [tf.randomNormal([1, 6, 6, 4]), tf.randomNormal([1, 3, 8])];
      const control = net.forward(sample, 5, { encoderHiddenStates, controlnetCond: tf.ones([1, 12, 12, 3]) });
      [...control.downBlockResSamples, control.midBlockResSample].forEach(state => assert.equal(state.abs().max().dataSync()[0], 0));
      const plain = unet.forward(sample, 5, { encoderHiddenStates });
      assert.deepEqual(unet.forward(sample, 5, { encoderHiddenStates, control }).dataSync(), plain.dataSync());
      expectClose(net.stateDict()['conv_in.weight'], { shape: [3, 3, 4, 8], data: unet.stateDict()['conv_in.weight'].dataSync() });
    });
    [unet, net].forEach(network => network.dispose());
    return [];
  }));

  it('says what does not fit', () => expectNoLeak(() => tf.tidy(() => {
    const [unet, other] = [unetOf('plain'), unetOf('sd2')];
    const net = ControlNetModel.fromUnet(unet, { conditioningEmbeddingOutChannels: [4, 8] });
    const [sample, encoderHiddenStates] = [tf.zeros([1, 6, 6, 4]), tf.zeros([1, 3, 8])];
    const steer = (controlnetCond: tf.Tensor) => net.forward(sample, 1, { encoderHiddenStates, controlnetCond });
    assert.throws(() => steer(tf.zeros([1, 6, 12, 3])), /controlnet controlnetCond: got shape \[1, 6, 12, 3\], takes \[1, 12, 12, 3\]/);
    assert.throws(() => steer(tf.zeros([1, 12, 12, 1])), /controlnet controlnetCond: got shape \[1, 12, 12, 1\], takes \[1, 12, 12, 3\]/);
    assert.throws(() => other.forward(tf.zeros([1, 8, 8, 4]), 1, { encoderHiddenStates: tf.zeros([1, 3, 32]), control: steer(tf.zeros([1, 12, 12, 3])) }),
      /unet control: got 4 states of the way down, takes 12: it is of a ControlNet for another UNet/);
    assert.throws(() => new ControlNetModel({ controlnet_conditioning_channel_order: 'gbr' }), /controlnet config: controlnet_conditioning_channel_order: got 'gbr', takes 'rgb', 'bgr'/);
    assert.throws(() => new ControlNetModel({ addition_embed_type: 'text_time' }), /controlnet config: addition_time_embed_dim: got null, takes a number where/);
    [unet, other, net].forEach(network => network.dispose());
    return [];
  })));
});
