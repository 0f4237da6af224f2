import assert from 'node:assert/strict';
import { LoadingBar } from '../../lib/cli/loading_bar.js';
import { DiffusionPipeline } from '../../lib/pipelines/index.js';
import type { StableDiffusionPipeline } from '../../lib/pipelines/stable_diffusion/stable_diffusion.js';
import { TINY } from '../support/tiny_pipeline.js';

/** What hides the cursor, or keeps lines from wrapping: a process that is killed would leave it so. */
const CHANGES = ['\u001b[?25l', '\u001b[?7l'];

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

  it('leave the terminal as it is', async () => {
    const patience = new AbortController();
    const options = { signal: patience.signal, callbackOnStepEnd: () => patience.abort() };
    const written = await inTerminal(() => assert.rejects(pipe.generate('a red star', options), /AbortError/));
    assert.match(written, /\|/);
    assert.ok(CHANGES.every(change => !written.includes(change)));
  });

  it('are a line every few seconds without a terminal', async () => {
    const { now } = performance;
    const { error } = console;
    const said: string[] = [];
    let skipped = 0;
    try {
      performance.now = () => now.call(performance) + skipped;
      console.error = (line: string) => { said.push(line); };
      pipe.setProgressBarConfig({ desc: 'a star' });
      await pipe.generate('a red star', { numInferenceSteps: 4, callbackOnStepEnd: (_, step) => { if (step % 2 === 1) skipped += 6000; } });
    } finally {
      performance.now = now;
      console.error = error;
    }
    assert.deepEqual(said.map(line => line.replace(/\d+ s$/, 's')), ['a star: 2 of 4, s', 'a star: 3 of 4, s']);
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
    assert.ok(CHANGES.every(change => !written.includes(change)));
  });
});
