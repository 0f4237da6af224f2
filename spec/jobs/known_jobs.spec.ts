import assert from 'node:assert/strict';
import { Job } from '../../lib/jobs/job.js';
import { KnownJobs } from '../../lib/jobs/known_jobs.js';

describe('Jobs that a server knows', () => {
  const job = () => new Job({ prompt: 'a star', model: 'tiny', seed: 1, count: 1 });

  it('are all that are not over, and the last of those that are', async () => {
    const known = new KnownJobs(600, 2);
    const waiting = job();
    known.add(waiting);
    const ended = Array.from({ length: 5 }, job);
    for (const each of ended) {
      known.add(each);
      each.fail(new Error('x'));
      await Promise.allSettled([each.finished]);
    }
    known.add(job());
    assert.deepEqual(ended.map(({ id }) => known.get(id) !== undefined), [false, false, false, true, true]);
    assert.equal(known.get(waiting.id), waiting);
    assert.equal(known.unfinished.length, 2);
  });

  it('are forgotten when their time is over', async () => {
    const known = new KnownJobs(-1);
    const done = job();
    known.add(done);
    done.succeed([]);
    await done.finished;
    assert.equal(known.get(done.id), done);
    known.add(job());
    assert.equal(known.get(done.id), undefined);
  });
});
