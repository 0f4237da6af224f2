import { openModelFolder } from '../loading/open_model_folder.js';
import { ControlNetModel } from '../models/controlnet.js';
import { ControlNetUnionModel } from '../models/controlnet_union.js';
import type { ControlNets } from '../models/controlnets.js';
import type { LoadModelOptions } from '../models/load_model.js';
import { MultiControlNetModel } from '../models/multi_controlnet.js';
import { MultiControlNetUnionModel } from '../models/multi_controlnet_union.js';
import { SD3ControlNetModel } from '../models/sd3_controlnet.js';
import { SD3MultiControlNetModel, type SD3ControlNets } from '../models/sd3_multi_controlnet.js';
import { UsageError } from './usage_error.js';

type One = ControlNetModel | ControlNetUnionModel | SD3ControlNetModel;

/**
 * What `--controlnet` names: one ControlNet, or several that steer together.
 * @param isUnion whether `--control-mode` says what their pictures show.
 * @throws UsageError for several of which each is of another kind.
 */
export async function loadControlNets(
  sources: readonly string[], isUnion: boolean, options: LoadModelOptions,
): Promise<ControlNets | SD3ControlNets> {
  const nets: One[] = [];
  for (const source of sources) nets.push(await load(source, isUnion, options));
  if (nets.length === 1) return nets[0];
  if (areAll(ControlNetModel, nets)) return new MultiControlNetModel(nets);
  if (areAll(ControlNetUnionModel, nets)) return new MultiControlNetUnionModel(nets);
  if (areAll(SD3ControlNetModel, nets)) return new SD3MultiControlNetModel(nets);
  const kinds = new Set(nets.map(net => net.getClassName()));
  throw new UsageError(`--controlnet: got ${[...kinds].join(' and ')}, takes several of one kind`);
}

async function load(source: string, isUnion: boolean, options: LoadModelOptions): Promise<One> {
  const folder = await openModelFolder(source, options as object);
  if (isUnion) return ControlNetUnionModel.fromPretrained(folder, options);
  const config = await folder.readJson('config.json') as { _class_name?: unknown } | null;
  const ofSD3 = config?._class_name === SD3ControlNetModel.className;
  return ofSD3 ? SD3ControlNetModel.fromPretrained(folder, options) : ControlNetModel.fromPretrained(folder, options);
}

function areAll<N extends One>(Class: abstract new (...args: never[]) => N, nets: readonly One[]): nets is N[] {
  return nets.every(net => net instanceof Class);
}
