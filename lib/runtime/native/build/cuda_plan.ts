import { dirname } from 'node:path';
import { CUDA_PARTS, type CudaPart } from '../cuda/cuda_libraries.js';
import { SetupError } from './setup_error.js';

/** Where the CUDA libraries of a build come from. */
export interface CudaPlan {
  readonly version: 12 | 13;
  /** What is there already: path by the name that a build gives it. */
  readonly links: ReadonlyMap<string, string>;
  /** What is downloaded: package by the one that TensorFlow requires. */
  readonly packages: ReadonlyMap<string, string>;
  /** Bytes of the downloads, and of what is kept of them. */
  readonly size: readonly [download: number, disk: number];
}

/**
 * Links to what is found of CUDA 12, or else of CUDA 13, under CUDA 12's names and their own; downloads for the rest.
 * @param found path by name, as `findCuda` gives it.
 * @throws SetupError naming what CUDA 13's libraries lack that no download can stand in for.
 */
export function planCuda(found: ReadonlyMap<string, string>): CudaPlan {
  const cuda13 = !found.has('libcublas.so.12') && found.has('libcublas.so.13');
  const partly = CUDA_PARTS.some(part => part.oneRelease && linksOf(part, found, cuda13) === null);
  const links = new Map<string, string>();
  const packages = new Map<string, string>();
  const size: [number, number] = [0, 0];
  for (const part of CUDA_PARTS) {
    const there = linksOf(part, found, cuda13);
    if (there !== null && !(part.oneRelease && partly && !cuda13)) {
      there.forEach((path, name) => links.set(name, path));
      continue;
    }
    if (cuda13 && !part.beside13) {
      const name = ownNames(part, cuda13).find(([, own]) => !found.has(own))?.[1] ?? 'libnvrtc-builtins';
      const folder = dirname(found.get('libcublas.so.13')!);
      throw new SetupError(`${folder} has CUDA 13 without ${name}; install that as well, or let setup download CUDA 12`);
    }
    packages.set(part.package, cuda13 ? part.beside13! : part.package);
    part.size.forEach((bytes, i) => { size[i] += bytes; });
  }
  return { version: cuda13 ? 13 : 12, links, packages, size };
}

/** The links by which a part that was found is taken, or null if it was not, or not whole. */
function linksOf(part: CudaPart, found: ReadonlyMap<string, string>, cuda13: boolean): Map<string, string> | null {
  const links = new Map<string, string>();
  const own = ownNames(part, cuda13);
  if (own.length < Object.keys(part.libraries).length) return null;
  for (const [name, theirs] of [...own, ...(part.tools ?? []).map(tool => [tool, tool])]) {
    const path = found.get(theirs);
    if (path === undefined) return null;
    links.set(name, path).set(theirs, path);
  }
  if (part.more) {
    const home = dirname([...links.values()][0]);
    const more = [...found].filter(([name, path]) => part.more!.test(name) && dirname(path) === home);
    if (more.length === 0) return null;
    more.forEach(([name, path]) => links.set(name, path));
  }
  return links;
}

/** Pairs of the name by which a library is opened, and its own. */
function ownNames({ libraries }: CudaPart, cuda13: boolean): Array<[string, string]> {
  return Object.entries(libraries).flatMap(([name12, name13]) => cuda13 ? name13 === null ? [] : [[name12, name13]] : [[name12, name12]]);
}
