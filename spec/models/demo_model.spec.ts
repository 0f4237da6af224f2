import * as tf from '@tensorflow/tfjs';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { describeOnDevices } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { loadGolden } from '../support/golden.js';
import { goldenTensor } from '../support/weights.js';

describeOnDevices('the networks of the bundled model equal diffusers', () => {
  const golden = loadGolden('models/demo');
  const close = { atol: 1e-4, rtol: 1e-4 };

  it('text encoder', async () => {
    const model = await CLIPTextModel.fromPretrained(DEMO_MODEL, { subfolder: 'text_encoder' });
    tf.tidy(() => expectClose(model.forward(golden.meta.inputIds).lastHiddenState, golden.tensors.text, close));
    model.dispose();
  });

  it('unet', async () => {
    const unet = await UNet2DConditionModel.fromPretrained(DEMO_MODEL, { subfolder: 'unet' });
    for (const [i, timestep] of golden.meta.timesteps.entries()) {
      tf.tidy(() => {
        const out = unet.forward(goldenTensor(golden, `${i}/sample`), timestep, { encoderHiddenStates: goldenTensor(golden, 'text') });
        expectClose(out, golden.tensors[`${i}/predicted`], close);
      });
    }
    unet.dispose();
  });

  it('vae', async () => {
    const vae = await AutoencoderKL.fromPretrained(DEMO_MODEL, { subfolder: 'vae' });
    for (const i of [0, 1]) tf.tidy(() => expectClose(vae.decode(goldenTensor(golden, `${i}/sample`)), golden.tensors[`${i}/decoded`], close));
    vae.dispose();
  });
});
