import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fits, torchShape, torchToTfjs } from '../../lib/weights/layouts.js';
import { readSafetensors } from '../../lib/weights/safetensors.js';

describe('layouts', () => {
  const { tensors } = readSafetensors(readFileSync('spec/golden/weights/dtypes.safetensors'));

  it('turns torch tensors as torch.permute does, tiles and their rests alike', () => {
    for (const [name, layout] of [['linear', 'linear'], ['conv', 'conv'], ['big_conv', 'conv']] as const) {
      const data = Float32Array.from(tensors[name].data);
      const turned = torchToTfjs(new Uint8Array(data.buffer), 4, tensors[name].shape, layout);
      assert.deepEqual(new Float32Array(turned.buffer), Float32Array.from(tensors[`${name}_as_tfjs`].data), name);
    }
  });

  it('moves elements of any size and any address', () => {
    for (const size of [1, 2, 4, 8]) {
      const bytes = Uint8Array.from({ length: 6 * size + 1 }, (_, i) => i).subarray(1);
      const turned = torchToTfjs(bytes, size, [2, 3], 'linear');
      for (const [to, from] of [0, 3, 1, 4, 2, 5].entries()) {
        assert.deepEqual(turned.subarray(to * size, (to + 1) * size), bytes.subarray(from * size, (from + 1) * size));
      }
    }
  });

  it('lets a 1x1 conv and a linear stand for each other in torch files alone', () => {
    const linear = { shape: [3, 5], layout: 'linear' } as const;
    const conv = { shape: [1, 1, 3, 5], layout: 'conv' } as const;
    for (const spec of [linear, conv]) {
      assert.ok(fits([5, 3], spec, 'torch') && fits([5, 3, 1, 1], spec, 'torch'));
      assert.ok(!fits([3, 5], spec, 'torch') && !fits([5, 3, 3, 3], spec, 'torch') && !fits([5, 3, 1], spec, 'torch'));
      assert.ok(fits(spec.shape, spec, 'tfjs') && !fits([5, 3], spec, 'tfjs'));
    }
    assert.ok(!fits([4, 3, 1, 1], { shape: [4, 3], layout: 'plain' }, 'torch'));
    assert.deepEqual(torchShape({ shape: [3, 2, 4, 5], layout: 'conv' }), [5, 4, 3, 2]);
  });
});
