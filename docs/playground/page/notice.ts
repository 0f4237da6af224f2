import { announce, byId } from './dom.js';

/** One line at the foot of the page about what was just done, with a way back, until something else is done. */
export class Notice {
  private readonly box = byId('notice');
  private readonly action = byId<HTMLButtonElement>('notice-action');

  constructor() {
    byId('notice-close').onclick = () => this.hide();
  }

  /** @param focus whether to go to the way back, where what was used is gone. */
  show(text: string, action?: { label: string; run: () => void }, focus = false): void {
    byId('notice-text').textContent = text;
    this.action.hidden = !action;
    this.action.textContent = action?.label ?? '';
    this.action.onclick = () => {
      this.hide();
      action?.run();
    };
    this.box.hidden = false;
    announce(text);
    if (focus && action) this.action.focus();
  }

  hide(): void {
    this.box.hidden = true;
  }
}
