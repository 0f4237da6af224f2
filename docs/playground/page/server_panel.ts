import type { ModelSource, ServerField } from '../protocol.js';
import { byId, showProblem } from './dom.js';
import { toAddress } from './server_client.js';

type ServerSource = Extract<ModelSource, { kind: 'server' }>;

/** Which server makes pictures, by which key and which of its models. The key is forgotten when the page is left. */
export class ServerPanel {
  readonly fields: Record<ServerField, HTMLInputElement | HTMLSelectElement> = {
    address: byId<HTMLInputElement>('server-address'), key: byId<HTMLInputElement>('server-key'), model: byId<HTMLSelectElement>('server-model'),
  };
  /** Whose models are listed. */
  private listed?: string;

  /** @param ask wants a model, by the control that was used. */
  constructor(private readonly ask: (source: ServerSource, control: HTMLElement) => void) {
    const { address, key, model } = this.fields;
    byId('serve-command').textContent = `tfjs-diffusers serve --cors ${location.origin}`;
    byId('connect').onclick = () => this.connect();
    for (const field of [address, key]) {
      field.onkeydown = event => {
        if (event.key !== 'Enter') return;
        event.preventDefault(); // or a picture would be made
        this.connect();
      };
    }
    model.onchange = () => this.ask({ kind: 'server', url: this.listed!, model: model.value }, model);
  }

  get key(): string | undefined {
    return this.fields.key.value.trim() || undefined;
  }

  /** Lists a server's models. */
  offer({ url }: ServerSource, models: readonly string[]): void {
    this.listed = url;
    this.fields.model.replaceChildren(...models.map(name => new Option(name, name)));
    byId('server-models').hidden = false;
  }

  /** Says what is used, or was at the last visit. */
  show(source: ServerSource): void {
    this.fields.address.value = source.url;
    this.mark(source);
  }

  /** Says which of the models that are listed is used. */
  mark({ url, model = '' }: ServerSource): void {
    if (this.listed === url) this.fields.model.value = model;
  }

  private connect(): void {
    const { address, model } = this.fields;
    const url = toAddress(address.value.trim());
    if (url === undefined) return showProblem(address, 'Say where the server is, as in http://localhost:7860');
    this.ask({ kind: 'server', url, ...url === this.listed && { model: model.value } }, address);
  }
}
