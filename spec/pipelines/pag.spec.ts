import type * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randn } from '../../lib/core/random.js';
import { ControlNetModel } from '../../lib/models/controlnet.js';
import { MultiAdapter } from '../../lib/models/multi_adapter.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { pipelineClass } from '../../lib/pipelines/components/registry.js';
import {
  DiffusionPipeline, StableDiffusionAdapterPipeline, StableDiffusionControlNetInpaintPipeline, StableDiffusionControlNetPipeline, StableDiffusionDepth2ImgPipeline,
  StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionInstructPix2PixPipeline, StableDiffusionLatentUpscalePipeline, StableDiffusionPipeline,
  StableDiffusionXLControlNetPipeline, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline, StableDiffusionXLInstructPix2PixPipeline,
  StableDiffusionXLPipeline,
} from '../../lib/pipelines/index.js';
import { checkPerturbedAttention, type PerturbedAttentionOptions } from '../../lib/pipelines/inputs/perturbed_attention.js';
import type { XLOptions } from '../../lib/pipelines/stable_diffusion_xl/xl_options.js';
import { schedulerClass } from '../../lib/schedulers/index.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { expectClose, type Values } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { graphsLeft } from '../support/native.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { commonOptions, defined, goldenImages, seeded, TINY, TINY_XL, type PipelineCase } from '../support/tiny_pipeline.js';
import { captureWarnings } from '../support/warnings.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

const golden = loadGolden('pipelines/pag');
const { tensors, meta } = golden;
const GOLDENS = 'spec/golden';
const STAR = 'a red star';
const close = { atol: 5e-4, rtol: 5e-4 };

/** Options of a case in the words of golden/parts/pag.py. */
interface Case extends Omit<PipelineCase, 'scheduler'> {
  pag_scale: number;
  pag_adaptive_scale?: number;
  layers?: string | string[];
  scheduler?: string;
  adapter?: string;
  way?: 'deep_cache' | 'token_merging' | 'stop';
  controlnet_conditioning_scale?: number;
  control_guidance_end?: number;
  guess_mode?: boolean;
  original_size?: [number, number];
  negative_original_size?: [number, number];
  negative_target_size?: [number, number];
  denoising_end?: number;
}

const pagOptions = ({ pag_scale: pagScale, pag_adaptive_scale: pagAdaptiveScale, layers: pagAppliedLayers }: Case): PerturbedAttentionOptions =>
  ({ pagScale, pagAdaptiveScale, pagAppliedLayers });
const layersOf = (unet: UNet2DConditionModel, pagAppliedLayers: string | string[]) => checkPerturbedAttention(unet, { pagScale: 1, pagAppliedLayers })!.layers;
const valuesOf = (tensor: tf.Tensor): Values => ({ shape: tensor.shape, data: tensor.dataSync() });
const quiet = <P extends DiffusionPipeline>(pipe: P): P => {
  pipe.setProgressBarConfig({ disable: true });
  return pipe;
};

