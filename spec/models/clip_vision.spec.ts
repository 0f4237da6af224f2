import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { Image } from '../../lib/image/image.js';
import { CLIPImageProcessor } from '../../lib/models/clip_image_processor.js';
import { CLIPVisionModelWithProjection } from '../../lib/models/clip_vision_model.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { MemoryFolder } from '../support/memory_folder.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

const close = { atol: 1e-4, rtol: 1e-4 };

describeOnDevices('CLIPVisionModelWithProjection equals transformers', () => {
  for (const name of ['gelu', 'quick']) {
    for (const compiled of [false, true]) {
      it(`${name}${compiled ? ', as a graph' : ''}`, () => expectNoLeak(() => {
        const golden = loadGolden(`models/clip_vision_${name}`);
        const model = new CLIPVisionModelWithProjection(golden.meta.config);
        setTorchWeights(model, golden, 'weights/');
        if (compiled) model.compile();
        tf.tidy(() => {
          for (const run of [0, 1]) {
            for (let call = 0; call < (compiled ? 2 : 1); call++) { // recorded, then called
              const { imageEmbeds, lastHiddenState, hiddenStates } = model.forward(goldenTensor(golden, `${run}/pixels`));
              expectClose(imageEmbeds, golden.tensors[`${run}/embeds`], close);
              expectClose(lastHiddenState, golden.tensors[`${run}/last`], close);
              hiddenStates.forEach((state, i) => expectClose(state, golden.tensors[`${run}/hidden/${i}`], close));
              assert.equal(hiddenStates.length, golden.meta.config.num_hidden_layers + 1);
            }
          }
        });
        model.dispose();
        return [];
      }));
    }
  }

  it('says what does not fit', () => tf.tidy(() => {
    const refused: Array<[object, RegExp]> = [
      [{ patch_size: 0 }, /image encoder config: patch_size: got 0, takes a whole number, 1 or more/],
      [{ image_size: 30 }, /patch_size: got 32, takes a number from 1 to image_size, 30/],
      [{ image_size: 5000 }, /image_size: got 5000, takes whole numbers up to 4096/],
      [{ num_attention_heads: 7 }, /num_attention_heads: got 7, takes a number that divides hidden_size, 768/],
      [{ hidden_act: 'elu' }, /image encoder config: hidden_act: got 'elu'/],
      [{ num_hidden_layers: 1000 }, /num_hidden_layers: got 1000/],
    ];
    for (const [config, message] of refused) assert.throws(() => new CLIPVisionModelWithProjection(config), message);
    const model = new CLIPVisionModelWithProjection({ image_size: 8, patch_size: 4, hidden_size: 4, num_attention_heads: 2, num_hidden_layers: 1 });
    assert.throws(() => model.forward(tf.zeros([1, 8, 9, 3])), /image encoder pixels: got shape \[1, 8, 9, 3\], takes \[\*, 8, 8, 3\]/);
    model.dispose();
  }));
});

describeOnDevices('CLIPImageProcessor equals transformers', () => {
  const golden = loadGolden('models/clip_image_processor');
  for (const [name, [config, sizes]] of Object.entries<[object, Array<[number, number]>]>(golden.meta.cases)) {
    it(name, () => expectNoLeak(() => {
      const processor = new CLIPImageProcessor(config);
      sizes.forEach(([width, height], i) => {
        const pixels = processor.preprocess(new Image(Uint8Array.from(golden.tensors[`${name}/${i}/image`].data), width, height));
        const rows = name === 'default' ? tf.tidy(() => tf.gather(pixels, tf.range(0, 224, 20, 'int32'), 1)) : pixels;
        expectClose(rows, golden.tensors[`${name}/${i}/pixels`], { atol: 2e-6, rtol: 1e-6 });
        tf.dispose([pixels, rows]);
      });
      return [];
    }));
  }

  it('reads preprocessor_config.json, and takes several pictures', async () => {
    const text = JSON.stringify({ image_processor_type: 'CLIPImageProcessor', size: 12, crop_size: 10 });
    const processor = await CLIPImageProcessor.fromPretrained(new MemoryFolder({ 'feature_extractor/preprocessor_config.json': new TextEncoder().encode(text) }), { subfolder: 'feature_extractor' });
    assert.deepEqual(processor.config.size, { shortest_edge: 12 });
    await expectNoLeak(() => {
      const pixels = processor.preprocess([new Image(new Uint8Array(20 * 30 * 3), 20, 30), new Image(new Uint8Array(15 * 14 * 3), 15, 14)]);
      assert.deepEqual(pixels.shape, [2, 10, 10, 3]);
      return pixels;
    });
  });

  it('says what does not fit', () => {
    const refused: Array<[object, RegExp]> = [
      [{ size: 0 }, /image processor config: size: got 0, takes a whole number, from 1 to 4096/],
      [{ size: { height: 8 } }, /size\.width: got undefined/],
      [{ size: null }, /size: got null, takes a number, or \{ height, width \}/],
      [{ crop_size: { shortest_edge: 3 } }, /crop_size\.height: got undefined/],
      [{ resample: 2 }, /resample: got 2, takes 1, 3/],
      [{ image_mean: [1, 2] }, /image_mean: got \[1, 2\], takes three numbers/],
      [{ image_std: [1, 0, 1] }, /image_std: got \[1, 0, 1\], takes numbers above 0/],
    ];
    for (const [config, message] of refused) assert.throws(() => new CLIPImageProcessor(config), message);
    const line = new Image(new Uint8Array(30000 * 3), 30000, 1);
    assert.throws(() => new CLIPImageProcessor({ size: 9, crop_size: 10 }).preprocess(new Image(new Uint8Array(300), 10, 10)), /got 9 x 9 pixels once it is scaled, takes at least the crop_size/);
    assert.throws(() => new CLIPImageProcessor().preprocess(line), /image: got 30000 x 1 pixels, which would be scaled to 6720000 x 224/);
  });
});
