import { show } from '../../core/checks.js';
import type { ModelFolder } from '../../files/model_folder.js';
import type { Component } from './component.js';

/** A class of pipelines, with its family. */
export interface PipelineClass<P extends object = object> {
  new (components: never): P;
  readonly family: {
    readonly components: Readonly<Record<string, Component<unknown>>>;
    readonly takeExtras?: (components: never, folder: ModelFolder, given: never) => Promise<void>;
  };
}

/** Every class of pipelines by its name in model_index.json. Filled by index.ts: the base class, which needs it, cannot import heirs. */
export const pipelineClasses: Record<string, PipelineClass> = {};

/**
 * The class of that name. diffusers' with perturbed-attention guidance (PAG) are the usual ones here, with an option for it; that is told.
 * @param where the name stands. @throws RangeError if there is no such pipeline, with a list of those there are.
 */
export function pipelineClass(name: unknown, where: string): PipelineClass {
  const names = typeof name === 'string' ? [name, name.replace('PAG', '')] : [];
  const isThere = (each: string) => (
    Object.hasOwn(pipelineClasses, each) && (each === name || 'unet' in pipelineClasses[each].family.components) // what has the option
  );
  const found = names.find(isThere);
  if (found !== undefined && found !== name) {
    console.warn(`${where}: ${names[0]} is ${found} here, and guides by perturbed attention with a pagScale, which is 3 in diffusers`);
  }
  if (found !== undefined) return pipelineClasses[found];
  const known = Object.keys(pipelineClasses).map(show).join(', ');
  throw new RangeError(`${where}: got ${show(name)}, takes ${known}; StableDiffusionPipeline.fromPretrained tries the parts of any`);
}

/** What the base class says that it makes. The class's own file adds it, by merging declarations: the base class cannot import it. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type
export interface PipelineTypes {}

/** What `DiffusionPipeline.fromPretrained` gives, as far as the compiler can know. */
export type UsualPipeline = PipelineTypes extends { usual: infer P } ? P : never;

/** What makes pictures by a prompt, of whatever family: what callbacks get. */
export type AnyGuidedPipeline = PipelineTypes extends { guided: infer P } ? P : never;
