/** RGB bytes -> the bytes of a PNG file. The encoder is loaded at first use: not every program saves pictures. */
export async function encodePng({ data, width, height }: { data: Uint8Array; width: number; height: number }): Promise<Uint8Array> {
  const { PNG } = (await import('pngjs')).default;
  const png = new PNG({ width, height, colorType: 2, inputColorType: 2, inputHasAlpha: false });
  png.data = data as Buffer;
  return PNG.sync.write(png, { colorType: 2, inputColorType: 2, inputHasAlpha: false });
}
