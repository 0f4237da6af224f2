import { zipSync } from 'fflate';
import type { Picture } from './picture_store.js';
import { fileName } from './stage.js';

/** All pictures in one file. PNG files do not become smaller, so they are only put side by side. */
export async function zipPictures(pictures: Picture[]): Promise<Blob> {
  const files: Record<string, Uint8Array> = {};
  for (const picture of pictures) {
    const name = fileName(picture);
    files[name in files ? name.replace(/\.png$/, `-${picture.id}.png`) : name] = new Uint8Array(await picture.file.arrayBuffer());
  }
  return new Blob([zipSync(files, { level: 0 })], { type: 'application/zip' });
}
