/** Pixels. */
export interface Size {
  width: number;
  height: number;
}

/** Draws a picture that fills a canvas, cut to its shape, the middle in the middle. */
export function drawFilling(context: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D, picture: ImageBitmap): void {
  const { width, height } = context.canvas;
  const scale = Math.max(width / picture.width, height / picture.height);
  const [w, h] = [picture.width * scale, picture.height * scale];
  context.imageSmoothingQuality = 'high';
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h);
}

/** Gives what is painted on the shape of the picture that is made; small ones show their pixels. */
export function shapeEasel(easel: HTMLElement, { width, height }: Size): void {
  easel.style.setProperty('--ratio', String(width / height));
  easel.classList.toggle('small', Math.max(width, height) < 256);
}
