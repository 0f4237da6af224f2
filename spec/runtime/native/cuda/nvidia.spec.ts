import assert from 'node:assert/strict';
import { chooseGpu, type Gpu } from '../../../../lib/runtime/native/cuda/nvidia.js';

const old: Gpu = { name: 'old', computeCapability: '8.0', memory: 81559, uuid: 'GPU-aa11' };
const small: Gpu = { name: 'small', computeCapability: '9.0', memory: 24000, uuid: 'GPU-bb22' };
const large: Gpu = { name: 'large', computeCapability: '9.0', memory: 81559, uuid: 'GPU-bb33' };

describe('chooseGpu', () => {
  it('takes the newest with the most memory, and shows CUDA that one alone', () => {
    assert.deepEqual(chooseGpu([old, small, large], undefined), { gpu: large, visible: 'GPU-bb33' });
    assert.deepEqual(chooseGpu([large, { ...large, uuid: 'GPU-cc' }], undefined), { gpu: large, visible: 'GPU-bb33' });
    assert.deepEqual(chooseGpu([{ name: 'a' }, { name: 'a' }], undefined), { gpu: { name: 'a' }, visible: '0' }); // an old driver
  });

  it('leaves one GPU, and none, as it is', () => {
    assert.deepEqual(chooseGpu([old], undefined), { gpu: old, visible: undefined });
    assert.deepEqual(chooseGpu([], undefined), { gpu: undefined, visible: undefined });
  });

  it('takes the first that CUDA_VISIBLE_DEVICES names', () => {
    assert.deepEqual(chooseGpu([old, small], '1,0'), { gpu: small, visible: '1' });
    assert.deepEqual(chooseGpu([old, small, large], ' GPU-bb3, GPU-aa11'), { gpu: large, visible: 'GPU-bb3' });
    assert.deepEqual(chooseGpu([old], 'MIG-dd44'), { gpu: undefined, visible: 'MIG-dd44' });
    assert.deepEqual(chooseGpu([old], ''), { gpu: undefined, visible: '' });
    assert.deepEqual(chooseGpu([old], '-1'), { gpu: undefined, visible: '-1' });
  });
});
