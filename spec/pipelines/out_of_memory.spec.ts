import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { findExecutableBatchSize } from '../../lib/pipelines/run/find_executable_batch_size.js';
import { isOutOfMemory, OutOfMemoryError } from '../../lib/pipelines/run/out_of_memory.js';
import { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { describeOnDevices } from '../support/backends.js';
import { findNative } from '../support/native.js';
import { seeded, TINY } from '../support/tiny_pipeline.js';

const PROMPT = 'a road and a tree on it';
const NATIVE = 'Invalid TF_Status: 8\nMessage: OOM when allocating tensor with shape[256,1024,256] and type float on CPU:0 by allocator bfc';

describeOnDevices('running out of memory', device => {
  let pipe: StableDiffusionPipeline;
  beforeEach(async () => { pipe = await StableDiffusionPipeline.fromPretrained(TINY, { device }); });
  afterEach(() => pipe.dispose());

  const failing = async (prompts: string | string[], size = 16) => {
    const { unet } = pipe;
    Object.assign(unet, { forward: () => { throw new Error(NATIVE); } });
    try {
      return await pipe.generate(prompts, { numInferenceSteps: 1, height: size, width: size }).catch((error: unknown) => error as Error);
    } finally {
      Reflect.deleteProperty(unet, 'forward');
    }
  };

  it('says what helps and is not on yet, in one line, and goes on after it', async () => {
    const error = await failing(PROMPT);
    assert.ok(error instanceof OutOfMemoryError);
    assert.equal(error.name, 'OutOfMemoryError');
    assert.equal(error.message, 'out of memory: Message: OOM when allocating tensor with shape[256,1024,256] and type float on CPU:0 by allocator bfc; to take less: ' +
      `pipe.enableAttentionSlicing(), pipe.enableModelCpuOffload(), pipe.enableSequentialCpuOffload(), dtype: 'float16', a smaller height and width`);
    assert.match((await failing([PROMPT, PROMPT], 32) as Error).message,
      /to take less: fewer images at once than 2, pipe\.enableVaeSlicing\(\), pipe\.enableVaeTiling\(\), pipe\.enableAttentionSlicing\(\)/);
    pipe.enableAttentionSlicing();
    pipe.enableVaeSlicing();
    pipe.enableSequentialCpuOffload();
    assert.match((await failing([PROMPT, PROMPT]) as Error).message, new RegExp(`to take less: fewer images at once than 2, dtype: 'float16', a smaller height and width$`));
    pipe.removeAllHooks();
    assert.equal((await pipe.generate(PROMPT, { numInferenceSteps: 1 })).images.length, 1);
  });

  it('halves a batch until it fits', async () => {
    const tried: number[] = [];
    const find = (limit: number) => findExecutableBatchSize(async batchSize => {
      tried.push(batchSize);
      const prompts = Array<string>(batchSize).fill(PROMPT);
      if (batchSize > limit) throw await failing(prompts);
      return (await pipe.generate(prompts, { numInferenceSteps: 1 })).images.length;
    }, { startingBatchSize: 7 });
    assert.equal(await find(2), 1);
    assert.deepEqual(tried, [7, 3, 1]);
    await assert.rejects(find(0), /OutOfMemoryError: findExecutableBatchSize: not even a batch of 1 fits: out of memory/);
    await assert.rejects(findExecutableBatchSize(() => { throw new RangeError('prompt: is empty'); }), new RangeError('prompt: is empty'));
    await assert.rejects(findExecutableBatchSize(() => 1, { startingBatchSize: 0 }), /startingBatchSize: got 0, takes a whole number, from 1/);
  });

  it('makes eight pictures by eight generators in one call, each as if made alone', async () => {
    const prompts = Array.from({ length: 8 }, (_, i) => i % 2 ? PROMPT : 'a cat');
    const { images } = await pipe.generate(prompts, { numInferenceSteps: 2, generator: prompts.map((_, i) => seeded(i)) });
    for (const [i, prompt] of prompts.entries()) {
      const { images: [alone] } = await pipe.generate(prompt, { numInferenceSteps: 2, generator: seeded(i) });
      assert.ok(alone.data.every((byte, k) => Math.abs(byte - images[i].data[k]) <= 1), `picture ${i}`);
    }
  });
});

describe('isOutOfMemory', () => {
  for (const message of [
    NATIVE, 'Aborted(). Build with -sASSERTIONS for more info.', 'Aborted(Cannot enlarge memory arrays)', 'Array buffer allocation failed',
    'Invalid typed array length: 8589934592', 'memory access out of bounds', 'std::bad_alloc', 'Unable to create texture', 'Out of memory',
    'webgpu: Buffer size (603979776) exceeds the max buffer size limit (268435456).',
  ]) it(`knows '${message.split('\n').at(-1)}'`, () => assert.ok(isOutOfMemory(new Error(message))));

  it('knows nothing else', () => {
    for (const error of [new RangeError('height: got 3, takes a multiple of 8'), 'out of memory', undefined]) assert.ok(!isOutOfMemory(error));
  });
});

describe('memory that really runs out', () => {
  /** The largest batch of 64 MiB each that can be added to itself, in a process of its own. */
  const largest = (device: string, startingBatchSize: number, env: object = {}) => {
    const [tfjs, lib] = [import.meta.resolve('@tensorflow/tfjs'), new URL('../../lib/index.js', import.meta.url).href];
    const script = `
      import * as tf from '${tfjs}';
      import { findExecutableBatchSize, useDevice } from '${lib}';
      await useDevice('${device}');
      const found = await findExecutableBatchSize(batchSize => tf.tidy(() => {
        const x = tf.fill([batchSize, 2 ** 24], 1);
        tf.add(x, x).slice(0, 1).sum().dataSync();
        return batchSize;
      }), { startingBatchSize: ${startingBatchSize} });
      const sum = tf.tidy(() => tf.add([1, 2], [3, 4]).sum().dataSync()[0]);
      console.log(JSON.stringify({ found, sum, tensors: tf.memory().numTensors }));`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8', env: { ...process.env, ...env } });
    assert.match(stdout, /^\{/, stderr);
    return JSON.parse(stdout) as { found: number; sum: number; tensors: number };
  };

  it('is met by smaller batches on wasm', () => {
    const { found, ...after } = largest('wasm', 64);
    assert.ok(found >= 4 && found <= 32, `${found}`); // WebAssembly has 4 GiB
    assert.deepEqual(after, { sum: 10, tensors: 0 });
  });

  it('is met by smaller batches on the native backend, where TensorFlow waits ten seconds for memory', async function () {
    if (await findNative() !== 'cpu') this.skip();
    // Not 1024, all of which one tensor can take: tfjs-node's binding ends the process where there is no room for a small one.
    const { found, ...after } = largest('cpu', 16, { TF_CPU_BFC_MEM_LIMIT_IN_MB: '1100' });
    assert.ok(found >= 4 && found <= 8, `${found}`);
    assert.deepEqual(after, { sum: 10, tensors: 0 });
  });
});
