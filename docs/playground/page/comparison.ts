import { byId, factList } from './dom.js';
import type { Picture } from './picture_store.js';

/** A picture that stays beside the one that is shown. */
export class Comparison {
  private readonly figure = byId('pinned');
  private readonly image = byId<HTMLImageElement>('pinned-image');
  private readonly button = byId<HTMLButtonElement>('compare');

  constructor() {
    byId('unpin').onclick = () => {
      this.end();
      this.button.focus();
    };
  }

  begin(picture: Picture, facts: string[]): void {
    this.end();
    const { settings: { prompt, width, height }, file } = picture;
    this.image.src = URL.createObjectURL(file);
    this.image.alt = prompt;
    this.image.className = Math.max(width, height) < 256 ? 'small' : '';
    byId('pinned-caption').textContent = prompt;
    byId('pinned-facts').replaceChildren(...factList(facts));
    this.figure.hidden = false;
    document.body.classList.add('comparing');
  }

  end(): void {
    URL.revokeObjectURL(this.image.src);
    this.image.removeAttribute('src');
    this.figure.hidden = true;
    document.body.classList.remove('comparing');
  }
}
