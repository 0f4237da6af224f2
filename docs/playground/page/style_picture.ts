import type { ModelInfo } from '../protocol.js';
import { byId } from './dom.js';
import { shapeEasel } from './easel.js';
import { PictureChoice } from './picture_choice.js';

/** Pixels of the longer side that are kept: more than image encoders see. */
const MOST = 512;

/** The picture to take the style from, if there is one: chosen, dropped or pasted; and how much of its style to take. */
export class StylePicture {
  private readonly choice = new PictureChoice('style', picture => this.put(picture));
  private readonly canvas = byId<HTMLCanvasElement>('style-image');
  private readonly scale = byId<HTMLInputElement>('style-scale');
  private chosen = false;

  constructor() {
    byId('style-remove').onclick = () => {
      this.show(false);
      this.choice.button.focus();
    };
    this.scale.oninput = () => this.showScale();
    this.showScale();
  }

  /** What the settings form says of it. */
  get value(): number | undefined {
    return this.counts ? this.scale.valueAsNumber : undefined;
  }

  /** What to take the style from. */
  async read(): Promise<Blob | undefined> {
    if (!this.counts) return undefined;
    return new Promise(resolve => { this.canvas.toBlob(blob => resolve(blob!), 'image/png'); });
  }

  /** Takes the style from a picture file. What the browser cannot read leaves what is there. */
  take(file: Blob): Promise<void> {
    return this.choice.take(file);
  }

  /** As a picture was made. */
  async restore(style: Blob | undefined, scale?: number): Promise<void> {
    if (!style) return this.show(false);
    this.choice.fold.open = true;
    this.put(await createImageBitmap(style));
    if (scale !== undefined) this.scale.valueAsNumber = scale;
    this.showScale();
  }

  /** Offers it where there is an IP-Adapter for the model. A picture that is there stays for one with which there is. */
  offer({ takes }: ModelInfo): void {
    this.choice.fold.hidden = !takes.includes('style');
  }

  private get counts(): boolean {
    return this.chosen && !this.choice.fold.hidden;
  }

  private put(picture: ImageBitmap): void {
    const shrink = Math.min(1, MOST / Math.max(picture.width, picture.height));
    const [width, height] = [picture.width, picture.height].map(side => Math.max(1, Math.round(side * shrink)));
    Object.assign(this.canvas, { width, height });
    const context = this.canvas.getContext('2d')!;
    context.imageSmoothingQuality = 'high';
    context.fillRect(0, 0, width, height);
    context.drawImage(picture, 0, 0, width, height);
    picture.close();
    shapeEasel(byId('style-easel'), { width, height });
    this.show(true);
  }

  private show(chosen: boolean): void {
    this.chosen = chosen;
    byId('style-note').hidden = chosen;
    this.choice.button.textContent = chosen ? 'Choose another picture for the style' : 'Choose a picture for the style';
    byId('style-chosen').hidden = !chosen;
    byId('style-summary').textContent = chosen ? 'chosen' : '';
    this.scale.disabled = !chosen;
  }

  private showScale(): void {
    byId('style-scale-value').textContent = `${Math.round(this.scale.valueAsNumber * 100)} %`;
  }
}
