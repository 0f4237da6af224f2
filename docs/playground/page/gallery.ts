import { byId, make } from './dom.js';
import type { Picture } from './picture_store.js';

/** Small pictures, newest first; choosing one shows it, and arrow keys go from one to the next. */
export class Gallery {
  private readonly section = byId('pictures');
  private readonly list = byId<HTMLUListElement>('gallery');
  private readonly items = new Map<number, { picture: Picture; item: HTMLLIElement; button: HTMLButtonElement }>();
  private marked?: number;

  constructor(private readonly onChoose: (picture: Picture) => void) {
    this.list.onkeydown = event => this.onKey(event);
  }

  /** Newest first. */
  get pictures(): Picture[] {
    return [...this.items.values()].map(({ picture }) => picture).sort((a, b) => b.id - a.id);
  }

  /** Puts it where its age says. */
  add(picture: Picture): void {
    const { settings: { prompt, seed, width, height }, file, id } = picture;
    const image = make('img', { src: URL.createObjectURL(file), alt: `${prompt}, seed ${seed}`, width, height, className: Math.max(width, height) < 256 ? 'small' : '' });
    const button = make('button', { type: 'button', title: prompt, onclick: () => this.onChoose(picture) }, image);
    const item = make('li', {}, button);
    const older = this.pictures.find(each => each.id < id);
    this.items.set(id, { picture, item, button });
    this.list.insertBefore(item, older ? this.items.get(older.id)!.item : null);
    this.section.hidden = false;
    this.mark(this.marked);
  }

  /** Marks the one that is shown; none without an id. */
  mark(id?: number): void {
    this.marked = id;
    const reachable = this.items.has(id!) ? id : this.pictures[0]?.id;
    for (const [each, { button }] of this.items) {
      button.ariaCurrent = String(each === id);
      button.tabIndex = each === reachable ? 0 : -1; // one stop on the way of the tab key; arrows go on from there
    }
    if (id !== undefined) this.items.get(id)?.item.scrollIntoView?.({ block: 'nearest', inline: 'nearest' });
  }

  remove({ id }: Picture): void {
    const { item } = this.items.get(id)!;
    URL.revokeObjectURL(item.querySelector('img')!.src);
    item.remove();
    this.items.delete(id);
    this.section.hidden = this.items.size === 0;
    this.mark(this.marked === id ? undefined : this.marked);
  }

  private onKey(event: KeyboardEvent): void {
    const { pictures } = this;
    const at = pictures.findIndex(({ id }) => this.items.get(id)!.button === document.activeElement);
    const to = { ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowDown: at + 1, Home: 0, End: pictures.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const next = pictures[to];
    if (!next) return;
    this.items.get(next.id)!.button.focus();
    this.onChoose(next);
  }
}
