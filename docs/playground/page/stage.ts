import { commonName } from '../../../lib/schedulers/common_names.js';
import type { ModelInfo, Preview } from '../protocol.js';
import { byId, duration, factList, make, megabytes } from './dom.js';
import type { Picture } from './picture_store.js';

const SMALL = 256; // pictures of fewer pixels show their pixels

/** Where a picture comes into being, and where one of the gallery is looked at. */
export class Stage {
  private readonly frame = byId('frame');
  private readonly canvas = byId<HTMLCanvasElement>('canvas');
  private readonly placeholder = byId('placeholder');
  private readonly progress = byId<HTMLProgressElement>('progress');
  private readonly caption = byId('caption');
  private readonly facts = byId('facts');
  private readonly actions = byId('actions');
  private readonly details = byId('details');
  private readonly download = byId<HTMLAnchorElement>('download');
  /** What is to be seen: a picture that was asked for earlier may be decoded later. */
  private wanted?: Picture;
  private varies = true;

  /** An empty frame with a word in it. */
  showText(text: string): void {
    this.wanted = undefined;
    this.canvas.className = 'empty';
    this.canvas.ariaLabel = text;
    this.placeholder.textContent = text;
    this.describe('', []);
  }

  /** From 0 to 1, or hides the bar. */
  showProgress(fraction: number | null): void {
    this.progress.hidden = fraction === null;
    this.progress.value = fraction ?? 0;
  }

  /** Offers what can be done with pictures by a model: one that was made of noise takes other noise near its own to be varied. */
  offer({ takes }: ModelInfo): void {
    this.varies = takes.includes('variation');
    if (this.wanted) this.showActions(this.wanted);
  }

  /** How far a picture is that is being made, and latents on their way to it if there are new ones. */
  showStep(prompt: string, facts: string[], preview?: Preview): void {
    if (preview) this.showPreview(preview, prompt);
    this.describe(prompt, facts);
  }

  private showPreview({ width, height, rgba }: Preview, prompt: string): void {
    this.size(width, height);
    this.canvas.className = Math.max(width, height) < SMALL / 4 ? 'small' : '';
    this.canvas.ariaLabel = `Being made: ${prompt}`;
    this.canvas.getContext('2d')!.putImageData(new ImageData(rgba, width, height), 0, 0);
  }

  async showPicture(picture: Picture): Promise<void> {
    const { settings: { prompt, width, height }, file } = picture;
    this.wanted = picture;
    const bitmap = await createImageBitmap(file);
    if (this.wanted !== picture) return bitmap.close();
    this.size(width, height);
    this.canvas.className = Math.max(width, height) < SMALL ? 'small' : '';
    this.canvas.ariaLabel = prompt;
    this.canvas.getContext('2d')!.drawImage(bitmap, 0, 0);
    bitmap.close();
    this.describe(prompt, facts(picture));
    byId('detail-list').replaceChildren(...Object.entries(details(picture)).map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value))));
    URL.revokeObjectURL(this.download.href);
    this.download.href = URL.createObjectURL(file);
    this.download.download = fileName(picture);
    this.actions.hidden = this.details.hidden = false;
    this.showActions(picture);
  }

  private showActions({ start }: Picture): void {
    byId('vary').hidden = !this.varies && !start;
  }

  private size(width: number, height: number): void {
    Object.assign(this.canvas, { width, height });
    this.frame.style.setProperty('--ratio', String(width / height));
    this.placeholder.textContent = '';
  }

  private describe(caption: string, facts: string[]): void {
    this.actions.hidden = this.details.hidden = true;
    this.caption.textContent = caption;
    this.facts.replaceChildren(...factList(facts));
  }
}

/** What a picture's file is called. */
export function fileName({ settings: { prompt, seed } }: Picture): string {
  return `${prompt.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '').slice(0, 60)}-${seed}.png`;
}

/** What tells a picture from others, in a few words each. */
export function facts({ settings }: Picture): string[] {
  const { negativePrompt, numInferenceSteps, guidanceScale, seed, variation, strength, controlScale, styleScale, scheduler, schedulerOptions, width, height } = settings;
  return [
    ...negativePrompt ? [`without ${negativePrompt}`] : [], `seed ${seed}`, ...variation ? [`variation ${variation.seed}`] : [],
    ...strength === undefined ? [] : [`strength ${strength}`], ...controlScale === undefined ? [] : [`steered ${controlScale}`],
    ...styleScale === undefined ? [] : [`style ${styleScale}`], `${numInferenceSteps} steps`, `guidance ${guidanceScale}`, commonName(scheduler, schedulerOptions), `${width} × ${height}`,
  ];
}

/** All else that is known of a picture. */
function details({ settings: { scheduler, schedulerOptions, deepCache, tokenMerging, loras }, ...picture }: Picture): Record<string, string> {
  const options = Object.entries(schedulerOptions ?? {}).map(([key, value]) => `${key} ${value}`);
  const extras = [
    ...Object.entries(loras ?? {}).map(([name, scale]) => `${name} ${scale}`), ...deepCache ? [`DeepCache ${deepCache}`] : [], ...tokenMerging ? [`token merging ${tokenMerging}`] : [],
  ];
  return {
    'Model': picture.model, ...extras.length > 0 && { With: extras.join(', ') }, 'Scheduler': [scheduler, ...options].join(', '), 'Made on': picture.device,
    'Time': `${duration(picture.milliseconds)}, ${duration(picture.millisecondsPerStep)} a step`, ...picture.memory !== undefined && { Memory: megabytes(picture.memory) },
  };
}
