import { byId, showProblem } from './dom.js';

/** A button by which a picture file is chosen, and its fold, which a picture opens. */
export class PictureChoice {
  readonly fold: HTMLDetailsElement;
  readonly button: HTMLButtonElement;

  /** @param name of the fold and its elements. @param onPicture given each picture, which it closes. */
  constructor(name: string, private readonly onPicture: (picture: ImageBitmap) => void) {
    this.fold = byId<HTMLDetailsElement>(`${name}-fold`);
    this.button = byId<HTMLButtonElement>(`${name}-choose`);
    const input = byId<HTMLInputElement>(`${name}-file`);
    this.button.onclick = () => input.click();
    input.onchange = () => {
      const [file] = input.files ?? [];
      input.value = '';
      if (file) void this.take(file);
    };
  }

  /** Takes a picture file. What the browser cannot read leaves what is there. */
  async take(file: Blob): Promise<void> {
    this.fold.open = true;
    showProblem(this.button);
    try {
      this.onPicture(await createImageBitmap(file, { imageOrientation: 'from-image' }));
    } catch {
      return showProblem(this.button, `${(file as File).name ?? 'The file'} cannot be read as a picture by this browser`);
    }
    this.fold.scrollIntoView({ block: 'nearest' });
  }
}
