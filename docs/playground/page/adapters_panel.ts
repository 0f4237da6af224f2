import type { AdapterKind, AdaptReply, ModelInfo } from '../protocol.js';
import { announce, byId, make, showProblem } from './dom.js';

/** What the panel asks for. */
export interface AdapterWishes {
  adapt(kind: AdapterKind, name: string, file: File): void;
  /** Writes a learned word into the prompt. */
  insert(word: string): void;
  changed(): void;
}

/** What adds to the model: LoRAs, each with its strength, and learned words, from small files or the server's own. They leave with the model. */
export class AdaptersPanel {
  private readonly list = byId<HTMLUListElement>('adapters');
  private readonly inputs = { lora: byId<HTMLInputElement>('lora-file'), word: byId<HTMLInputElement>('word-file') };
  private readonly buttons = { lora: byId<HTMLButtonElement>('add-lora'), word: byId<HTMLButtonElement>('add-word') };
  private readonly scales = new Map<string, HTMLInputElement>();

  constructor(private readonly wishes: AdapterWishes) {
    for (const kind of ['lora', 'word'] as const) {
      this.buttons[kind].onclick = () => this.inputs[kind].click();
      this.inputs[kind].onchange = () => this.add(kind);
    }
  }

  /** How strongly each LoRA acts. Those that are at 0 are not among them. */
  get value(): Record<string, number> | undefined {
    const scales = [...this.scales].map(([name, input]) => [name, input.valueAsNumber] as const).filter(([, scale]) => scale !== 0);
    return scales.length > 0 ? Object.fromEntries(scales) : undefined;
  }

  /** As far as they are loaded. */
  set value(scales: Record<string, number> | undefined) {
    for (const [name, input] of this.scales) {
      input.valueAsNumber = scales?.[name] ?? 0;
      input.dispatchEvent(new Event('input', { bubbles: true }));
    }
  }

  /** Whether nothing adds to the model. */
  get isEmpty(): boolean {
    return this.list.childElementCount === 0;
  }

  take(reply: AdaptReply): void {
    const { kind, name } = reply;
    this.buttons[kind].disabled = false;
    if (reply.type === 'refused') return showProblem(this.buttons[kind], reply.message);
    this.append(kind === 'lora' ? this.loraItem(name, 1) : this.wordItem(name));
    announce(`${name} is loaded`);
    this.wishes.changed();
  }

  /** Begins anew with another model: with the LoRAs that are there already, none of which acts yet, and files where it takes them. */
  offer({ loras, takes }: ModelInfo): void {
    this.scales.clear();
    this.list.replaceChildren();
    byId('adapters-summary').textContent = '';
    for (const name of loras) this.append(this.loraItem(name, 0));
    const takesFiles = takes.includes('files');
    for (const button of Object.values(this.buttons)) {
      button.closest<HTMLElement>('.field')!.hidden = !takesFiles;
      showProblem(button);
    }
    byId('no-loras').hidden = takesFiles || loras.length > 0;
  }

  private append(item: HTMLElement): void {
    this.list.append(make('li', {}, item));
    byId('adapters-summary').textContent = String(this.list.childElementCount);
  }

  private add(kind: AdapterKind): void {
    const [file] = this.inputs[kind].files ?? [];
    this.inputs[kind].value = '';
    if (!file) return;
    showProblem(this.buttons[kind]);
    this.buttons[kind].disabled = true;
    const stem = file.name.replace(/\.\w+$/, '');
    this.wishes.adapt(kind, kind === 'lora' ? stem : `<${stem.replace(/[<>\s]+/g, '-')}>`, file);
  }

  private loraItem(name: string, scale: number): HTMLElement {
    const id = `lora-scale-${this.scales.size}`;
    const output = make('output', { htmlFor: id } as never, String(scale));
    const input = make('input', { id, type: 'range', min: '0', max: '2', step: '0.05', value: String(scale), oninput: () => { output.textContent = input.value; } });
    this.scales.set(name, input);
    return make('div', { className: 'field' }, make('label', { htmlFor: id }, name), output, input);
  }

  private wordItem(word: string): HTMLElement {
    return make('div', { className: 'word' }, make('span', {}, word), make('button', {
      type: 'button', ariaLabel: `Use ${word} in the prompt`, onclick: () => this.wishes.insert(word),
    }, 'Use'));
  }
}
