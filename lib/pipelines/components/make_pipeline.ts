import { show } from '../../core/checks.js';
import { Model } from '../../models/model.js';
import type { Component } from './component.js';
import type { PipelineClass } from './registry.js';

/** A pipeline of that class. @throws TypeError for a component that is missing, or of another class. */
export function makePipeline<P extends object>(Class: PipelineClass<P>, components: object): P {
  const given = components as Record<string, unknown>;
  for (const [name, component] of Object.entries(Class.family.components)) {
    if ((given[name] ?? undefined) !== undefined || !component.optional) checkComponent(name, component, given[name]);
  }
  return new Class(components as never);
}

/** @throws TypeError for what cannot be this component. */
export function checkComponent(name: string, { isOne, classNames }: Component<unknown>, value: unknown): void {
  if (!isOne || isOne(value)) return;
  throw new TypeError(`${name}: got ${value instanceof Model ? value.getClassName() : show(value)}, takes ${classNames!().join(' or ')}`);
}
