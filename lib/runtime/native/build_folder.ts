import { existsSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';

/** `gpu` runs on CUDA where there is a GPU and on the CPU where there is none; `cpu` is a third of the size. */
export type NativeKind = 'cpu' | 'gpu';

export const TENSORFLOW_VERSION = '2.21.0';
export const TFJS_VERSION = '4.22.0';
export const BINDING_PACKAGE = '@tensorflow/tfjs-node-gpu'; // its C++ sources are the same as those of tfjs-node

/** Counts the changes of what a build holds beside our addons, and of how they are compiled: a build of before does not serve us. */
const BUILD_VERSION = 5;

/** Names the addons' sources, of which a spec knows the digest: a build serves those alone that it was compiled from. */
export const ADDONS_DIGEST = '732b123b';

/** The global through which the JavaScript of a build, which lies outside node_modules, gets this process's one tfjs. */
export const TFJS_SYMBOL = 'tfjs-diffusers.tf';

/** Where native builds are kept: outside node_modules, so that they outlive an `npm ci` and serve every project. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'tfjs-diffusers', 'native');
}

/** A folder of this name is complete: setup fills another one and renames it. */
export function buildFolder(kind: NativeKind): string {
  const versions = `tensorflow-${TENSORFLOW_VERSION}-tfjs-${TFJS_VERSION}`;
  return join(cacheFolder(), `${versions}-${process.platform}-${process.arch}-${kind}-${BUILD_VERSION}-${ADDONS_DIGEST}`);
}

/** How the folders beside the builds of this machine's processes begin, whose numbers follow: setup removes those of the dead. */
export function stagePrefix(): string {
  return `.stage@${hostname()}@`;
}

export function isBuilt(kind: NativeKind): boolean {
  return existsSync(buildFolder(kind));
}
