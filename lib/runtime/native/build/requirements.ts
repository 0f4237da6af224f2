import { mkdir, statfs } from 'node:fs/promises';
import { runTool } from '../../../core/run_tool.js';
import { cacheFolder, type NativeKind } from '../build_folder.js';
import { SetupError } from './setup_error.js';

/** The programs that a build takes, by the name to call them. */
export interface Tools {
  readonly python: string;
  readonly compiler: string;
}

/** @throws SetupError naming the first thing that is missing for a build, and how to get it. */
export async function checkRequirements(kind: NativeKind): Promise<Tools> {
  checkPlatform(kind);
  if (await firstThatRuns(['npm'], ['--version']) === null) throw new SetupError('needs npm on the PATH; it comes with Node');
  const pythons = ['python3', 'python'];
  const python = await firstThatRuns(pythons, ['-m', 'pip', '--version']);
  if (python === null) {
    const bare = await firstThatRuns(pythons, ['--version']);
    throw new SetupError(`${bare ? `${bare} has no pip` : 'needs Python 3 with pip'}; install it (Debian: apt install python3-pip)`);
  }
  const compiler = await firstThatRuns([process.env.CXX, 'g++', 'clang++', 'c++'], ['--version']);
  if (compiler === null) throw new SetupError('needs a C++ compiler; install one (Debian: apt install g++), or name it in CXX');
  return { python, compiler };
}

function checkPlatform(kind: NativeKind): void {
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  const platform = `${process.platform}-${process.arch}${process.platform === 'linux' && !header.glibcVersionRuntime ? '-musl' : ''}`;
  const accepted = kind === 'cpu' ? ['linux-x64', 'linux-arm64'] : ['linux-x64'];
  if (!accepted.includes(platform)) {
    const platforms = accepted.join(' and ');
    throw new SetupError(`no ${kind} build for ${platform}, only for ${platforms} with glibc; the device wasm works everywhere`);
  }
}

/**
 * Makes the folder of builds and says what a build takes: bytes of its downloads, and of what is kept of them. Both lie there for a while.
 * @throws SetupError if there is less room.
 */
export async function checkRoom(download: number, disk: number, onProgress: (line: string) => void): Promise<void> {
  const cache = cacheFolder();
  await mkdir(cache, { recursive: true });
  const { bavail, bsize } = await statfs(cache);
  const free = bavail * bsize;
  onProgress(`about ${gigabytes(download)} to download and ${gigabytes(disk)} to keep in ${cache}, which has ${gigabytes(free)} free`);
  if (free < download + disk) {
    throw new SetupError(`${cache} has ${gigabytes(free)} free and ${gigabytes(download + disk)} are needed; `
      + 'make room, or set XDG_CACHE_HOME to a folder on a larger disk');
  }
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

async function firstThatRuns(commands: ReadonlyArray<string | undefined>, args: readonly string[]): Promise<string | null> {
  for (const command of commands) {
    if (command && await runTool(command, args).then(() => true, () => false)) return command;
  }
  return null;
}
