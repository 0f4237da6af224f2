import { byId, make } from './dom.js';
import type { Picture } from './picture_store.js';

/** Small pictures, newest first; choosing one shows it. */
export class Gallery {
  private readonly section = byId('pictures');
  private readonly list = byId<HTMLUListElement>('gallery');
  private readonly items = new Map<number, HTMLLIElement>();

  constructor(private readonly onChoose: (picture: Picture) => void) {}

  add(picture: Picture, where: 'first' | 'last' = 'first'): void {
    const { settings: { prompt, seed, width, height }, file, id } = picture;
    const image = make('img', { src: URL.createObjectURL(file), alt: `${prompt}, seed ${seed}`, width, height, className: Math.max(width, height) < 256 ? 'small' : '' });
    const button = make('button', { type: 'button', title: prompt, onclick: () => this.onChoose(picture) }, image);
    const item = make('li', {}, button);
    this.items.set(id, item);
    if (where === 'first') this.list.prepend(item);
    else this.list.append(item);
    this.section.hidden = false;
  }

  /** Marks the one that is shown; none without an id. */
  mark(id?: number): void {
    for (const [each, item] of this.items) item.firstElementChild!.ariaCurrent = String(each === id);
  }

  remove({ id }: Picture): void {
    const item = this.items.get(id);
    URL.revokeObjectURL(item?.querySelector('img')?.src ?? '');
    item?.remove();
    this.items.delete(id);
    this.section.hidden = this.items.size === 0;
  }
}
