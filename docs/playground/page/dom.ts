/** The element of an id, which the page has. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  return document.getElementById(id) as E;
}

/** An element with properties and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K, properties: Partial<HTMLElementTagNameMap[K]> = {}, ...children: Array<Node | string>
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Facts side by side, which break between each other. */
export function factList(facts: string[]): Array<Node | string> {
  return facts.flatMap((fact, i) => [...i ? [' · '] : [], make('span', {}, fact)]);
}

/** Says something to those who listen to the page. */
export function announce(message: string): void {
  byId('status').textContent = message;
}

/** Says below a control what failed of what it was used for, or takes that back. */
export function showProblem(control: HTMLElement, message = ''): void {
  const id = `${control.id}-problem`;
  document.getElementById(id)?.remove();
  control.removeAttribute('aria-describedby');
  if (!message) return;
  (control.closest('.joined') ?? control).after(make('p', { id, className: 'error', role: 'alert' }, message));
  control.setAttribute('aria-describedby', id);
}

/** '14.1 MB' */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

/** '840 ms', '1.9 s', '4 min' */
export function duration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  return milliseconds < 100_000 ? `${(milliseconds / 1000).toFixed(1)} s` : `${Math.round(milliseconds / 60_000)} min`;
}
