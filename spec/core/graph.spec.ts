import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { canCompile, GraphCache } from '../../lib/core/graph.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { describeOnDevices } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

describeOnDevices('compiled networks', device => {
  it('are for the native backend, and elsewhere run as they are', () => assert.equal(canCompile(), device !== 'wasm'));

  it('give what diffusers gives, at changing shapes and timesteps, after changes of weights and attention, and leave nothing', () => {
    const golden = loadGolden('models/unet_sd1');
    const before = tf.memory().numTensors;
    const unet = new UNet2DConditionModel(golden.meta.config);
    setTorchWeights(unet, golden, 'weights/');
    unet.compile();
    const check = (run: number) => tf.tidy(() => {
      const [sample, encoderHiddenStates] = ['sample', 'encoderHiddenStates'].map(input => goldenTensor(golden, `${run}/${input}`));
      const out = unet.forward(sample, golden.meta.timesteps[run], { encoderHiddenStates });
      expectClose(out, golden.tensors[`${run}/out`], { atol: 1e-4, rtol: 1e-4 });
    });
    [0, 1, 2, 1, 0, 0].forEach(check); // recorded, then called
    unet.setAttentionSlice('max');
    check(1);
    check(1);

    const bias = goldenTensor(golden, 'weights/conv_out.bias');
    unet.setParameter('conv_out.bias', tf.zeros([4]));
    assert.throws(() => check(1), /worst at/);
    unet.setParameter('conv_out.bias', bias);
    check(1);
    unet.dispose();
    assert.equal(tf.memory().numTensors, before);
  });

  it('can be a VAE, both ways', () => {
    const golden = loadGolden('models/vae_sd');
    const vae = new AutoencoderKL(golden.meta.config);
    setTorchWeights(vae, golden, 'weights/');
    vae.compile();
    for (const run of [0, 0, 1]) {
      tf.tidy(() => expectClose(vae.decode(goldenTensor(golden, `${run}/latents`)), golden.tensors[`${run}/decoded`], { atol: 1e-4, rtol: 1e-4 }));
      const image = goldenTensor(golden, `${run}/image`);
      const { latentDist } = vae.encode(image);
      expectClose(latentDist.mean, golden.tensors[`${run}/mean`], { atol: 1e-4, rtol: 1e-4 });
      latentDist.dispose();
      image.dispose();
    }
    vae.dispose();
  });

  it('stay while weights come and go, also of other values, and are made anew for weights of another shape, one more, or one less', async () => {
    const before = tf.memory().numTensors;
    let recorded = 0;
    let weights: Record<string, tf.Tensor> = { scale: tf.tensor1d([1, 2]), shift: tf.scalar(3) };
    const free = () => tf.dispose(weights);
    const graphs = new GraphCache({}, () => weights);
    const x = tf.tensor1d([10, 20]);
    const constant = tf.tensor1d([0.5, 0.5]);
    const check = (expected: number[]) => tf.tidy(() => {
      const [y] = graphs.run('affine', given => {
        recorded++;
        const { scale, shift, more } = weights;
        const y = tf.add(tf.mul(tf.reshape(given, scale.shape), scale), tf.add(shift, constant));
        return [more ? tf.add(y, more) : y];
      }, [x]);
      assert.deepEqual([...y.dataSync()], expected);
    });
    const place = (scale: tf.Tensor, shift: number, more?: tf.Tensor) => {
      graphs.forgetWeights();
      free();
      weights = { scale, shift: tf.scalar(shift), ...more && { more } };
    };
    check([13.5, 43.5]);
    check([13.5, 43.5]);
    place(tf.tensor1d([2, 1]), 0);
    check([20.5, 20.5]);
    place(tf.tensor1d([1, 2]), -1);
    check([9.5, 39.5]);
    assert.equal(recorded, canCompile() ? 1 : 4);
    place(tf.tensor2d([[2, 1]]), 0);
    check([20.5, 20.5]);
    check([20.5, 20.5]);
    assert.equal(recorded, canCompile() ? 2 : 6);
    place(tf.tensor2d([[2, 1]]), 0, tf.scalar(1));
    check([21.5, 21.5]);
    place(tf.tensor2d([[2, 1]]), 0);
    check([20.5, 20.5]);
    assert.equal(recorded, canCompile() ? 4 : 8);
    graphs.clear();
    free();
    tf.dispose([x, constant]);
    assert.equal(tf.memory().numTensors, before);
  });

  it('may not read values, which a graph would freeze', () => {
    const cache = new GraphCache();
    const x = tf.tensor1d([1, 2]);
    const reads = () => cache.run('reads', input => [tf.mul(input, tf.sum(input).dataSync()[0])], [x]);
    if (canCompile()) assert.throws(reads, /compile: the network reads a value of a tensor, which a graph cannot do/);
    else tf.dispose(reads());
    tf.tidy(() => expectClose(tf.add(x, 1), { shape: [2], data: [2, 3] })); // the backend is as it was
    x.dispose();
  });
});
