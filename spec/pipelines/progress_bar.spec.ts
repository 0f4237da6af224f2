import assert from 'node:assert/strict';
import { LoadingBar } from '../../lib/cli/loading_bar.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import type { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion.js';
import { TINY } from '../support/tiny_pipeline.js';

const [CURSOR_OFF, CURSOR_ON] = ['\u001b[?25l', '\u001b[?25h'];

/** What `work` writes to stderr, which it takes for a terminal. */
async function inTerminal(work: () => unknown): Promise<string> {
  const { stderr } = process;
  const methods = ['isTTY', 'write'] as const;
  const own = methods.map(name => [name, Object.getOwnPropertyDescriptor(stderr, name)] as const);
  let written = '';
  Object.defineProperty(stderr, 'isTTY', { value: true, configurable: true });
  Object.defineProperty(stderr, 'write', { value: (text: string) => { written += text; return true; }, configurable: true });
  try {
    await work();
  } finally {
    for (const [name, descriptor] of own) {
      if (descriptor) Object.defineProperty(stderr, name, descriptor);
      else Reflect.deleteProperty(stderr, name);
    }
  }
  return written;
}

describe('Progress bars', () => {
  let pipe: StableDiffusionPipeline;
  before(async () => { pipe = await DiffusionPipeline.fromPretrained(TINY, { device: 'wasm' }); });
  after(() => pipe.dispose());
  beforeEach(() => pipe.setProgressBarConfig({}));

  it('count steps, and say what for', async () => {
    pipe.setProgressBarConfig({ desc: '1/2' });
    const written = await inTerminal(() => pipe.generate('a red star', { numInferenceSteps: 3 }));
    assert.match(written, /1\/2 100% \|\u2588+\| 3\/3 /);
  });

  it('can be turned off, and are not there without a terminal', async () => {
    pipe.setProgressBarConfig({ disable: true });
    assert.equal(await inTerminal(() => pipe.generate('a red star', { numInferenceSteps: 2 })), '');
    new LoadingBar().update({ component: 'unet', loaded: 1, total: 2 });
  });

  it('give the cursor back when the work is ended', async () => {
    const patience = new AbortController();
    const options = { signal: patience.signal, callbackOnStepEnd: () => patience.abort() };
    const written = await inTerminal(() => assert.rejects(pipe.generate('a red star', options), /AbortError/));
    assert.ok(written.lastIndexOf(CURSOR_ON) > written.lastIndexOf(CURSOR_OFF));
  });

  it('of weights come after a second, and go when they are read', async () => {
    const bar = new LoadingBar();
    const written = await inTerminal(async () => {
      bar.update({ component: 'unet', loaded: 1, total: 4 });
      await new Promise(resolve => { setTimeout(resolve, 1100); });
      bar.update({ component: 'unet', loaded: 2, total: 4 });
      bar.update({ component: 'unet', loaded: 4, total: 4 });
    });
    assert.match(written, /Loading unet 50% \|\u2588+ +\|/);
    assert.ok(written.lastIndexOf(CURSOR_ON) > written.lastIndexOf(CURSOR_OFF));
  });
});
