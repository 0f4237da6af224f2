import { adapterTargets } from './adapter_targets.js';
import { checkpointTargets } from './checkpoint_targets.js';
import { configTargets } from './config_targets.js';
import { hubTargets } from './hub_targets.js';
import { pictureTargets } from './picture_targets.js';
import type { Target } from './target.js';
import { tokenizerTargets } from './tokenizer_targets.js';
import { weightTargets } from './weight_targets.js';

/** Everything that reads what strangers wrote. */
export async function hostileTargets(): Promise<Target[]> {
  return [
    ...await weightTargets(), ...checkpointTargets(), ...configTargets(), ...tokenizerTargets(), ...await adapterTargets(), ...pictureTargets(), ...hubTargets(),
  ];
}
