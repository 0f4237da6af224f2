import assert from 'node:assert/strict';
import { markMoment, Profile, Profiler, timed, type ProfileSlice } from '../../lib/core/profile.js';

class Worker {
  static className = 'Worker';

  outer(name: string): string {
    return timed(this, () => {
      this.inner();
      this.inner();
      return `hello ${name}`;
    });
  }

  inner(): void {
    timed(this, () => undefined, 'inner');
  }

  fails(): void {
    timed(this, () => {
      this.inner();
      throw new Error('on purpose');
    }, 'fails');
  }
}

describe('Profiler', () => {
  const calls = ({ slices }: Profile) => slices.map(({ path, depth }) => [path, depth]);

  it('times calls within calls, gives what they give, and knows no other moments than its own', () => {
    const worker = new Worker();
    markMoment('before');
    worker.inner();
    const profiler = new Profiler(new Map([[worker, 'worker']]));
    markMoment('now');
    assert.equal(worker.outer('you'), 'hello you');
    const { slices, marks, milliseconds } = profiler.stop();
    worker.inner();
    assert.deepEqual(slices.map(({ path, kind, depth }) => [path, kind, depth]), [
      ['worker', 'Worker', 0], ['worker.inner', 'Worker', 1], ['worker.inner', 'Worker', 1]]);
    const [outer, ...inner] = slices;
    assert.ok(Math.abs(outer.self - (outer.duration - inner[0].duration - inner[1].duration)) < 1e-9);
    assert.ok(outer.start + outer.duration <= milliseconds);
    assert.deepEqual(marks.map(({ name }) => name), ['now']);
    assert.equal(new Profiler(new Map()).stop().slices.length, 0);
  });

  it('passes errors on, and counts the call that threw', () => {
    const worker = new Worker();
    const profiler = new Profiler(new Map([[worker, 'worker']]));
    assert.throws(() => worker.fails(), /on purpose/);
    worker.inner();
    assert.deepEqual(calls(profiler.stop()), [['worker.fails', 0], ['worker.inner', 1], ['worker.inner', 0]]);
  });

  it('times what it was told to, all that is of a class for instance, beside another profile', () => {
    const [known, stranger] = [new Worker(), new Worker()];
    const ofOne = new Profiler(new Map([[known, 'known']]));
    const ofAll = new Profiler(new Map([[Worker, 'any']]));
    stranger.inner();
    known.inner();
    assert.deepEqual(calls(ofOne.stop()), [['known.inner', 0]]);
    assert.deepEqual(calls(ofAll.stop()), [['any.inner', 0], ['any.inner', 0]]);
  });
});

describe('Profile', () => {
  const slice = (path: string, kind: string, start: number, duration: number, self: number, depth: number): ProfileSlice =>
    ({ path, kind, start, duration, self, depth });
  const profile = new Profile([
    slice('unet', 'UNet', 1, 60, 10, 0), slice('unet.a', 'Linear', 1.25, 30, 30, 1), slice('unet.b', 'Linear', 40, 20, 20, 1),
    slice('vae.decode', 'VAE', 70, 20, 20, 0),
  ], [{ name: 'step 1', at: 65 }], 100);

  it('sums by network and by layer, to the whole', () => {
    const rows = ({ name, calls, milliseconds, share }: Profile['networks'][number]) => [name, calls, milliseconds, share];
    assert.deepEqual(profile.networks.map(rows), [['unet', 1, 60, 0.6], ['vae', 1, 20, 0.2], ['everything else', 0, 20, 0.2]]);
    assert.deepEqual(profile.layers.map(rows), [['Linear', 2, 50, 0.5], ['VAE', 1, 20, 0.2], ['UNet', 1, 10, 0.1], ['everything else', 0, 20, 0.2]]);
  });

  it('prints tables', () => assert.equal(profile.toString(), [
    'network            calls          ms   share',
    'unet                   1        60.0   60.0%',
    'vae                    1        20.0   20.0%',
    'everything else                 20.0   20.0%',
    '',
    'layer              calls          ms   share',
    'Linear                 2        50.0   50.0%',
    'VAE                    1        20.0   20.0%',
    'UNet                   1        10.0   10.0%',
    'everything else                 20.0   20.0%',
  ].join('\n')));

  it('becomes trace events, in microseconds', () => {
    const [process, thread, unet, linear, , , step] = profile.toTrace().traceEvents;
    assert.deepEqual(process, { pid: 1, tid: 1, ph: 'M', name: 'process_name', args: { name: 'tfjs-diffusers' } });
    assert.deepEqual(thread, { pid: 1, tid: 1, ph: 'M', name: 'thread_name', args: { name: 'networks' } });
    assert.deepEqual(unet, { pid: 1, tid: 1, ph: 'X', name: 'unet', cat: 'UNet', ts: 1000, dur: 60000, args: { kind: 'UNet', self_ms: 10 } });
    assert.deepEqual(linear, { pid: 1, tid: 1, ph: 'X', name: 'unet.a', cat: 'Linear', ts: 1250, dur: 30000, args: { kind: 'Linear', self_ms: 30 } });
    assert.deepEqual(step, { pid: 1, tid: 1, ph: 'i', s: 'p', name: 'step 1', ts: 65000 });
  });
});
