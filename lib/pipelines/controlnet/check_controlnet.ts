import { show } from '../../core/checks.js';
import { Model } from '../../models/model.js';
import type { Component } from '../components/component.js';

/** @throws TypeError for what a family's pipelines do not take, with what to do. */
export function checkControlNet(controlnet: unknown, { components }: { components: { controlnet: Component<unknown> } }): void {
  const [one, several] = components.controlnet.classNames!();
  const className = controlnet instanceof Model ? controlnet.getClassName() : undefined;
  if (className === one || className === several) return;
  const takes = Array.isArray(controlnet) ? `new ${several}([...]) of several` : `one by ${one}.fromPretrained(...)`;
  throw new TypeError(`controlnet: got ${className ?? show(controlnet)}, takes ${takes}${hintFor(className)}`);
}

/** Which pipelines take a ControlNet that others do not. */
function hintFor(className = ''): string {
  if (className.includes('Union')) return '; StableDiffusionXLControlNetUnionPipeline and its relatives take this one';
  return className.startsWith('SD3') ? '; StableDiffusion3ControlNetPipeline takes this one' : '';
}
