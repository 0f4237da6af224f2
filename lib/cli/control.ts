import { cannyEdges } from '../image/edges.js';
import { Image } from '../image/image.js';
import type { ControlNetImg2ImgOptions } from '../pipelines/controlnet/stable_diffusion_controlnet_img2img.js';
import type { GenerateCommandOptions } from './generate_command_options.js';
import { UsageError } from './usage_error.js';

/** What to steer by, and how, in the pipelines' words: lists where there are several pictures. */
export type ControlTask = Pick<
  ControlNetImg2ImgOptions, 'controlImage' | 'controlMode' | 'controlnetConditioningScale' | 'controlGuidanceStart' | 'controlGuidanceEnd'
>;

/** @throws UsageError where there is not one of each for each picture. */
export function checkControl(options: GenerateCommandOptions): void {
  const { controlnet = [], controlImage = [], controlMode } = options;
  const { controlnetScale, controlGuidanceStart, controlGuidanceEnd } = options;
  if (controlMode) {
    takesOneForEach('--control-mode', controlMode, '--control-image', controlImage);
    takesOneOrOneForEach('--controlnet', controlnet, controlImage);
  } else {
    takesOneForEach('--control-image', controlImage, '--controlnet', controlnet);
  }
  takesOneOrOneForEach('--controlnet-scale', controlnetScale, controlImage);
  takesOneOrOneForEach('--control-guidance-start', controlGuidanceStart, controlImage);
  takesOneOrOneForEach('--control-guidance-end', controlGuidanceEnd, controlImage);
}

function takesOneForEach(option: string, given: readonly unknown[], other: string, others: readonly unknown[]): void {
  if (given.length === others.length) return;
  throw new UsageError(`${option}: got ${given.length}, takes ${others.length}, one for each ${other}`);
}

function takesOneOrOneForEach(option: string, given: readonly unknown[] | undefined, pictures: readonly unknown[]): void {
  if (!given || given.length === 1) return;
  takesOneForEach(option, given, '--control-image', pictures);
}

/** Reads the pictures. @param size of the picture that is made, as far as it is known. */
export async function readControl(
  options: GenerateCommandOptions, size: { width?: number; height?: number },
): Promise<ControlTask | undefined> {
  const { controlImage: files, canny, controlMode, controlnetScale, controlGuidanceStart, controlGuidanceEnd } = options;
  if (!files) return undefined;
  const pictures: Image[] = [];
  for (const file of files) pictures.push(await readPicture(file, { ...pictures.at(0), ...size }, canny));
  return {
    controlImage: oneOrAll(pictures), controlMode: oneOrAll(controlMode), controlnetConditioningScale: oneOrAll(controlnetScale),
    controlGuidanceStart: oneOrAll(controlGuidanceStart), controlGuidanceEnd: oneOrAll(controlGuidanceEnd),
  };
}

/** The picture, or its edges, of the size that they are wanted in: scaled afterwards they would be grey. */
async function readPicture(file: string, size: { width?: number; height?: number }, canny?: boolean): Promise<Image> {
  const picture = (await Image.open(file)).toRgb();
  if (!canny) return picture;
  return cannyEdges(picture.resize(size.width ?? picture.width, size.height ?? picture.height));
}

function oneOrAll<T extends undefined | readonly unknown[]>(given: T): T extends readonly (infer One)[] ? One | One[] : undefined;
function oneOrAll(given?: readonly unknown[]): unknown {
  return given?.length === 1 ? given[0] : given;
}
