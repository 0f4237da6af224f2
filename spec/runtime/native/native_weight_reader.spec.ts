import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Block } from '../../../lib/core/block.js';
import { Generator } from '../../../lib/core/random.js';
import { FileSource } from '../../../lib/files/local_folder.js';
import { useDevice } from '../../../lib/runtime/devices.js';
import { loadWeights } from '../../../lib/weights/load_weights.js';
import { writeSafetensors, type Dtype } from '../../../lib/weights/safetensors.js';
import { describeOnDevices } from '../../support/backends.js';

class Parameters extends Block {
  static className = 'Parameters';

  constructor() {
    super();
    this.addParameter('linear', [37, 70], 'linear');
    this.addParameter('one_by_one', [5, 7], 'linear');
    this.addParameter('conv', [3, 3, 18, 33], 'conv');
    this.addParameter('plain', [41]);
  }

  override compute(): tf.Tensor {
    return tf.scalar(0);
  }
}

const SHAPES = { torch: { linear: [70, 37], one_by_one: [7, 5, 1, 1], conv: [33, 18, 3, 3], plain: [41] }, tfjs: { linear: [37, 70], one_by_one: [5, 7], conv: [3, 3, 18, 33], plain: [41] } };

/** Random values as bytes of `dtype`; for the halves any bits that are no infinity or NaN. */
function bytesOf(dtype: Dtype, size: number): Uint8Array {
  const values = new Generator().manualSeed(size).randn(size);
  if (dtype === 'F32') return new Uint8Array(values.buffer);
  if (dtype === 'F64') return new Uint8Array(Float64Array.from(values).buffer);
  if (dtype.startsWith('F8')) return Uint8Array.from(values, value => (value * 1e6) & 0xbb);
  return new Uint8Array(Uint16Array.from(values, value => (value * 1e6) & (dtype === 'F16' ? 0xbbff : 0xbf7f)).buffer);
}

describeOnDevices('reading weights', device => {
  if (device === 'wasm') return; // whose way is the one to compare with
  let folder: string;
  before(async () => { folder = await mkdtemp(join(tmpdir(), 'weights-')); });
  after(() => rm(folder, { recursive: true }));

  for (const layout of ['torch', 'tfjs'] as const) {
    for (const dtype of ['F32', 'F16', 'BF16', 'F64', 'F8_E4M3', 'F8_E5M2'] as const) {
      it(`of ${dtype} in ${layout}'s layout, mapped or not, gives what decoding in JavaScript gives`, async () => {
        const tensors = Object.entries(SHAPES[layout]).map(([name, shape]) =>
          ({ name, shape, dtype, bytes: () => bytesOf(dtype, shape.reduce((product, size) => product * size)) }));
        const path = join(folder, `${layout}-${dtype}.safetensors`);
        await writeFile(path, writeSafetensors(tensors, { format: layout === 'tfjs' ? 'tfjs' : 'pt' }));

        const load = async (mapped: boolean) => {
          const file = await FileSource.open(path);
          const block = new Parameters();
          const source = mapped ? file : { size: file.size, read: file.read.bind(file), close: file.close.bind(file) };
          await loadWeights(block, [{ name: path, source }]);
          await file.close();
          const values = Object.entries(block.stateDict()).map(([name, value]) => [name, value.shape, value.dataSync()]);
          block.dispose();
          return values;
        };
        const before = tf.memory().numTensors;
        const loaded = [await load(true), await load(false)];
        await useDevice('wasm');
        const expected = await load(false);
        await useDevice(device);
        assert.deepEqual(loaded, [expected, expected]);
        assert.equal(tf.memory().numTensors, before);
      });
    }
  }
});
