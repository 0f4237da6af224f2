import { Block } from '../core/block.js';
import { Profiler, type Profile } from '../core/profile.js';
import { Scheduler } from '../schedulers/scheduler.js';

/** Runs `work` and times what the components do meanwhile: every layer of the networks, and the scheduler, which marks its steps. */
export async function profileComponents<T>(components: object, work: () => T | Promise<T>): Promise<{ result: T; profile: Profile }> {
  const profiler = new Profiler();
  try {
    for (const [name, component] of Object.entries(components)) {
      if (component instanceof Block) profiler.timeNetwork(component, name);
      if (component instanceof Scheduler) {
        let steps = 0;
        const shared = Object.getPrototypeOf(component) as object; // each run clones the scheduler
        profiler.time(shared, 'scaleModelInput', `${name}.scaleModelInput`);
        profiler.time(shared, 'step', `${name}.step`, (_, timestep) => profiler.mark(`step ${++steps} done, timestep ${timestep}`));
      }
    }
    return { result: await work(), profile: profiler.stop() };
  } catch (error) {
    profiler.stop();
    throw error;
  }
}
