import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { canCompile } from '../../lib/core/graph.js';
import { randn, type Generator } from '../../lib/core/random.js';
import { Conv2d } from '../../lib/layers/conv2d.js';
import { Model } from '../../lib/models/model.js';
import { network, scheduler, type Family } from '../../lib/pipelines/components/component.js';
import { DiffusionPipeline, pipelineClasses } from '../../lib/pipelines/index.js';
import { DDIMScheduler, type Scheduler } from '../../lib/schedulers/index.js';
import { writeSafetensors } from '../../lib/weights/safetensors.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { MemoryFolder } from '../support/memory_folder.js';
import { seeded } from '../support/tiny_pipeline.js';

/** A made-up family of pipelines, with two networks: what a file for another one has to say, and nothing in lib but what is imported. */
abstract class OneConvolution extends Model<{ channels: number }> {
  abstract readonly task: string;
  protected readonly conv: Conv2d;

  constructor(config: { channels: number }, outChannels: number) {
    super(config);
    this.conv = this.add('conv', new Conv2d(config.channels, outChannels));
  }

  compute(x: tf.Tensor): tf.Tensor {
    return this.graph(this.task, input => tf.tanh(this.conv.forward(input)), x);
  }
}

class DotDenoiser extends OneConvolution {
  static className = 'DotDenoiser';
  readonly task = 'denoise';

  constructor(config: { channels: number }) {
    super(config, config.channels);
  }
}

class DotPainter extends OneConvolution {
  static className = 'DotPainter';
  readonly task = 'paint';

  constructor(config: { channels: number }) {
    super(config, 3);
  }
}

interface DotsComponents {
  denoiser: DotDenoiser;
  painter: DotPainter;
  frame?: DotPainter;
  scheduler: Scheduler;
}

class DotsPipeline extends DiffusionPipeline {
  static readonly family: Family<DotsComponents> = {
    components: {
      denoiser: network('denoiser', DotDenoiser), painter: network('painter', DotPainter), frame: { ...network('frame', DotPainter), optional: true },
      scheduler: scheduler(),
    },
  };

  constructor(readonly components: DotsComponents) {
    super();
  }

  /** `[1, size, size, 3]`, which the caller disposes. */
  async generate({ size, numInferenceSteps, generator }: { size: number; numInferenceSteps: number; generator: Generator }): Promise<tf.Tensor> {
    const { denoiser, painter } = this.components;
    return this.running(async () => {
      const scheduler = this.components.scheduler.clone();
      scheduler.setTimesteps(numInferenceSteps);
      const start = { latents: randn([1, size, size, denoiser.config.channels], generator), timesteps: scheduler.timesteps };
      const latents = await this.denoise([denoiser], start, { scheduler, numInferenceSteps, predict: input => denoiser.forward(input) });
      this.makeReady(painter);
      const picture = painter.forward(latents);
      latents.dispose();
      scheduler.dispose();
      return picture;
    });
  }
}

const NETWORKS = { denoiser: new DotDenoiser({ channels: 4 }), painter: new DotPainter({ channels: 4 }) };

/** What a program would have saved of it. */
async function dotsFolder(index: object = {}): Promise<MemoryFolder> {
  const files: Record<string, Uint8Array | string> = {
    'model_index.json': JSON.stringify({
      _class_name: 'DotsPipeline', denoiser: ['dots', 'DotDenoiser'], painter: ['dots', 'DotPainter'], frame: [null, null],
      scheduler: ['diffusers', 'DDIMScheduler'], ...index,
    }),
    'scheduler/scheduler_config.json': JSON.stringify({ ...new DDIMScheduler({ clip_sample: false }).config }),
  };
  for (const [name, model] of Object.entries(NETWORKS)) {
    files[`${name}/config.json`] = JSON.stringify({ _class_name: model.getClassName(), channels: 4 });
    const tensors = [...model.parameterSpecs()].map(([path, { shape }]) => {
      const size = shape.reduce((product, length) => product * length, 1);
      const values = Float32Array.from({ length: size }, (_, i) => Math.sin(1 + i * 0.7) / 8);
      return { name: path, dtype: 'F32' as const, shape, bytes: () => new Uint8Array(values.buffer) };
    });
    const parts: Uint8Array[] = [];
    for await (const part of writeSafetensors(tensors, { format: 'tfjs' })) parts.push(Uint8Array.from(part));
    files[`${name}/diffusion_pytorch_model.safetensors`] = new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
  }
  return new MemoryFolder(files);
}