describeOnDevices('Perturbed-attention guidance', device => {
  let base: StableDiffusionPipeline;
  let xl: StableDiffusionXLPipeline;
  const nets: Record<string, ControlNetModel> = {};
  const folder = temporaryFolder();
  const [image, controlImage, maskImage] = [tensors.image, tensors.control, tensors.mask].map(values => goldenImages(values)[0]);
  before(async () => {
    base = quiet(await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false }));
    xl = quiet(await StableDiffusionXLPipeline.fromPretrained(TINY_XL, { device, compile: false }));
    for (const name of ['0', 'xl']) nets[name] = await ControlNetModel.fromPretrained(`${GOLDENS}/pipelines/controlnet_${name}`);
  });
  after(() => [base, xl, ...Object.values(nets)].forEach(each => each.dispose()));

  /** By diffusers' classes: what does it here, and from what. */
  const pipelines: Record<string, (parts: object) => [pipe: StableDiffusionPipeline, given: object]> = {
    StableDiffusionPAGPipeline: parts => [new StableDiffusionPipeline({ ...base.components, ...parts }), {}],
    StableDiffusionPAGImg2ImgPipeline: parts => [new StableDiffusionImg2ImgPipeline({ ...base.components, ...parts }), { image }],
    StableDiffusionPAGInpaintPipeline: parts => [new StableDiffusionInpaintPipeline({ ...base.components, ...parts }), { image, maskImage }],
    StableDiffusionControlNetPAGPipeline: parts =>
      [new StableDiffusionControlNetPipeline({ ...base.components, ...parts, controlnet: nets[0] }), { image: controlImage }],
    StableDiffusionControlNetPAGInpaintPipeline: parts =>
      [new StableDiffusionControlNetInpaintPipeline({ ...base.components, ...parts, controlnet: nets[0] }), { image, maskImage, controlImage }],
    StableDiffusionXLPAGPipeline: parts => [new StableDiffusionXLPipeline({ ...xl.components, ...parts }) as never, {}],
    StableDiffusionXLPAGImg2ImgPipeline: parts => [new StableDiffusionXLImg2ImgPipeline({ ...xl.components, ...parts }) as never, { image }],
    StableDiffusionXLPAGInpaintPipeline: parts => [new StableDiffusionXLInpaintPipeline({ ...xl.components, ...parts }) as never, { image, maskImage }],
    StableDiffusionXLControlNetPAGPipeline: parts =>
      [new StableDiffusionXLControlNetPipeline({ ...xl.components, ...parts, controlnet: nets.xl }) as never, { image: controlImage }],
  };

  for (const [name, path] of Object.entries(meta.unets as Record<string, string>)) {
    it(`is of the layers that diffusers finds, ${name}`, async () => {
      const unet = await UNet2DConditionModel.fromPretrained(`${GOLDENS}/${path}`);
      for (const [pattern, expected] of Object.entries(meta.layers[name] as Record<string, string[] | null>)) {
        if (expected) assert.deepEqual([...layersOf(unet, pattern)].sort(), [...expected].sort(), pattern);
        else assert.throws(() => layersOf(unet, pattern), /^RangeError: pagAppliedLayers: got '.*', takes what is found in the path of a self-attention: there are some in /);
      }
      unet.dispose();
    });
  }

  it("is the identity in a UNet's layers, as in diffusers", () => expectNoLeak(() => {
    const stored = loadGolden('models/unet_sd2');
    const unet = new UNet2DConditionModel(stored.meta.config);
    setTorchWeights(unet, stored, 'weights/');
    const made = (meta.runs as Array<{ samples: number; layers: string | string[] }>).map(({ samples, layers }, run) => {
      const [sample, encoderHiddenStates] = ['sample', 'text'].map(input => goldenTensor(golden, `unet/${run}/${input}`));
      const whole = unet.forward(sample, 481, { encoderHiddenStates });
      const out = unet.forward(sample, 481, { encoderHiddenStates, perturbed: { layers: layersOf(unet, layers), samples } });
      expectClose(out, tensors[`unet/${run}/out`], { atol: 1e-4, rtol: 1e-4 });
      assert.throws(() => expectClose(whole, tensors[`unet/${run}/out`], close), /worst at/);
      return [sample, encoderHiddenStates, whole, out];
    });
    unet.dispose();
    return made.flat();
  }));

  for (const [name, [className, prompt, options]] of Object.entries(meta.cases as Record<string, [string, string | string[], Case]>)) {
    it(`draws what diffusers draws, ${name}: ${JSON.stringify(options)}`, () => expectNoLeak(async () => {
      const { scheduler, unet, adapter, way, ...others } = options;
      const own = unet === undefined ? undefined : await UNet2DConditionModel.fromPretrained(`${GOLDENS}/${unet}`);
      const parts = {
        ...own && { unet: own }, ...scheduler && { scheduler: schedulerClass(scheduler).fromConfig((name.startsWith('xl') ? xl : base).scheduler.config) },
      };
      const [pipe, given] = pipelines[className](parts);
      quiet(pipe);
      if (adapter) await pipe.loadIpAdapter(`${GOLDENS}/pipelines/ip_adapter`, { weightName: adapter });
      if (way === 'deep_cache') pipe.enableDeepCache({ cacheInterval: 3 });
      if (way === 'token_merging') pipe.enableTokenMerging({ ratio: 0.5 });
      const { images } = await pipe.generate(prompt, defined({
        ...commonOptions(others), ...pagOptions(options), ...given, strength: options.strength, height: options.height, width: options.width,
        guidanceStop: way === 'stop' ? 0.5 : undefined, ipAdapterImage: adapter && image, guessMode: options.guess_mode,
        controlnetConditioningScale: options.controlnet_conditioning_scale, controlGuidanceEnd: options.control_guidance_end, originalSize: options.original_size,
        negativeOriginalSize: options.negative_original_size, negativeTargetSize: options.negative_target_size, denoisingEnd: options.denoising_end,
      }) as XLOptions<'latent'>);
      expectClose(images, tensors[`${name}/out`], close);
      if (adapter) await pipe.unloadIpAdapter();
      pipe.disableTokenMerging();
      own?.dispose();
      return images;
    }));
  }

  const draw = async (pipe: StableDiffusionPipeline, options: object = {}, prompt: string | string[] = STAR): Promise<tf.Tensor> =>
    (await quiet(pipe).generate(prompt, { numInferenceSteps: 2, generator: seeded(1), outputType: 'latent', ...options })).images;

  /** Expects the same of pipelines with next to nothing of it: then every sample has the text, the picture and the numbers that it should. */
  const expectOrder = async (pipe: StableDiffusionPipeline, options: object, prompt?: string | string[]): Promise<tf.Tensor[]> => {
    const plain = await draw(pipe, options, prompt);
    const hardly = await draw(pipe, { ...options, pagScale: 1e-9 }, prompt);
    const guided = await draw(pipe, { ...options, pagScale: 3 }, prompt);
    expectClose(hardly, valuesOf(plain), close);
    assert.throws(() => expectClose(guided, valuesOf(plain), close), /worst at/);
    return [plain, hardly, guided];
  };

  it('goes with what steers in other ways: guess mode, several pictures of T2I-Adapters, depths', () => expectNoLeak(async () => {
    const adapter = await MultiAdapter.fromPretrained(`${GOLDENS}/pipelines/t2i`);
    const [depth] = [await UNet2DConditionModel.fromPretrained(`${GOLDENS}/pipelines/unet_depth`)];
    const controlled = new StableDiffusionControlNetPipeline({ ...base.components, controlnet: nets[0] });
    const controlledXL = new StableDiffusionXLControlNetPipeline({ ...xl.components, controlnet: nets.xl }) as never as StableDiffusionPipeline;
    const adapted = new StableDiffusionAdapterPipeline({ ...base.components, adapter });
    const deep = new StableDiffusionDepth2ImgPipeline({ ...base.components, unet: depth });
    const pictures = [[image, controlImage], [controlImage, image]];
    const made = [
      await expectOrder(controlled, { image: controlImage, guessMode: true, guidanceStop: 0.5 }),
      await expectOrder(controlledXL, { image: controlImage, guessMode: true }),
      await expectOrder(adapted, { image: pictures, guidanceStop: 0.5 }, [STAR, 'a road']),
      await expectOrder(adapted, { image: pictures, guidanceScale: 1 }, [STAR, 'a road']),
      await expectOrder(deep, { image, depthMap: controlImage }),
    ];
    [adapter, depth].forEach(each => each.dispose());
    return made.flat();
  }));

  it('runs as graphs, of which other scales need none, in slices and offloaded', () => expectNoLeak(async () => {
    const pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device, compile: false });
    const ways = [{}, { pagScale: 3 }, { pagScale: 2, pagAppliedLayers: ['down'], guidanceScale: 1 }];
    const expected: tf.Tensor[] = [];
    for (const way of ways) expected.push(await draw(pipe, way));
    const drawAll = async () => {
      for (const [i, way] of ways.entries()) {
        const latents = await draw(pipe, way);
        expectClose(latents, valuesOf(expected[i]), close);
        latents.dispose();
      }
    };
    pipe.enableAttentionSlicing('max');
    pipe.enableModelCpuOffload();
    await drawAll();
    pipe.disableAttentionSlicing();
    pipe.removeAllHooks();
    if (device !== 'wasm') {
      pipe.unet.compile({ xla: false });
      assert.equal(await graphsLeft(drawAll), ways.length);
      assert.equal(await graphsLeft(async () => {
        (await draw(pipe, { pagScale: 1.5, pagAdaptiveScale: 0.01, guidanceScale: 3 })).dispose();
        await drawAll();
      }), 0);
    }
    pipe.dispose();
    return expected;
  }));

  it("is an option of the classes that folders with diffusers' names load as", async () => {
    const names = Object.keys(pipelines);
    const warnings = await captureWarnings(() => {
      const found = names.map(name => pipelineClass(name, 'folder'));
      assert.deepEqual(found, names.map(name => pipelines[name]({})[0].constructor));
    });
    assert.equal(warnings.length, names.length);
    assert.equal(warnings[0], 'folder: StableDiffusionPAGPipeline is StableDiffusionPipeline here, and guides by perturbed attention with a pagScale, which is 3 in diffusers');
    assert.throws(() => pipelineClass('StableDiffusion3PAGPipeline', 'folder'), /^RangeError: folder: got 'StableDiffusion3PAGPipeline', takes .*'StableDiffusionPipeline', /);
    const path = join(folder(), 'pag');
    cpSync(TINY, path, { recursive: true });
    const index = JSON.parse(readFileSync(join(path, 'model_index.json'), 'utf8')) as object;
    writeFileSync(join(path, 'model_index.json'), JSON.stringify({ ...index, _class_name: 'StableDiffusionPAGImg2ImgPipeline' }));
    let pipe!: DiffusionPipeline;
    assert.equal((await captureWarnings(async () => { pipe = await DiffusionPipeline.fromPretrained(path, { device }); })).length, 1);
    assert.equal(pipe.constructor, StableDiffusionImg2ImgPipeline);
    pipe.dispose();
  });

  it('says what does not fit, before any work', () => expectNoLeak(async () => {
    const refused = (message: RegExp, options: object, pipe = base) => assert.rejects(pipe.generate(STAR, options), message);
    await refused(/^RangeError: pagScale: got -1, takes a number, 0 or more$/, { pagScale: -1 });
    await refused(/^RangeError: pagScale: got NaN, takes a number, 0 or more$/, { pagScale: NaN });
    await refused(/^RangeError: pagAdaptiveScale: got -0\.1, takes a number, 0 or more$/, { pagAdaptiveScale: -0.1 });
    await refused(/^TypeError: pagAppliedLayers: got 1, takes a text or a list of texts$/, { pagScale: 1, pagAppliedLayers: ['mid', 1] });
    await refused(/^RangeError: pagAppliedLayers: got 'mild', takes what is found in the path of a self-attention: there are some in down_blocks\.0, mid_block, up_blocks\.1$/,
      { pagScale: 1, pagAppliedLayers: ['mid', 'mild'] });
    await refused(/^RangeError: pagAppliedLayers: got 'up\(', takes a regular expression: missing \), at position 3$/, { pagScale: 1, pagAppliedLayers: 'up(' });
    await refused(/^RangeError: pagAppliedLayers: got '.*, takes a regular expression: takes too long to match$/, { pagScale: 1, pagAppliedLayers: Array(100).fill(`${'(.*)*'.repeat(300)}1`) });
    await refused(/^TypeError: generate: there is no option 'pag_scale': it is called pagScale here/, { pag_scale: 1 });
    const unet = new UNet2DConditionModel({ ...base.unet.config, down_block_types: ['DownBlock2D', 'DownBlock2D'], up_block_types: ['UpBlock2D', 'UpBlock2D'], mid_block_type: null });
    await refused(/^RangeError: pagAppliedLayers: got 'mid', takes what is found in the path of a self-attention: this unet has none$/,
      { pagScale: 1 }, new StableDiffusionPipeline({ ...base.components, unet }));
    unet.dispose();
    const others = [
      new StableDiffusionInstructPix2PixPipeline(base.components), new StableDiffusionLatentUpscalePipeline(base.components),
      new StableDiffusionXLInstructPix2PixPipeline(xl.components),
    ] as never as StableDiffusionPipeline[];
    for (const pipe of others) await refused(/^TypeError: generate: there is no option 'pagScale'; takes/, { pagScale: 1 }, pipe);
    const inputs = [randn([2, 8, 8, 4], seeded(1)), randn([2, 5, 16], seeded(2))];
    const forward = (perturbed: { layers: string[]; samples: number }) => () => base.unet.forward(inputs[0], 1, { encoderHiddenStates: inputs[1], perturbed });
    assert.throws(forward({ layers: ['mid'], samples: 1 }), /^RangeError: unet perturbed\.layers: got 'mid', takes 'down_blocks\.0\.attentions\.0\.transformer_blocks\.0\.attn1', /);
    assert.throws(forward({ layers: [], samples: 2 }), /^RangeError: unet perturbed\.samples: got 2, takes a whole number, from 1 to 1$/);
    return inputs;
  }));

  it('is off by default, and without layers', () => expectNoLeak(async () => {
    const made: tf.Tensor[] = [];
    for (const options of [{}, { pagScale: 0, pagAppliedLayers: 'nowhere' }, { pagScale: 3, pagAppliedLayers: [] }]) made.push(await draw(base, options));
    for (const each of made.slice(1)) assert.deepEqual(each.dataSync(), made[0].dataSync());
    return made;
  }));
});
