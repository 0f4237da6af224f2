import type { ModelSource } from '../protocol.js';
import { byId } from './dom.js';

/** Asks which model to load. */
export class ModelDialog {
  private readonly dialog = byId<HTMLDialogElement>('model-dialog');
  private readonly name = byId<HTMLInputElement>('model-name');
  private readonly files = byId<HTMLInputElement>('model-files');

  constructor(private readonly onChoose: (source: ModelSource) => void) {
    byId('other-model').onclick = () => this.dialog.showModal();
    this.dialog.onclose = () => this.choose();
    this.files.onchange = () => {
      if (this.files.files?.length) this.dialog.close('files');
    };
  }

  private choose(): void {
    const name = this.name.value.trim();
    const files = [...this.files.files ?? []].map(file => [file.webkitRelativePath || file.name, file] as [string, File]);
    const choice = this.dialog.returnValue;
    this.dialog.returnValue = '';
    this.files.value = '';
    if (choice === 'bundled') this.onChoose({ kind: 'bundled' });
    if (choice === 'name' && name) this.onChoose({ kind: 'name', name });
    if (choice === 'files') this.onChoose({ kind: 'files', files });
  }
}
