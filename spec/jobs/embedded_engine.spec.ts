import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { EmbeddedEngine, type EmbeddedEngineOptions } from '../../lib/jobs/embedded_engine.js';
import type { Job } from '../../lib/jobs/job.js';
import type { ModelPool } from '../../lib/jobs/model_pool.js';
import { Image } from '../../lib/image/image.js';
import { DEMO_MODEL } from '../support/demo_model.js';
import { TINY } from '../support/tiny_pipeline.js';

const REQUEST = { prompt: 'a star', model: 'tiny', seed: 1, count: 1, steps: 1 };

async function withEngine(options: Partial<EmbeddedEngineOptions>, use: (engine: EmbeddedEngine, pool: ModelPool) => Promise<void>): Promise<void> {
  const engine = new EmbeddedEngine({ models: { tiny: resolve(TINY) }, load: { device: 'wasm' }, maxQueue: 10, ...options });
  await engine.start();
  try {
    await use(engine, (engine as unknown as { pool: ModelPool }).pool);
  } finally {
    await engine.close();
  }
}

async function pictures(engine: EmbeddedEngine, job: Job): Promise<Image[]> {
  return Promise.all((await job.finished).map(async ({ name }) => Image.fromBytes((await engine.store.read(name))!)));
}

describe('The engine of a server', () => {
  const trouble: string[] = [];
  const onTrouble = (message: string) => void trouble.push(message);

  it('loads its model again when the worker has ended, and says that it has', () => withEngine({ onTrouble }, async (engine, pool) => {
    const model = await pool.get('tiny');
    const long = await engine.submit({ ...REQUEST, steps: 100 });
    long.on('change', () => void model.dispose());
    await assert.rejects(long.finished, /the worker has ended/);
    assert.equal((await (await engine.submit(REQUEST)).finished).length, 1);
    assert.deepEqual(trouble, [`job ${long.id}: Error: createWorkerPipeline: the worker has ended, with exit code 1`]);
    await engine.close();
    await assert.rejects(engine.submit(REQUEST), { statusCode: 503 });
  }));

  it('draws requests that differ in prompt and seed as one batch, and each gets the picture that it gets alone', () =>
    withEngine({ models: { shapes: resolve(DEMO_MODEL) }, maxBatch: 4 }, async engine => {
      const requests = [
        { prompt: 'a red circle', seed: 1 }, { prompt: 'a blue square on a yellow background', seed: 2, count: 2 }, { prompt: 'a star', seed: 3 },
        { prompt: 'a green star', seed: 4 }, { prompt: 'a star', seed: 5, guidanceScale: 2 },
      ].map(request => ({ model: 'shapes', steps: 3, count: 1, ...request }));
      const together = await Promise.all(requests.map(request => engine.submit(request)));
      const made = await Promise.all(together.map(job => pictures(engine, job)));
      const metrics = await engine.metrics.registry.metrics();
      assert.match(metrics, /^diffusers_batch_size_count 3$/m); // four pictures, one that had no room, one that is guided otherwise
      assert.match(metrics, /^diffusers_pictures_total\{model="shapes"\} 6$/m);
      for (const [i, request] of requests.entries()) {
        const alone = await pictures(engine, await engine.submit(request));
        assert.equal(alone.length, made[i].length);
        alone.forEach(({ data }, j) => assert.ok(data.every((byte, at) => Math.abs(byte - made[i][j].data[at]) <= 2)));
        assert.equal(made[i][0].text.parameters.split('\n')[0], request.prompt);
        assert.match(made[i][0].text.parameters, new RegExp(`Seed: ${request.seed},`));
      }
    }));

  it('reads weights where it is asked to, and each prompt as if it were alone', () =>
    withEngine({ models: { shapes: resolve(DEMO_MODEL) }, maxBatch: 8 }, async engine => {
      const requests = [
        'a (red:1.5) circle', 'a (red:1.5) circle', 'a blue square', 'a [yellow] star BREAK on black', `a ${'very '.repeat(80)}(large:1.2) star`,
      ].map((prompt, seed) => ({ model: 'shapes', steps: 3, prompt, seed, count: 1, promptWeights: seed > 0 }));
      const together = await Promise.all(requests.map(request => engine.submit(request)));
      const made = await Promise.all(together.map(job => pictures(engine, job)));
      assert.match(await engine.metrics.registry.metrics(), /^diffusers_batch_size_count 5$/m); // of those that differ in length, each by itself
      for (const [i, request] of requests.entries()) {
        const [alone] = await pictures(engine, await engine.submit(request));
        assert.ok(alone.data.every((byte, at) => Math.abs(byte - made[i][0].data[at]) <= 2), request.prompt);
        assert.equal(made[i][0].text.parameters.split('\n')[0], request.prompt);
      }
      assert.notDeepEqual(made[1][0].data, (await pictures(engine, await engine.submit({ ...requests[1], promptWeights: false })))[0].data);
    }));

  it('ends one of a batch at once, and the others get their pictures', () => withEngine({ maxBatch: 3 }, async engine => {
    const jobs = await Promise.all([1, 2, 3].map(seed => engine.submit({ ...REQUEST, seed, steps: 8 })));
    jobs[0].on('change', () => { if (jobs[0].step === 2) jobs[1].cancel(); });
    const [first, second, third] = await Promise.allSettled(jobs.map(({ finished }) => finished));
    assert.deepEqual([first.status, second.status, third.status], ['fulfilled', 'rejected', 'fulfilled']);
    assert.deepEqual([jobs[1].state, jobs[1].step], ['cancelled', 1]); // the first hears of the second step first
  }));

  it('draws each by itself when a batch fails, so that only the one that is wrong does', () => withEngine({ maxBatch: 2 }, async engine => {
    const wrong = { ...REQUEST, seed: 2 ** 60 }; // which no check let through
    const [good, bad] = await Promise.all([engine.submit(REQUEST), engine.submit(wrong)]);
    await assert.rejects(bad.finished, /seed: got/);
    assert.equal((await good.finished).length, 1);
  }));

  it('tells how far a job is among the steps that its run has', () => withEngine({}, async engine => {
    const image = Buffer.from(await new Image(new Uint8Array(3 * 16 * 16), 16, 16).toPng()).toString('base64');
    for (const [request, steps] of [[{ scheduler: 'HeunDiscreteScheduler', steps: 4 }, 7], [{ image, strength: 0.3, steps: 10, scheduler: 'DDIMScheduler' }, 3]] as const) {
      const job = await engine.submit({ ...REQUEST, ...request, previews: 2 });
      const seen: number[][] = [];
      job.on('change', () => { if (job.step > 0) seen.push([job.step, job.steps!, job.previews.length]); });
      await job.finished;
      const told = [...new Map(seen.map(([step, all, previews]) => [step, [all, previews]]))];
      assert.deepEqual(told.map(([step, [all]]) => [step, all]), Array.from({ length: steps }, (_, i) => [i + 1, steps]));
      assert.equal(job.previews.length, 2);
    }
  }));

  it('takes those of a higher priority first, and those with a delay later', () => withEngine({}, async engine => {
    const order: string[] = [];
    const submit = async (name: string, more: object) => {
      const job = await engine.submit({ ...REQUEST, ...more });
      await job.finished.then(() => order.push(name));
    };
    await Promise.all([submit('first', {}), submit('late', { delay: 1 }), submit('plain', {}), submit('urgent', { priority: 5 }), submit('high', { priority: 2 })]);
    assert.deepEqual(order.slice(0, 4), ['urgent', 'high', 'first', 'plain']);
    assert.equal(order[4], 'late');
  }));

  it('keeps of a request that is over no picture that it brought', () => withEngine({}, async engine => {
    const image = Buffer.from(await new Image(new Uint8Array(3 * 16 * 16), 16, 16).toPng()).toString('base64');
    const job = await engine.submit({ ...REQUEST, image, strength: 1 });
    assert.equal(job.request.image, image);
    await job.finished;
    const kept = await engine.find(job.id);
    assert.deepEqual([kept!.request.image, kept!.request.prompt], [undefined, REQUEST.prompt]);
  }));

  it('takes as many with a delay as without, and cancels them', () => withEngine({ maxQueue: 2 }, async engine => {
    const later = { ...REQUEST, delay: 3600 };
    const jobs = [await engine.submit(later), await engine.submit(later)];
    await assert.rejects(engine.submit(later), { statusCode: 429, retryAfter: 60 });
    jobs.push(await engine.submit({ ...REQUEST, steps: 100 }));
    await new Promise(setImmediate); // in which that one is begun
    jobs.push(await engine.submit(REQUEST), await engine.submit(REQUEST));
    assert.equal(await engine.waiting(), 4);
    for (const ask of [() => engine.submit(REQUEST), () => engine.admit()]) await assert.rejects(ask, { statusCode: 429, retryAfter: 5 });
    for (const job of jobs) job.cancel();
    for (const { finished } of jobs) await assert.rejects(finished, /cancelled/);
    assert.equal(await engine.waiting(), 0);
  }));

  it('keeps as many models as fit, and lets go of the one that was not asked for longest', () => {
    const models = { first: resolve(TINY), second: resolve(TINY), third: resolve(TINY) };
    return withEngine({ models, maxMemory: 1 }, async (engine, pool) => {
      const draw = async (model: string) => (await engine.submit({ ...REQUEST, model })).finished;
      await draw('second');
      assert.deepEqual(pool.inMemory, ['second']); // each is larger than a byte
      Object.assign((pool as unknown as { options: object }).options, { maxMemory: 2.5 * pool.bytes });
      await draw('first');
      await draw('second');
      await draw('third');
      assert.deepEqual(pool.inMemory, ['second', 'third']);
    });
  });
});
