import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { cacheFolder } from '../lib/runtime/native/build_folder.js';
import type { Options } from './options.js';
import { Side } from './side.js';
import { sides } from './sides.js';

const CASE = 'generate-sd15';

/** Seconds from the start of a process. */
interface Times {
  first: number;
  /** Until all is compiled that is compiled beside the pictures. */
  settled: number;
}

export interface FirstPicture {
  name: string;
  /** With empty caches of compiled code, and with what such a process left there. */
  cold?: Times;
  warm?: Times;
  failed?: string;
}

/** The case `first-picture`: how long a fresh process takes to the first picture of Stable Diffusion 1.5's size. @param tell gets each row as it is there. */
export async function measureFirstPicture(options: Options, tell: (row: FirstPicture) => void): Promise<FirstPicture[]> {
  const found: FirstPicture[] = [];
  for (const dtype of options.dtype) {
    for (const { name, ...start } of await sides(CASE, dtype, options)) {
      const folder = await mkdtemp(join(tmpdir(), 'bench-'));
      const row: FirstPicture = { name: `${dtype}: ${name}` };
      try {
        const env = { ...start.env, ...await caches(folder) };
        for (const cache of ['cold', 'warm'] as const) {
          const { side } = await Side.start({ name, ...start, env }, options.timeout);
          try {
            await side.run();
            const first = side.age;
            await side.settle();
            row[cache] = { first, settled: side.age };
            await side.end(join(folder, 'result'));
          } finally {
            await side.stop();
          }
        }
      } catch (error) {
        row.failed = (error as Error).message;
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
      found.push(row);
      tell(row);
    }
  }
  return found;
}

export const firstPictureHead = ['first picture', 'cold s', 'at full speed s', 'warm s', 'at full speed s'];

export function firstPictureRow({ name, cold, warm, failed }: FirstPicture): string[] {
  return [name, ...[cold, warm].flatMap(times => times ? [times.first.toFixed(1), times.settled.toFixed(1)] : [failed ?? '', ''])];
}

/** Environment variables by which NVIDIA's driver, PyTorch and this library keep compiled code below `folder`; this library's native build stays where it is. */
async function caches(folder: string): Promise<Record<string, string>> {
  const native = cacheFolder();
  const ours = join(folder, basename(dirname(native)));
  await mkdir(ours);
  await symlink(native, join(ours, basename(native)));
  return {
    XDG_CACHE_HOME: folder, CUDA_CACHE_PATH: join(folder, 'cuda'), TORCHINDUCTOR_CACHE_DIR: join(folder, 'inductor'), TRITON_CACHE_DIR: join(folder, 'triton'),
  };
}
