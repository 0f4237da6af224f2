import * as tf from '@tensorflow/tfjs';
import { SD3Transformer2DModel } from '../../lib/models/sd3_transformer_2d_model.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectValues } from '../support/close.js';
import { loadGolden, type Golden } from '../support/golden.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

const close = { atol: 1e-4, rtol: 1e-4 };

interface Run {
  timestep: number | number[];
  skip?: number[];
  control?: number;
}

const KINDS = ['3', '35_large', '35_medium'];

function load(name: string): { golden: Golden; net: SD3Transformer2DModel } {
  const golden = loadGolden(`models/sd3_transformer_${name}`);
  const net = new SD3Transformer2DModel(golden.meta.config);
  setTorchWeights(net, golden, 'weights/');
  return { golden, net };
}

/** What the net gives at a run of the golden. */
function predict(net: SD3Transformer2DModel, golden: Golden, run: number): tf.Tensor {
  return tf.tidy(() => {
    const { timestep, skip, control = 0 } = golden.meta.runs[run] as Run;
    const [sample, encoderHiddenStates, pooledProjections] = ['sample', 'encoderHiddenStates', 'pooledProjections']
      .map(input => goldenTensor(golden, `${run}/${input}`));
    const samples = Array.from({ length: control }, (_, i) => goldenTensor(golden, `${run}/control/${i}`));
    return net.forward(sample, timestep, {
      encoderHiddenStates, pooledProjections, skipLayers: skip, controlnetBlockSamples: control ? samples : undefined,
    });
  });
}

describeOnDevices('SD3Transformer2DModel equals diffusers', () => {
  for (const name of KINDS) {
    for (const compiled of [false, true]) {
      it(`${name}${compiled ? ', as a graph where the backend has them' : ''}`, () => expectNoLeak(async () => {
        const { golden, net } = load(name);
        if (compiled) net.compile();
        for (let call = 0; call < (compiled ? 2 : 1); call++) { // recorded, then called
          for (const run of golden.meta.runs.keys()) {
            const out = predict(net, golden, run);
            await expectValues(out, golden.tensors[`${run}/out`], close);
            out.dispose();
          }
        }
        net.dispose();
        return [];
      }));
    }
  }
}, { awaits: true });
