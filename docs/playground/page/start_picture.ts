import type { Start } from '../protocol.js';
import { byId } from './dom.js';
import { drawFilling, shapeEasel, type Size } from './easel.js';
import { Painter } from './painter.js';
import { PictureChoice } from './picture_choice.js';

/** The picture to begin from, if there is one: chosen, dropped, pasted, or one that was made; how much of it to give up, and which part. */
export class StartPicture {
  private readonly choice = new PictureChoice('start', picture => this.put(picture));
  private readonly canvas = byId<HTMLCanvasElement>('start-image');
  private readonly strength = byId<HTMLInputElement>('strength');
  private readonly painter = new Painter('mask', 'brush', [0xb8, 0x4d, 0x24]);
  private source?: ImageBitmap;
  private size: Size = { width: 64, height: 64 };
  private paints = true;

  constructor() {
    byId('start-remove').onclick = () => {
      this.remove();
      this.choice.button.focus();
    };
    this.strength.oninput = () => this.showStrength();
    this.showStrength();
  }

  /** What the settings form says of it. */
  get value(): number | undefined {
    return this.source && this.strength.valueAsNumber;
  }

  /** What to begin from, in the size that was last said. */
  async read(): Promise<Start | undefined> {
    if (!this.source) return undefined;
    const image = await new Promise<Blob | null>(resolve => { this.canvas.toBlob(resolve, 'image/png'); });
    return { image: image!, mask: this.paints ? await this.painter.read() : undefined };
  }

  /** Begins from a picture file. What the browser cannot read leaves what is there. */
  take(file: Blob): Promise<void> {
    return this.choice.take(file);
  }

  /** As a picture was begun. */
  async restore(start: Start | undefined, strength?: number): Promise<void> {
    if (!start) return this.remove();
    this.choice.fold.open = true;
    const mask = start.mask && await createImageBitmap(start.mask);
    this.put(await createImageBitmap(start.image), mask);
    mask?.close();
    if (strength !== undefined) this.strength.valueAsNumber = strength;
    this.showStrength();
  }

  remove(): void {
    this.source?.close();
    this.source = undefined;
    this.show();
  }

  /** Another size to make: the picture is cut to its shape, and the paint stays where it can. */
  resize(size: Size): void {
    const same = size.width === this.size.width && size.height === this.size.height;
    if (same || !(size.width > 0 && size.height > 0)) return;
    this.size = size;
    if (this.source) this.draw();
  }

  /** Whether the model can change a part of a picture. Paint that is there stays for one that can. */
  offerPainting(paints: boolean): void {
    this.paints = paints;
    byId('tools').hidden = !paints;
    byId('mask').hidden = !paints;
  }

  private put(bitmap: ImageBitmap, mask?: ImageBitmap): void {
    this.source?.close();
    this.source = bitmap;
    this.draw(mask);
    this.show();
  }

  private draw(mask?: CanvasImageSource): void {
    const { width, height } = this.size;
    const { source, canvas } = this;
    Object.assign(canvas, { width, height });
    drawFilling(canvas.getContext('2d')!, source!);
    this.painter.reset(width, height, mask);
    shapeEasel(byId('easel'), this.size);
  }

  private show(): void {
    byId('start-note').hidden = this.source !== undefined;
    this.choice.button.textContent = this.source ? 'Choose another picture' : 'Choose a picture';
    byId('start-chosen').hidden = this.source === undefined;
    byId('start-summary').textContent = this.source ? 'chosen' : '';
    this.strength.disabled = !this.source;
  }

  private showStrength(): void {
    byId('strength-value').textContent = `${Math.round(this.strength.valueAsNumber * 100)} %`;
  }
}
