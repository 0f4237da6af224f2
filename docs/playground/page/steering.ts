import { findEdges } from '../../../lib/image/canny.js';
import type { ModelInfo } from '../protocol.js';
import { byId } from './dom.js';
import { drawFilling, shapeEasel, type Size } from './easel.js';
import { Painter } from './painter.js';
import { PictureChoice } from './picture_choice.js';

/** How steep edges are: those of OpenCV's examples, by which most ControlNets were trained. */
const THRESHOLDS: [low: number, high: number] = [100, 200];

/** Lines that say where figures stand: drawn, or the edges of a picture, which can be drawn on. */
export class Steering {
  private readonly choice = new PictureChoice('steer', picture => {
    this.begin(this.toLines(picture));
    picture.close();
  });
  private readonly edges = byId<HTMLInputElement>('steer-edges');
  private readonly scale = byId<HTMLInputElement>('steer-scale');
  private readonly painter = new Painter('lines', 'pen', [255, 255, 255], painted => this.show(painted));
  private size: Size = { width: 64, height: 64 };
  private painted = false;

  constructor() {
    this.scale.oninput = () => this.showScale();
    this.showScale();
    this.begin();
  }

  /** What the settings form says of it. */
  get value(): number | undefined {
    return this.steers ? this.scale.valueAsNumber : undefined;
  }

  /** What to steer by, in the size that was last said, if there is a line. */
  async read(): Promise<Blob | undefined> {
    return this.steers ? this.painter.read() : undefined;
  }

  /** Steers by a picture file, or its edges. What the browser cannot read leaves what is there. */
  take(file: Blob): Promise<void> {
    return this.choice.take(file);
  }

  /** As a picture was steered. */
  async restore(control: Blob | undefined, scale?: number): Promise<void> {
    if (!control) return this.begin();
    this.choice.fold.open = true;
    const lines = await createImageBitmap(control);
    this.begin(lines);
    lines.close();
    if (scale !== undefined) this.scale.valueAsNumber = scale;
    this.showScale();
  }

  /** Another size to make: lines are scaled to it. */
  resize(size: Size): void {
    const same = size.width === this.size.width && size.height === this.size.height;
    if (same || !(size.width > 0 && size.height > 0)) return;
    this.size = size;
    this.painter.resize(size.width, size.height);
    shapeEasel(byId('lines-easel'), size);
  }

  /** Offers it where there is a ControlNet for the model. Lines that are there stay for one with which there is. */
  offer({ takes }: ModelInfo): void {
    this.choice.fold.hidden = !takes.includes('steering');
  }

  private get steers(): boolean {
    return this.painted && !this.choice.fold.hidden;
  }

  private begin(lines?: CanvasImageSource): void {
    this.painter.reset(this.size.width, this.size.height, lines);
    shapeEasel(byId('lines-easel'), this.size);
  }

  /** A picture of the size that is made, white where lines are. */
  private toLines(picture: ImageBitmap): OffscreenCanvas {
    const { width, height } = this.size;
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d')!;
    drawFilling(context, picture);
    if (!this.edges.checked) return canvas;
    const pixels = context.getImageData(0, 0, width, height);
    const found = findEdges({ data: pixels.data.filter((_, i) => i % 4 !== 3), width, height }, THRESHOLDS);
    found.forEach((value, i) => pixels.data.fill(value, 4 * i, 4 * i + 3));
    context.putImageData(pixels, 0, 0);
    return canvas;
  }

  private show(painted: boolean): void {
    this.painted = painted;
    byId('steer-summary').textContent = painted ? 'steered' : '';
    this.scale.disabled = !painted;
  }

  private showScale(): void {
    byId('steer-scale-value').textContent = `${Math.round(this.scale.valueAsNumber * 100)} %`;
  }
}
