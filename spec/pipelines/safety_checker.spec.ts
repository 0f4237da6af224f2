import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Image } from '../../lib/image/image.js';
import { StableDiffusionSafetyChecker } from '../../lib/models/safety_checker.js';
import { StableDiffusionImg2ImgPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline } from '../../lib/pipelines/index.js';
import { readSafetensors, writeSafetensors } from '../../lib/weights/safetensors.js';
import { describeOnDevices, expectNoLeak } from '../support/backends.js';
import { checkedModel, SAFETY_CHECKER as FOLDER } from '../support/checked_model.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';
import { MemoryFolder } from '../support/memory_folder.js';
import { temporaryFolder } from '../support/temporary_folder.js';
import { commonOptions, goldenImages, TINY, TINY_XL, type PipelineCase } from '../support/tiny_pipeline.js';
import { captureWarnings } from '../support/warnings.js';
import { goldenTensor, setTorchWeights } from '../support/weights.js';

const golden = loadGolden('models/safety_checker');
const { tensors, meta } = golden;

interface Case extends PipelineCase {
  prompts?: number;
  detected: boolean[];
}

describeOnDevices('StableDiffusionSafetyChecker', device => {
  const temporary = temporaryFolder();
  const make = () => {
    const checker = new StableDiffusionSafetyChecker(meta.config);
    setTorchWeights(checker, golden, 'weights/');
    return checker;
  };

  for (const compiled of [false, true]) {
    it(`detects what diffusers detects${compiled ? ', as a graph' : ''}`, () => expectNoLeak(async () => {
      const checker = make();
      if (compiled) checker.compile();
      const pixels = goldenTensor(golden, 'pixels');
      for (let call = 0; call < (compiled ? 2 : 1); call++) {
        tf.tidy(() => {
          const { concepts, specialCare } = checker.forward(pixels);
          expectClose(concepts, tensors.concepts);
          expectClose(specialCare, tensors.special);
        });
        assert.deepEqual(await checker.detect(pixels), meta.detected);
      }
      checker.setParameter('special_care_embeds_weights', tf.fill([3], 2));
      assert.notDeepEqual(await checker.detect(pixels), meta.detected, 'no picture is detected for the care that it calls for');
      checker.dispose();
      return pixels;
    }));
  }

  const draw = async (pipe: StableDiffusionPipeline, { prompts = 0, ...options }: Omit<Case, 'detected'>, outputType: 'image' | 'tensor' | 'latent' = 'image') => {
    pipe.setProgressBarConfig({ disable: true });
    const [first] = meta.prompts as string[];
    const count = Array.isArray(options.seeds) ? options.seeds.length : 1;
    const texts = prompts ? (meta.prompts as string[]).slice(0, prompts) : Array<string>(count).fill(first);
    const from = options.strength === undefined ? {} : { image: goldenImages(tensors.begun), strength: options.strength };
    const given = Object.fromEntries(Object.entries({ ...commonOptions(options), ...from, outputType }).filter(([, value]) => value !== undefined));
    return pipe.generate(texts, given as never) as Promise<{ images: Image[] | tf.Tensor; nsfwContentDetected?: boolean[] }>;
  };

  for (const [name, options] of Object.entries(meta.cases as Record<string, Case>)) {
    it(`hides in pipelines what diffusers hides, ${name}`, () => expectNoLeak(async () => {
      const safetyChecker = await StableDiffusionSafetyChecker.fromPretrained(FOLDER);
      const Pipeline = options.strength === undefined ? StableDiffusionPipeline : StableDiffusionImg2ImgPipeline;
      const pipe = await Pipeline.fromPretrained(TINY, { device, safetyChecker });
      const warnings = await captureWarnings(async () => {
        const { images, nsfwContentDetected } = await draw(pipe, options);
        assert.deepEqual(nsfwContentDetected, options.detected);
        goldenImages(tensors[`${name}/images`]).forEach((expected, i) => {
          const { data } = (images as Image[])[i];
          assert.ok(data.every((byte, at) => Math.abs(byte - expected.data[at]) <= 2), `picture ${i}`);
        });
        const { images: pixels, nsfwContentDetected: again } = await draw(pipe, options, 'tensor');
        assert.deepEqual(again, options.detected);
        tf.tidy(() => expectClose(tf.mul(pixels as tf.Tensor, 255), tensors[`${name}/images`], { atol: 2, rtol: 0 }));
        tf.dispose(pixels as tf.Tensor);
      });
      const count = options.detected.filter(Boolean).length;
      assert.deepEqual(warnings.filter(warning => /not be safe/.test(warning)).length, count ? 2 : 0);
      const { images, nsfwContentDetected } = await draw(pipe, options, 'latent'); // these are not looked at, as in diffusers
      assert.equal(nsfwContentDetected, undefined);
      pipe.dispose();
      return images as tf.Tensor;
    }));
  }

  it('is off unless asked for, and loaded where it is', () => expectNoLeak(async () => {
    const folder = checkedModel(temporary());
    for (const options of [{}, { safetyChecker: false }]) {
      const pipe = await StableDiffusionPipeline.fromPretrained(folder, { device, ...options });
      assert.deepEqual([pipe.safetyChecker, pipe.featureExtractor], [undefined, undefined]);
      pipe.dispose();
    }
    const pipe = await StableDiffusionPipeline.fromPretrained(folder, { device, safetyChecker: true, cpuOffload: 'model' });
    assert.deepEqual(pipe.featureExtractor!.config.size, { shortest_edge: 14 });
    const { two } = meta.cases as Record<string, Case>;
    await captureWarnings(async () => assert.equal((await draw(pipe, two)).nsfwContentDetected!.length, 2));
    const other = new StableDiffusionImg2ImgPipeline(pipe.components);
    assert.equal(other.safetyChecker, pipe.safetyChecker);
    pipe.dispose();
    await assert.rejects(StableDiffusionPipeline.fromPretrained(TINY, { device, safetyChecker: true }), /model_index\.json: safety_checker: there is none; safetyChecker takes a loaded one/);
    await assert.rejects(StableDiffusionXLPipeline.fromPretrained(TINY_XL, { device, safetyChecker: true } as never), /there is no option 'safetyChecker'/);
    return [];
  }));

  it('reads files in which the names of its vision model are doubled, as transformers wrote them before', () => expectNoLeak(async () => {
    const { tensors: found } = readSafetensors(readFileSync(`${FOLDER}/model.safetensors`));
    const chunks: Uint8Array[] = [];
    const named = Object.entries(found).map(([name, { shape, data }]) =>
      ({ name: name.replace(/^vision_model/, 'vision_model.vision_model'), dtype: 'F32' as const, shape, bytes: () => new Uint8Array(Float32Array.from(data).buffer) }));
    const ids = { name: 'vision_model.vision_model.embeddings.position_ids', dtype: 'I64' as const, shape: [1, 5], bytes: () => new Uint8Array(40) };
    for await (const chunk of writeSafetensors([...named, ids], { format: 'pt' })) chunks.push(chunk);
    const checker = await StableDiffusionSafetyChecker.fromPretrained(new MemoryFolder({
      'config.json': new Uint8Array(readFileSync(`${FOLDER}/config.json`)), 'model.safetensors': new Uint8Array(Buffer.concat(chunks)),
    }));
    const known = await StableDiffusionSafetyChecker.fromPretrained(FOLDER);
    tf.tidy(() => {
      const pixels = goldenTensor(golden, 'pixels');
      assert.deepEqual(checker.forward(pixels).concepts.dataSync(), known.forward(pixels).concepts.dataSync());
    });
    [checker, known].forEach(each => each.dispose());
    return [];
  }));

  it('says what does not fit', () => tf.tidy(() => {
    const refused: Array<[object, RegExp]> = [
      [{ vision_config: 'x' }, /safety checker config: vision_config: got 'x', takes an object/],
      [{ vision_config: { patch_size: 0 } }, /safety checker config: vision_config: patch_size: got 0/],
      [{ projection_dim: 0.5 }, /safety checker config: projection_dim: got 0\.5/],
    ];
    for (const [config, message] of refused) assert.throws(() => new StableDiffusionSafetyChecker(config), message);
    const checker = make();
    assert.throws(() => checker.forward(tf.zeros([1, 12, 13, 3])), /safety checker pixels: got shape \[1, 12, 13, 3\], takes \[\*, 12, 12, 3\]/);
    checker.dispose();
  }));
});
