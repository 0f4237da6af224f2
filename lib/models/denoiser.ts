import type { Model } from './model.js';

/** A network that denoises latents: a UNet or a transformer. */
export type Denoiser = Model<{ readonly in_channels: number }>;
