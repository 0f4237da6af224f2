import { RequestError } from '../../jobs/errors.js';
import { checkName, checkObject, quote } from '../../jobs/picture_request.js';

/** What the web UI has set for all pictures, as far as it can be set here; undefined is the server's own. */
export interface Settings {
  readonly sd_model_checkpoint?: string;
  readonly CLIP_stop_at_last_layers?: number;
}

/** Settings that clients send along, and what they are here. */
const FIXED: Readonly<Record<string, unknown>> = {
  sd_vae: 'Automatic', sd_checkpoint_hash: '', sd_hypernetwork: 'None', samples_format: 'png', eta_noise_seed_delta: 0, randn_source: 'CPU',
  return_grid: false, face_restoration_model: null, img2img_fix_steps: false,
};

const LAYERS = 11; // a text encoder of 12 keeps one

/** What `/options` gives. */
export function listSettings({ sd_model_checkpoint, CLIP_stop_at_last_layers = 1 }: Settings, models: readonly string[]): object {
  return { ...FIXED, sd_model_checkpoint: sd_model_checkpoint ?? models.at(0) ?? '', CLIP_stop_at_last_layers };
}

/** What is to be set. @throws RequestError for a setting that is none here, and for a model that the operator did not name. */
export function readSettings(where: string, given: unknown, models: readonly string[]): Settings {
  const settings: { -readonly [Name in keyof Settings]: Settings[Name] } = {};
  for (const [name, value] of Object.entries(checkObject(given ?? {}))) {
    if (value === null || value === '') continue;
    if (name === 'sd_model_checkpoint') settings[name] = checkModel(value, models);
    else if (name === 'CLIP_stop_at_last_layers') settings[name] = checkLayers(value);
    else if (!Object.hasOwn(FIXED, name)) throw new RequestError(`${where}: there is no setting ${quote(name)} here`);
    else if (value !== FIXED[name]) throw new RequestError(`${where}: ${name}: takes ${JSON.stringify(FIXED[name])} alone`);
  }
  return settings;
}

function checkModel(value: unknown, models: readonly string[]): string {
  if (typeof value !== 'string') throw new RequestError('sd_model_checkpoint: must be string');
  checkName('sd_model_checkpoint', value, models);
  return value;
}

function checkLayers(value: unknown): number {
  if (Number.isInteger(value) && value as number >= 1 && value as number <= LAYERS) return value as number;
  throw new RequestError(`CLIP_stop_at_last_layers: takes a whole number from 1 to ${LAYERS}`);
}
