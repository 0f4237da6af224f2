import { announce, byId } from './dom.js';

const UNDO = 20; // strokes that can be taken back
const PAINT = '#b84d24'; // its colour only shows where paint is

/** Paint on a picture, by mouse, finger, pen or keyboard: what lies under it is to be made anew. */
export class MaskPainter {
  private readonly canvas = byId<HTMLCanvasElement>('mask');
  private readonly brush = byId('brush');
  private readonly size = byId<HTMLInputElement>('brush-size');
  private readonly tools = { paint: byId<HTMLInputElement>('tool-paint'), erase: byId<HTMLInputElement>('tool-erase') };
  private readonly undoButton = byId<HTMLButtonElement>('undo-stroke');
  private readonly clearButton = byId<HTMLButtonElement>('clear-mask');
  private readonly context = this.canvas.getContext('2d', { willReadFrequently: true })!;
  private readonly strokes: ImageData[] = [];
  /** Where the brush is, in the canvas' pixels. */
  private at = { x: 0, y: 0 };
  private down = false;

  constructor() {
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

  /** Begins on a picture of that size, with no paint, or with what a mask says. */
  reset(width: number, height: number, mask?: CanvasImageSource): void {
    Object.assign(this.canvas, { width, height });
    this.at = { x: width / 2, y: height / 2 };
    this.strokes.length = 0;
    if (mask) this.load(mask);
    this.showButtons();
  }

  /** White where there is paint, black elsewhere; undefined where there is none. */
  async mask(): Promise<Blob | undefined> {
    const { width, height } = this.canvas;
    const { data } = this.pixels();
    let painted = false;
    for (let i = 0; i < data.length; i += 4) {
      const on = data[i + 3] > 127;
      painted ||= on;
      data.fill(on ? 255 : 0, i, i + 3);
      data[i + 3] = 255;
    }
    if (!painted) return undefined;
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext('2d')!.putImageData(new ImageData(data, width, height), 0, 0);
    return canvas.convertToBlob({ type: 'image/png' });
  }

  private load(mask: CanvasImageSource): void {
    const { width, height } = this.canvas;
    this.context.drawImage(mask, 0, 0, width, height);
    const pixels = this.pixels();
    for (let i = 0; i < pixels.data.length; i += 4) {
      const on = pixels.data[i] > 127 && pixels.data[i + 3] > 127;
      pixels.data.set(on ? [0xb8, 0x4d, 0x24, 255] : [0, 0, 0, 0], i);
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
    context.globalCompositeOperation = this.tools.erase.checked ? 'destination-out' : 'source-over';
    context.strokeStyle = context.fillStyle = PAINT;
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
      announce(this.down ? 'The brush is down: arrow keys paint' : 'The brush is up');
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
    this.clearButton.disabled = !this.pixels().data.some(value => value > 0);
  }

  private showBrush(): void {
    const { width, height } = this.canvas;
    const [x, y, size] = [this.at.x / width, this.at.y / height, 2 * this.radius / width].map(share => `${share * 100}%`);
    Object.entries({ '--x': x, '--y': y, '--size': size }).forEach(([name, value]) => this.brush.style.setProperty(name, value));
    this.brush.classList.toggle('down', this.down);
    this.brush.hidden = false;
  }
}
