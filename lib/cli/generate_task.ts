import { access, constants } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Generator } from '../core/random.js';
import { Image } from '../image/image.js';
import type { InpaintOptions } from '../pipelines/stable_diffusion/stable_diffusion_inpaint.js';
import { checkControl, readControl, type ControlTask } from './control.js';
import type { GenerateCommandOptions } from './generate_command_options.js';
import { readGuidance, type Guidance } from './guidance.js';
import { refuseWithout, UsageError } from './usage_error.js';

/** What to make of which prompts: all that can be known before the work. */
export interface GenerateTask {
  prompts: readonly string[];
  options: GenerateCommandOptions;
  /** Whether nobody said what to draw. */
  isGallery: boolean;
  /** How many pictures of all prompts. */
  count: number;
  /** That of the first picture. */
  seed: bigint;
  guidance: Guidance;
  /** What to begin from besides noise, and to be led by. */
  start: Partial<Pick<InpaintOptions, 'image' | 'maskImage' | 'strength' | 'ipAdapterImage'>>;
  /** What to steer by, if anything. */
  control?: ControlTask;
  embeddings: ReadonlyArray<readonly [token: string, source: string]>;
}

/** What the demo model draws when nobody asks for something else, and how: well enough in few steps. */
const GALLERY_OPTIONS = { grid: { rows: 2, cols: 4 }, scheduler: 'DPMSolverMultistepScheduler', steps: 20 };
const GALLERY = [
  'a red circle on a white background',
  'a yellow star on a black background',
  'a large pink heart on a purple background',
  'a green tree on a cyan background',
  'an orange fish on a blue background',
  'a blue house on a yellow background',
  'a white moon on a black background',
  'a red mushroom on a green background',
];

/** @throws UsageError for options that do not go together, Error for files that cannot be read or written. */
export async function readTask(prompts: string[], given: GenerateCommandOptions): Promise<GenerateTask> {
  const isGallery = prompts.length === 0;
  if (isGallery && given.model) throw new UsageError('prompt: got none, takes at least one with --model');
  const options = isGallery ? { ...GALLERY_OPTIONS, ...given } : given;
  const { grid, image, mask, strength, output, profile, embedding = [], numImages, seed } = options;
  const count = (isGallery ? GALLERY : prompts).length * numImages;
  if (grid && grid.rows * grid.cols !== count) {
    throw new UsageError(`--grid: got ${grid.rows}x${grid.cols}, takes rows and columns for ${count} images`);
  }
  refuseWithout('--image', image, { '--mask': mask, '--strength': strength });
  refuseWithout('--lora', given.lora, { '--lora-scale': given.loraScale });
  const { controlnet, controlImage, canny, controlMode, controlnetScale, controlGuidanceStart, controlGuidanceEnd } = given;
  const guidance = readGuidance(given);
  checkTogether('--controlnet', '--control-image', {
    '--controlnet': controlnet, '--control-image': controlImage, '--canny': canny, '--control-mode': controlMode,
    '--controlnet-scale': controlnetScale, '--control-guidance-start': controlGuidanceStart, '--control-guidance-end': controlGuidanceEnd,
  });
  checkControl(given);
  const { ipAdapter, ipAdapterWeights, ipAdapterImage, ipAdapterScale } = given;
  checkTogether('--ip-adapter', '--ip-adapter-image', {
    '--ip-adapter': ipAdapter, '--ip-adapter-weights': ipAdapterWeights, '--ip-adapter-image': ipAdapterImage,
    '--ip-adapter-scale': ipAdapterScale,
  });
  await checkOutput('--output', output, 'png');
  if (typeof profile === 'string') await checkOutput('--profile', profile, 'json');
  return {
    prompts: isGallery ? GALLERY : prompts, options, isGallery, count, guidance,
    embeddings: embedding.map(parseEmbedding), ...await readPictures(options),
    seed: seed < 0 ? BigInt(new Generator().seed()) : seed,
  };
}

/** @throws UsageError for what leads or steers without its picture, and for options of it that come without it. */
function checkTogether(name: string, picture: string, { [name]: given, ...others }: Readonly<Record<string, unknown>>): void {
  if (given && !others[picture]) throw new UsageError(`${name}: takes ${picture} too`);
  refuseWithout(name, given, others);
}

/** What to begin from besides noise, to be led by and to steer by. */
async function readPictures(options: GenerateCommandOptions): Promise<Pick<GenerateTask, 'start' | 'control'>> {
  const { image, mask, strength, ipAdapterImage, width, height } = options;
  const begin = image ? { image: await Image.open(image), ...(mask && { maskImage: await Image.open(mask) }), strength } : undefined;
  const start = { ...begin, ...ipAdapterImage && { ipAdapterImage: await Image.open(ipAdapterImage) } };
  return { start, control: await readControl(options, { ...begin?.image, ...width && { width }, ...height && { height } }) };
}

/** '<cat>=cat.safetensors' -> its parts. */
function parseEmbedding(text: string): [token: string, source: string] {
  const [, token, source] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (!token) throw new UsageError(`--embedding: got '${text}', takes what prompts call it and its file, as in '<cat>=cat.safetensors'`);
  return [token, source];
}

/** @throws UsageError, Error if nothing could be saved there: better now than after the work. */
async function checkOutput(option: string, output: string, extension: string): Promise<void> {
  if (!output.toLowerCase().endsWith(`.${extension}`)) {
    throw new UsageError(`${option}: got '${output}', takes a name that ends in .${extension}`);
  }
  const folder = dirname(output);
  await access(folder, constants.W_OK).catch(error => {
    const reason = error.code === 'ENOENT' ? 'there is no such folder' : 'no permission';
    throw new Error(`${option}: cannot write into ${folder}: ${reason}`, { cause: error });
  });
}
