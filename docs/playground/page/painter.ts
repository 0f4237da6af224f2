import { announce, byId } from './dom.js';

const UNDO = 20; // strokes that can be taken back

type Colour = readonly [red: number, green: number, blue: number];

/** Paint of one colour on a canvas, by mouse, finger, pen or keyboard. */
export class Painter {
  private readonly canvas: HTMLCanvasElement;
  private readonly brush: HTMLElement;
  private readonly size: HTMLInputElement;
  private readonly eraser: HTMLInputElement;
  private readonly undoButton: HTMLButtonElement;
  private readonly clearButton: HTMLButtonElement;
  private readonly context: CanvasRenderingContext2D;
  private readonly strokes: ImageData[] = [];
  /** Where the brush is, in the canvas' pixels. */
  private at = { x: 0, y: 0 };
  private down = false;

  /**
   * @param id of the canvas, with which those of its tools begin.
   * @param tool what it is called.
   * @param colour which only shows where paint is.
   * @param onChange told whether there is paint.
   */
  constructor(id: string, private readonly tool: string, private readonly colour: Colour, private readonly onChange: (painted: boolean) => void = () => undefined) {
    this.canvas = byId<HTMLCanvasElement>(id);
    this.brush = byId(`${id}-brush`);
    this.size = byId<HTMLInputElement>(`${id}-brush-size`);
    this.eraser = byId<HTMLInputElement>(`${id}-erase`);
    this.undoButton = byId<HTMLButtonElement>(`${id}-undo`);
    this.clearButton = byId<HTMLButtonElement>(`${id}-clear`);
    this.context = this.canvas.getContext('2d', { willReadFrequently: true })!;
    this.canvas.onpointerdown = event => {
      if (event.button !== 0) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.at = this.place(event);
      this.begin();
    };
    this.canvas.onpointermove = event => {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length > 0 ? events : [event]) this.moveTo(this.place(each));
    };
    this.canvas.onpointerup = this.canvas.onpointercancel = () => this.lift();
    this.canvas.onpointerleave = () => { this.brush.hidden = document.activeElement !== this.canvas; };
    this.canvas.onkeydown = event => this.onKey(event);
    this.canvas.onfocus = () => this.showBrush();
    this.canvas.onblur = () => {
      this.lift();
      this.brush.hidden = true;
    };
    this.size.oninput = () => this.showBrush();
    this.undoButton.onclick = () => this.undo();
    this.clearButton.onclick = () => {
      this.remember();
      this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
      this.showButtons();
    };
    this.showButtons();
  }

  /** Begins on a canvas of that size, with no paint, or where a picture is white. */
  reset(width: number, height: number, white?: CanvasImageSource): void {
    Object.assign(this.canvas, { width, height });
    this.at = { x: width / 2, y: height / 2 };
    this.strokes.length = 0;
    if (white) this.load(white);
    this.showButtons();
  }

  /** As large as is said now, with the paint that is there. */
  resize(width: number, height: number): void {
    const white = new OffscreenCanvas(this.canvas.width, this.canvas.height);
    white.getContext('2d')!.putImageData(this.inWhite(), 0, 0);
    this.reset(width, height, white);
  }

  /** White where there is paint, black elsewhere; undefined where there is none. */
  async read(): Promise<Blob | undefined> {
    const pixels = this.inWhite();
    if (!pixels.data.some((value, i) => i % 4 === 0 && value > 0)) return undefined;
    const canvas = new OffscreenCanvas(pixels.width, pixels.height);
    canvas.getContext('2d')!.putImageData(pixels, 0, 0);
    return canvas.convertToBlob({ type: 'image/png' });
  }

  private inWhite(): ImageData {
    const pixels = this.pixels();
    const { data } = pixels;
    for (let i = 0; i < data.length; i += 4) {
      data.fill(data[i + 3] > 127 ? 255 : 0, i, i + 3);
      data[i + 3] = 255;
    }
    return pixels;
  }

  private load(white: CanvasImageSource): void {
    const { width, height } = this.canvas;
    this.context.drawImage(white, 0, 0, width, height);
    const pixels = this.pixels();
    for (let i = 0; i < pixels.data.length; i += 4) {
      const on = pixels.data[i] > 127 && pixels.data[i + 3] > 127;
      pixels.data.set(on ? [...this.colour, 255] : [0, 0, 0, 0], i);
    }
    this.context.putImageData(pixels, 0, 0);
  }

  private pixels(): ImageData {
    return this.context.getImageData(0, 0, this.canvas.width, this.canvas.height);
  }

  private get radius(): number {
    return Math.max(0.5, this.size.valueAsNumber / 200 * Math.min(this.canvas.width, this.canvas.height));
  }

  private place({ clientX, clientY }: PointerEvent): { x: number; y: number } {
    const box = this.canvas.getBoundingClientRect();
    return { x: (clientX - box.left) / box.width * this.canvas.width, y: (clientY - box.top) / box.height * this.canvas.height };
  }

  private begin(): void {
    this.remember();
    this.down = true;
    this.draw(this.at);
    this.showBrush();
  }

  private lift(): void {
    this.down = false;
    this.brush.classList.remove('down');
    this.showButtons();
  }

  private moveTo(to: { x: number; y: number }): void {
    const from = this.at;
    this.at = to;
    if (this.down) this.draw(from);
    this.showBrush();
  }

  private draw(from: { x: number; y: number }): void {
    const { context } = this;
    context.globalCompositeOperation = this.eraser.checked ? 'destination-out' : 'source-over';
    context.strokeStyle = context.fillStyle = `rgb(${this.colour.join()})`;
    context.lineWidth = 2 * this.radius;
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(this.at.x, this.at.y);
    context.stroke();
    context.beginPath();
    context.arc(this.at.x, this.at.y, this.radius, 0, 2 * Math.PI); // the line's round end, and all of a dot
    context.fill();
    context.globalCompositeOperation = 'source-over';
  }

  private onKey(event: KeyboardEvent): void {
    const step = event.shiftKey ? 1 : Math.max(1, this.radius / 2);
    const [x, y] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'z') this.undo();
    else if (event.key === ' ') {
      if (this.down) this.lift();
      else this.begin();
      announce(`The ${this.tool} is ${this.down ? 'down: arrow keys paint' : 'up'}`);
    } else if (x || y) {
      const clamp = (value: number, max: number) => Math.min(max, Math.max(0, value));
      this.moveTo({ x: clamp(this.at.x + x, this.canvas.width), y: clamp(this.at.y + y, this.canvas.height) });
    } else return;
    event.preventDefault();
  }

  private remember(): void {
    this.strokes.push(this.pixels());
    if (this.strokes.length > UNDO) this.strokes.shift();
  }

  private undo(): void {
    const before = this.strokes.pop();
    if (before) this.context.putImageData(before, 0, 0);
    this.showButtons();
  }

  private showButtons(): void {
    this.undoButton.disabled = this.strokes.length === 0;
    const painted = this.pixels().data.some(value => value > 0);
    this.clearButton.disabled = !painted;
    this.onChange(painted);
  }

  private showBrush(): void {
    const { width, height } = this.canvas;
    const [x, y, size] = [this.at.x / width, this.at.y / height, 2 * this.radius / width].map(share => `${share * 100}%`);
    Object.entries({ '--x': x, '--y': y, '--size': size }).forEach(([name, value]) => this.brush.style.setProperty(name, value));
    this.brush.classList.toggle('down', this.down);
    this.brush.hidden = false;
  }
}
