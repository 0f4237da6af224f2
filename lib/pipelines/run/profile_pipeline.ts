import { Block } from '../../core/block.js';
import { Profiler, type Profile } from '../../core/profile.js';
import { Scheduler } from '../../schedulers/scheduler.js';

/** Runs `work` and times what the components do meanwhile: every layer of the networks, and the scheduler. */
export async function profileComponents<T>(components: object, work: () => T | Promise<T>): Promise<{ result: T; profile: Profile }> {
  const paths = new Map<object, string>();
  for (const [name, component] of Object.entries(components)) {
    if (component instanceof Block) for (const [path, block] of component.namedDescendants(name)) paths.set(block, path);
    if (component instanceof Scheduler) paths.set(component.constructor, name); // each run clones it
  }
  const profiler = new Profiler(paths);
  try {
    return { result: await work(), profile: profiler.stop() };
  } catch (error) {
    profiler.stop();
    throw error;
  }
}
