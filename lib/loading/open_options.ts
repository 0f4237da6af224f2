import type { CheckpointOptions } from '../checkpoints/checkpoint_folder.js';
import type { HubOptions } from '../hub/hub_settings.js';

/** How a model is found and opened. */
export interface OpenOptions extends HubOptions, CheckpointOptions {}
