import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { readSafetensorsHeader } from '../../lib/weights/safetensors.js';
import { findWeightFiles } from '../../lib/weights/weight_files.js';
import { convertModel } from '../../weights-converter/convert.js';
import { openSource } from '../../weights-converter/open_source.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { MemoryFolder } from '../support/memory_folder.js';

describeOnDevices('openSource', () => {
  const checkpoint = 'spec/golden/checkpoints/vae.ckpt';
  let root: string;
  before(() => { root = mkdtempSync(join(tmpdir(), 'source-')); });
  after(() => rmSync(root, { recursive: true }));

  it('loads a single-file VAE that gives what diffusers gives, at once or converted', async () => {
    const { tensors } = loadGolden('checkpoints/vae');
    const tensor = (name: string) => tf.tensor(tensors[name].data as Float32Array, [...tensors[name].shape]);
    await convertModel(checkpoint, join(root, 'out'), { verify: true });
    for (const source of [await openSource(checkpoint), join(root, 'out')]) {
      await expectNoLeak(async () => {
        const vae = await AutoencoderKL.fromPretrained(source);
        const [latents, image] = [tensor('latents'), tensor('image')];
        const decoded = vae.decode(latents);
        const { mean, logvar } = vae.encode(image).latentDist;
        expectClose(decoded, tensors.decoded, { atol: 1e-4, rtol: 1e-4 });
        expectClose(mean, tensors.mean, { atol: 1e-4, rtol: 1e-4 });
        vae.dispose();
        tf.dispose([latents, image, decoded, mean, logvar]);
        return [];
      });
    }
  });
});

describe('openSource of a folder', () => {
  const pickle = readFileSync('spec/golden/checkpoints/state.ckpt');

  it('shows pickled weights as safetensors files, of any variant', async () => {
    const folder = new MemoryFolder({ 'unet/diffusion_pytorch_model.bin': pickle, 'text_encoder/pytorch_model.fp16.bin': pickle });
    const source = await openSource(folder);
    assert.deepEqual(await findWeightFiles(source, { subfolder: 'unet' }), ['diffusion_pytorch_model.safetensors']);
    assert.deepEqual(await findWeightFiles(source, { subfolder: 'text_encoder', variant: 'fp16' }), ['model.fp16.safetensors']);
    const file = await source.open('text_encoder/model.fp16.safetensors');
    const { tensors } = await readSafetensorsHeader(file);
    assert.deepEqual(tensors.get('float16')!.shape, [3, 4]);
    await file.close();
    assert.equal(folder.openSources, 0);
  });

  it('prefers safetensors', async () => {
    const source = await openSource(new MemoryFolder({ 'model.safetensors': 'abc', 'pytorch_model.bin': pickle }));
    const file = await source.open('model.safetensors');
    assert.equal(file.size, 3);
  });

  it('refuses what is neither a file nor a folder', async () => {
    await assert.rejects(openSource('/no/such/model'), /^ModelFileError: \/no\/such\/model: there is no such folder$/);
    await assert.rejects(openSource('package.json'), /package\.json: is no safetensors file/);
  });
});
