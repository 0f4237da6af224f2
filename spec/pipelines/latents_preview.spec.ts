import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { LatentsPreview } from '../../lib/pipelines/run/latents_preview.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { DEMO_MODEL } from '../support/demo_model.js';

describeOnDevices('LatentsPreview', () => {
  let vae: AutoencoderKL;
  before(async () => { vae = await AutoencoderKL.fromPretrained(DEMO_MODEL, { subfolder: 'vae' }); });
  after(() => { vae.dispose(); });

  it('shows the colours of a picture from its latents', async () => {
    const preview = await LatentsPreview.fit(vae);
    for (const colour of [[220, 40, 40], [40, 80, 220], [245, 245, 245], [20, 20, 25]]) {
      const latents = tf.tidy(() => {
        const picture = tf.tile(tf.tensor(colour, [1, 1, 1, 3]).div(127.5).sub(1), [1, 32, 24, 1]) as tf.Tensor4D;
        return vae.encode(picture).latentDist.mode().mul(vae.config.scaling_factor);
      });
      const [{ data, width, height }] = await preview.toImages(latents);
      latents.dispose();
      assert.deepEqual([width, height], [6, 8]);
      const centre = [...data.slice(3 * (4 * 6 + 3)).slice(0, 3)];
      assert.ok(centre.every((value, i) => Math.abs(value - colour[i]) < 90), `${centre} for ${colour}`);
    }
    preview.dispose();
  });

  it('leaves no tensor behind', async () => {
    await expectNoLeak(async () => {
      const preview = await LatentsPreview.fit(vae);
      const latents = tf.randomNormal([2, 4, 4, 4]);
      assert.equal((await preview.toImages(latents)).length, 2);
      latents.dispose();
      preview.dispose();
      return [];
    });
  });
});
