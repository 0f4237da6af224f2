import { byId } from './dom.js';

/** The folds of pictures that are for something. */
const PLACES = ['start', 'steer', 'style'] as const;

/** Pictures that are dropped on the page, or pasted. @param onFile told of each, and for what it surely is. */
export function receivePictures(onFile: (file: File, place?: typeof PLACES[number]) => void): void {
  const placeOf = ({ target }: Event) => PLACES.find(place => byId(`${place}-fold`).contains(target as Node));
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
    if (file) onFile(file, placeOf(event));
  });
  document.addEventListener('paste', event => {
    const file = pictureOf(event.clipboardData);
    if (!file) return;
    event.preventDefault();
    onFile(file, placeOf(event) ?? 'start');
  });
}
