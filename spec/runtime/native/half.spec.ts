import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { narrow, widen } from '../../../lib/core/precision.js';
import type { Block } from '../../../lib/core/block.js';
import { GroupNorm } from '../../../lib/layers/group_norm.js';
import { UNet2DConditionModel } from '../../../lib/models/unet_2d_condition_model.js';
import { TF } from '../../../lib/runtime/native/binding.js';
import type { NativeBackend } from '../../../lib/runtime/native/native_backend.js';
import { describeOnDevices, expectNoLeak } from '../../support/backends.js';
import { expectClose } from '../../support/close.js';
import { loadGolden } from '../../support/golden.js';
import { goldenTensor, setTorchWeights } from '../../support/weights.js';

const HALVES = { float16: { dtype: TF.HALF, rounding: 2 ** -11 }, bfloat16: { dtype: TF.BFLOAT16, rounding: 2 ** -8 } };

describeOnDevices('half precision', device => {
  if (device === 'wasm') return; // has none

  const backend = () => tf.backend() as NativeBackend;
  const typeOf = (x: tf.Tensor) => backend().dataOf(x.dataId).dtype;

  for (const [name, { dtype, rounding }] of Object.entries(HALVES)) {
    /** `x` as a half. */
    const half = (x: tf.Tensor) => tf.tidy(() => backend().compute(scope => scope.cast(backend().lend(x), dtype)));
    const halve = (block: Block) => {
      for (const [path, value] of Object.entries(block.stateDict())) block.setParameter(path, half(value));
    };

    it(`${name} flows through ops, takes float32 along, is read as float32 and widens on demand`, async () => {
      const x = tf.tensor1d([1 / 3, -2, 100.25]);
      const h = half(x);
      assert.equal(typeOf(h), dtype);
      assert.equal(h.dtype, 'float32');
      expectClose(h, { shape: [3], data: x.dataSync() }, { atol: 0, rtol: rounding });
      await expectNoLeak(() => tf.tidy(() => {
        const sum = tf.add(tf.mul(h, x), 1);
        assert.equal(typeOf(sum), dtype);
        expectClose(sum, { shape: [3], data: [10 / 9, 5, 10051.0625] }, { atol: 0, rtol: 3 * rounding });
        const wide = widen(h);
        assert.equal(typeOf(wide), TF.FLOAT);
        assert.equal(typeOf(narrow(wide, h)), dtype);
        assert.equal(widen(x), x);
        return [wide.clone()];
      }));
      tf.dispose([x, h]);
    });

    it(`${name}: a norm sums in float32, also far from 0`, () => {
      const golden = loadGolden('layers');
      const index = (golden.meta as Array<{ layer: string }>).findIndex(({ layer }) => layer === 'GroupNorm');
      const norm = new GroupNorm(4, 24);
      setTorchWeights(norm, golden, `${index}/weights/`);
      tf.tidy(() => {
        const x = widen(half(goldenTensor(golden, `${index}/0/in/0`)));
        const expected = norm.forward(x);
        expectClose(norm.forward(half(x)), { shape: x.shape, data: expected.dataSync() }, { atol: 2 * rounding, rtol: 2 * rounding });
      });
      norm.dispose();
    });

    it(`${name}: a whole UNet stays near float32, and gives float32`, async () => {
      const golden = loadGolden('models/unet_sd2');
      const unet = new UNet2DConditionModel(golden.meta.config);
      setTorchWeights(unet, golden, 'weights/');
      halve(unet);
      const [sample, encoderHiddenStates] = ['sample', 'encoderHiddenStates'].map(input => goldenTensor(golden, `0/${input}`));
      const scale = Math.max(...golden.tensors['0/out'].data as unknown as number[]);
      await expectNoLeak(() => {
        const out = unet.forward(sample, golden.meta.timesteps[0], { encoderHiddenStates });
        assert.equal(typeOf(out), TF.FLOAT);
        expectClose(out, golden.tensors['0/out'], { atol: 20 * rounding * scale, rtol: 0 });
        return out;
      });
      tf.dispose([sample, encoderHiddenStates]);
      unet.dispose();
    });
  }
});
