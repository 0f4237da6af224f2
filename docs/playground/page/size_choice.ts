import type { ModelInfo } from '../protocol.js';
import { byId } from './dom.js';

/** Offered sizes, relative to what the model was trained on. */
const SIZES = [[1, 1], [1.5, 1], [1, 1.5], [1.5, 1.5], [2, 2]];
const CUSTOM = 'custom';

/** How large pictures are to be: one of a few sizes, or any that the model can make. */
export class SizeChoice {
  private readonly select = byId<HTMLSelectElement>('size');
  private readonly custom = byId('custom-size');
  private readonly sides = [byId<HTMLInputElement>('width'), byId<HTMLInputElement>('height')];
  private trained?: Pick<ModelInfo, 'width' | 'height'>;
  private wanted?: { width: number; height: number };

  /** @param onChange told of another size. */
  constructor(private readonly onChange: () => void) {
    this.select.onchange = () => {
      this.show();
      if (this.select.value === CUSTOM) this.sides[0].focus();
    };
    for (const side of this.sides) side.oninput = () => this.show();
  }

  get value(): { width: number; height: number } {
    const [width, height] = this.select.value === CUSTOM ? this.sides.map(side => side.valueAsNumber) : this.select.value.split('x').map(Number);
    return { width, height };
  }

  set value(size: { width: number; height: number }) {
    this.wanted = size;
    const value = `${size.width}x${size.height}`;
    this.select.value = [...this.select.options].some(option => option.value === value) ? value : CUSTOM;
    [size.width, size.height].forEach((pixels, i) => { this.sides[i].value = String(pixels); });
    this.show();
  }

  /** Offers what suits a model. What was chosen before stays, unless it was what another model was trained on. */
  offer({ width, height, sideFactor }: ModelInfo): void {
    const before = this.trained ? this.value : this.wanted;
    const usual = this.trained && before?.width === this.trained.width && before.height === this.trained.height;
    this.trained = { width, height };
    const multiple = (pixels: number) => Math.round(pixels / sideFactor / 8) * sideFactor * 8 || sideFactor * 8;
    const options = SIZES.map(([x, y]) => [multiple(width * x), multiple(height * y)]).map(([w, h]) => new Option(`${w} × ${h}`, `${w}x${h}`));
    this.select.replaceChildren(...options, new Option('Another…', CUSTOM));
    for (const side of this.sides) Object.assign(side, { min: sideFactor, step: sideFactor, max: 4096 });
    this.value = before && !usual ? before : { width: multiple(width), height: multiple(height) };
  }

  private show(): void {
    const isCustom = this.select.value === CUSTOM;
    this.custom.hidden = !isCustom;
    for (const side of this.sides) side.disabled = !isCustom;
    if (!this.trained) return;
    const { width, height } = this.value;
    const strange = width !== this.trained.width || height !== this.trained.height;
    const note = byId('size-note');
    note.hidden = !strange;
    note.textContent = strange ? `The model was trained on ${this.trained.width} × ${this.trained.height}. At other sizes figures may repeat or come apart.` : '';
    this.onChange();
  }
}
