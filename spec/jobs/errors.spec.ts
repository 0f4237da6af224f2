import assert from 'node:assert/strict';
import { isAboutTheRequest, RequestError, tellable, toAnswer } from '../../lib/jobs/errors.js';

describe('Errors of a job', () => {
  const thrown = (work: () => unknown): Error => {
    try {
      work();
    } catch (error) {
      return error as Error;
    }
    throw new Error('nothing was thrown');
  };

  it('are of the request where they name what is wrong in it', () => {
    for (const error of [new RangeError('height: got 62, takes a number of pixels divisible by 4'), new TypeError("generate: there is no option 'x'"), new RequestError('seed: takes a number')]) {
      assert.ok(isAboutTheRequest(error));
      assert.deepEqual([toAnswer(error).statusCode, toAnswer(error).message, tellable(error)], [400, error.message, error.message]);
    }
  });

  it('are our own where JavaScript throws them, and no client hears what they say', () => {
    const none = undefined as unknown as { length: number; run(): void };
    for (const error of [thrown(() => none.length), thrown(() => ({} as typeof none).run()), thrown(() => new Array(-1)), thrown(() => (1.5).toFixed(101))]) {
      assert.ok(error instanceof TypeError || error instanceof RangeError);
      assert.equal(isAboutTheRequest(error), false, error.message);
      assert.deepEqual([toAnswer(error).statusCode, toAnswer(error).message], [500, "the picture failed; the server's log says why"]);
    }
  });
});
