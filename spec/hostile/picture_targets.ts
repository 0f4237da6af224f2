import { parseGenerationParameters } from '../../lib/image/generation_parameters.js';
import { Image } from '../../lib/image/image.js';
import { readSafetensors } from '../../lib/weights/safetensors.js';
import { idat, pngChunk, pngFile } from '../support/png.js';
import { golden, type Target } from './target.js';

/** Pictures to begin from, and what they say of themselves. */
export function pictureTargets(): Target[] {
  const { tensors } = readSafetensors(golden('pictures/pictures.safetensors.gz'));
  const pictures = ['texts', 'colour 3, 4 bits, interlaced'].map(name => Uint8Array.from(tensors[`${name}/png`].data));
  const parameters = 'a cat\nNegative prompt: a dog\nSteps: 20, Sampler: "Euler, \\"a\\"", CFG scale: 7.5, Seed: 1, Size: 512x512, Model: x, Clip skip: 2';
  const read = async (bytes: Uint8Array) => void parseGenerationParameters((await Image.fromPng(bytes)).text.parameters ?? '');
  const photos = readSafetensors(golden('pictures/photos.safetensors.gz')).tensors;
  const photo = (name: string) => Uint8Array.from(photos[`${name}/file`].data);
  const header = [0, 0, 0, 5, 0, 0, 0, 3, 8, 2, 0, 0, 1];
  const rows = Array<number>(52).fill(1); // interlaced
  return [
    { name: 'PNG', isJson: false, seeds: [...pictures, photo('PNG held 5')], read },
    ...['BMP P', 'BMP 16 bits, masks', 'JPEG held 6', 'WebP', 'GIF that moves', 'TIFF tiff_lzw'].map(name => ({
      name, isJson: false, seeds: [photo(name)], read: async (bytes: Uint8Array) => void await Image.fromBytes(bytes),
    })),
    {
      name: 'PNG behind its checksums', isJson: false, seeds: [Uint8Array.of(...header, ...rows, ...new TextEncoder().encode(`parameters\0${parameters}`))],
      read: bytes => read(pngFile(
        pngChunk('IHDR', bytes.subarray(0, 13)), pngChunk('PLTE', bytes.subarray(13, 25)), idat(bytes.subarray(13, 65)),
        pngChunk('tEXt', bytes.subarray(65)), pngChunk('iTXt', bytes.subarray(20)))),
    },
  ];
}
