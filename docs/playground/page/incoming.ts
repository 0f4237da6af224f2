import { byId } from './dom.js';

/** Pictures that are dropped on the page, or pasted. @param onFile told of each, and whether it is surely one to begin from, or to steer by. */
export function receivePictures(onFile: (file: File, place?: 'start' | 'steer') => void): void {
  const pictureOf = (data: DataTransfer | null) => [...data?.files ?? []].find(({ type }) => type.startsWith('image/'));
  const mark = (on: boolean) => document.body.classList.toggle('dropping', on);
  document.addEventListener('dragover', event => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    mark(true);
  });
  document.addEventListener('dragleave', event => {
    if (!event.relatedTarget) mark(false);
  });
  document.addEventListener('drop', event => {
    mark(false);
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault(); // or the page would give way to the file
    const file = pictureOf(event.dataTransfer);
    if (file) onFile(file, (['start', 'steer'] as const).find(place => byId(`${place}-fold`).contains(event.target as Node)));
  });
  document.addEventListener('paste', event => {
    const file = pictureOf(event.clipboardData);
    if (!file) return;
    event.preventDefault();
    onFile(file, byId('steer-fold').contains(event.target as Node) ? 'steer' : 'start');
  });
}