describeOnDevices('A family of pipelines that is not ours', device => {
  let pipe: DotsPipeline;
  let expected: Float32Array;
  const draw = async (from: DotsPipeline) => {
    const picture = await from.generate({ size: 8, numInferenceSteps: 3, generator: seeded(1) });
    return picture.data<'float32'>().finally(() => picture.dispose());
  };
  const expectSame = (values: Float32Array) => values.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-5));

  before(async () => {
    pipe = await DotsPipeline.fromPretrained(await dotsFolder(), { device });
    pipe.setProgressBarConfig({ disable: true });
    expected = await draw(pipe);
  });
  after(() => pipe.dispose());

  it('loads, with what is passed in and without what is optional, and generates', () => expectNoLeak(async () => {
    assert.ok(new Set(expected).size > 100);
    assert.equal(pipe.device, device);
    assert.equal(pipe.components.frame, undefined);
    assert.equal(pipe.numParameters, 9 * 4 * 4 + 4 + 9 * 4 * 3 + 3);
    const { painter } = pipe.components;
    const heard = new Set<string>();
    const other = await DotsPipeline.fromPretrained(await dotsFolder(), {
      device, painter, progressCallback: progress => { if (progress.stage === 'load') heard.add(progress.component); },
    });
    assert.equal(other.components.painter, painter);
    assert.deepEqual([...heard], ['denoiser']);
    expectSame(await draw(other));
    other.components.denoiser.dispose();
    return [];
  }));

  it('is found by its name when it is registered, and says what it cannot be made of', async () => {
    await assert.rejects(DiffusionPipeline.fromPretrained(await dotsFolder(), { device }), /_class_name: got 'DotsPipeline', takes .*'StableDiffusionPipeline', /);
    pipelineClasses.DotsPipeline = DotsPipeline;
    const found: DiffusionPipeline = await DiffusionPipeline.fromPretrained(await dotsFolder(), { device }).finally(() => { delete pipelineClasses.DotsPipeline; });
    assert.ok(found instanceof DotsPipeline);
    found.dispose();
    await assert.rejects(DotsPipeline.fromPretrained(await dotsFolder({ painter: ['dots', 'DotDenoiser'] }), { device }),
      /^RangeError: memory\/model_index\.json: painter: got 'DotDenoiser', takes 'DotPainter'$/);
  });

  it('frees what it has loaded where the rest fails', () => expectNoLeak(async () => {
    const folder = await dotsFolder({ frame: ['dots', 'DotPainter'] });
    await assert.rejects(DotsPipeline.fromPretrained(folder, { device }), /memory\/frame: has no weights/);
    assert.equal(folder.openSources, 0);
    return [];
  }));

  it('offloads by network and by layer, and says which it does', async () => {
    for (const cpuOffload of ['model', 'sequential'] as const) {
      await expectNoLeak(async () => {
        const away = await DotsPipeline.fromPretrained(await dotsFolder(), { device, cpuOffload });
        const name = cpuOffload === 'model' ? 'enableModelCpuOffload' : 'enableSequentialCpuOffload';
        assert.ok(away.memorySavers.has(name));
        expectSame(await draw(away));
        assert.ok([...away.components.denoiser.parameterSpecs().keys()].every(path => !away.components.denoiser.isAllocated(path)));
        away.dispose();
        return [];
      });
    }
  });

  it('compiles', () => expectNoLeak(async () => {
    if (!canCompile()) return [];
    const compiled = await DotsPipeline.fromPretrained(await dotsFolder(), { device, compile: true });
    expectSame(await draw(compiled));
    expectSame(await draw(compiled));
    compiled.dispose();
    return [];
  }));

  it('is profiled, network by network', async () => {
    const { result, profile } = await pipe.profile(() => draw(pipe));
    expectSame(result);
    const calls = Object.fromEntries(profile.networks.map(({ name, calls }) => [name, calls]));
    assert.deepEqual([calls.denoiser, calls.painter], [3, 1]);
    assert.equal(profile.marks.length, 3);
  });

  it('is interrupted', async () => {
    const steps: number[] = [];
    class Watched extends DotsPipeline {
      protected override makeReady(model: Model<unknown>): void {
        super.makeReady(model);
        if (model instanceof DotDenoiser && steps.push(1) === 2) this.interrupt = true;
      }
    }
    await draw(new Watched(pipe.components));
    assert.equal(steps.length, 2);
  });

  it('moves', async () => {
    const moved = await DotsPipeline.fromPretrained(await dotsFolder(), { device });
    await moved.to('wasm');
    expectSame(await draw(moved));
    assert.equal(moved.device, 'wasm');
    moved.dispose();
  });
});
