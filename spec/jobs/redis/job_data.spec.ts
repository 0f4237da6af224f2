import assert from 'node:assert/strict';
import { Job } from '../../../lib/jobs/job.js';
import { advance, succeed } from '../../../lib/jobs/redis/job_data.js';

describe('What Redis says of a job', () => {
  const job = () => new Job({ prompt: 'a star', model: 'tiny', seed: 1, count: 1, previews: 2 });

  it('is believed as far as a worker says it', () => {
    const running = job();
    for (const told of [null, 1, {}, { step: 1, steps: 2, previews: 100_000 }, { step: -1, steps: 2, previews: 0 }, { step: {}, steps: 1, previews: 0 }, { step: 1, steps: 2, previews: '5' }]) {
      advance(running, told);
      assert.deepEqual([running.state, running.step, running.previews], ['running', 0, []], JSON.stringify(told));
    }
    advance(running, { step: 1, steps: 4, previews: 2 });
    assert.deepEqual([running.step, running.steps, running.previews.length], [1, 4, 2]);
    for (const told of [null, {}, { pictures: 1 }, { pictures: [{}, {}] }]) {
      const ended = job();
      succeed(ended, told);
      assert.deepEqual([ended.state, ended.error!.message], ['failed', 'a worker told no pictures of it']);
    }
    succeed(running, { pictures: [{ name: '../../etc/passwd', seed: 1, width: 8, height: 8 }], took: 1 });
    assert.deepEqual(running.pictures, [{ name: `${running.id}/0.png`, seed: 1, width: 8, height: 8 }]);
  });
});
