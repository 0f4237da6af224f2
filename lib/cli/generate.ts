import { access, constants, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { Generator } from '../core/random.js';
import { makeImageGrid } from '../image/grid.js';
import { Image } from '../image/image.js';
import { StableDiffusionImg2ImgPipeline } from '../pipelines/stable_diffusion_img2img.js';
import { StableDiffusionInpaintPipeline, type InpaintOptions } from '../pipelines/stable_diffusion_inpaint.js';
import { useDevice, type Device } from '../runtime/devices.js';
import { schedulerClass } from '../schedulers/index.js';
import { DEMO_MODEL, loadPipeline } from './load_pipeline.js';
import { UsageError } from './usage_error.js';

export interface GenerateCommandOptions {
  model?: string;
  revision?: string;
  variant?: string;
  predictionType?: 'epsilon' | 'v_prediction';
  device: Device | 'auto';
  gpuMemoryFraction?: number;
  dtype: 'float32' | 'float16' | 'bfloat16';
  scheduler?: string;
  steps?: number;
  guidanceScale?: number;
  negativePrompt?: string;
  image?: string;
  mask?: string;
  strength?: number;
  lora?: string[];
  loraScale?: number;
  /** `token=source` each. */
  embedding?: string[];
  /** -1: draw one. */
  seed: bigint;
  numImages: number;
  height?: number;
  width?: number;
  output: string;
  grid?: { rows: number; cols: number };
  compile?: boolean;
  /** A file for the trace, or true for the tables alone. */
  profile?: string | true;
  json?: boolean;
  quiet?: boolean;
}

interface SavedImage {
  file: string;
  prompt: string;
  /** A text where a number cannot hold it. */
  seed: number | string;
  width: number;
  height: number;
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

/** `tfjs-diffusers generate` */
export async function generate(prompts: string[], options: GenerateCommandOptions): Promise<void> {
  if (prompts.length === 0) {
    if (options.model) throw new UsageError('prompt: got none, takes at least one with --model');
    prompts = GALLERY;
    options = { ...GALLERY_OPTIONS, ...options };
  }
  const count = prompts.length * options.numImages;
  if (options.grid && options.grid.rows * options.grid.cols !== count) {
    throw new UsageError(`--grid: got ${options.grid.rows}x${options.grid.cols}, takes rows and columns for ${count} images`);
  }
  if ((options.mask || options.strength !== undefined) && !options.image) throw new UsageError(`${options.mask ? '--mask' : '--strength'}: takes --image too`);
  await checkOutput('--output', options.output, 'png');
  if (typeof options.profile === 'string') await checkOutput('--profile', options.profile, 'json');
  const embeddings = (options.embedding ?? []).map(parseEmbedding);
  const start = await readStart(options);
  const seed = options.seed < 0 ? BigInt(new Generator().seed()) : options.seed;
  const interrupted = new AbortController();
  process.once('SIGINT', () => interrupted.abort()); // another one ends the process at once

  const say = options.json || options.quiet ? () => undefined : console.log;
  const model = options.model ?? DEMO_MODEL;
  const started = performance.now();
  const device = await useDevice(options.device, { memoryFraction: options.gpuMemoryFraction });
  const Pipeline = options.mask ? StableDiffusionInpaintPipeline : options.image ? StableDiffusionImg2ImgPipeline : undefined;
  const pipe = await loadPipeline(model, {
    device, dtype: options.dtype, revision: options.revision, variant: options.variant, predictionType: options.predictionType,
    compile: options.compile, signal: interrupted.signal,
  }, { quiet: options.quiet, say, Pipeline });
  try {
    if (options.scheduler) pipe.scheduler = schedulerClass(options.scheduler).fromConfig(pipe.scheduler.config);
    for (const source of options.lora ?? []) await pipe.loadLoraWeights(source, { adapterScale: options.loraScale });
    for (const [token, source] of embeddings) await pipe.loadTextualInversion(source, { token });
    const loaded = performance.now();
    say(`${options.model ?? 'The demo model'} on ${pipe.device}, ${(pipe.numParameters / 1e6).toFixed(1)} million parameters.`);
    const images: Image[] = [];
    const saved: SavedImage[] = [];
    const drawAll = async () => {
      for (const [i, prompt] of prompts.entries()) {
        pipe.setProgressBarConfig({ disable: options.quiet, desc: prompts.length > 1 ? `${i + 1}/${prompts.length}` : '' });
        const generators = Array.from({ length: options.numImages }, (_, k) => new Generator().manualSeed(BigInt.asUintN(64, seed + BigInt(images.length + k))));
        const settings = {
          ...start,
          negativePrompt: options.negativePrompt,
          numInferenceSteps: options.steps,
          guidanceScale: options.guidanceScale,
          height: options.height,
          width: options.width,
          numImagesPerPrompt: options.numImages,
          generator: generators,
          signal: interrupted.signal,
        };
        const made = await pipe.generate(prompt, settings);
        for (const [k, image] of made.images.entries()) {
          const file = count === 1 ? options.output : numbered(options.output, images.length);
          await image.save(file);
          images.push(image);
          const { initialSeed } = generators[k];
          saved.push({ file, prompt, seed: typeof initialSeed === 'bigint' ? `${initialSeed}` : initialSeed, width: image.width, height: image.height });
          say(`${file}  ${prompt}  (seed ${initialSeed})`);
        }
        interrupted.signal.throwIfAborted();
      }
    };
    const profile = options.profile ? (await pipe.profile(drawAll)).profile : void await drawAll();
    if (profile && typeof options.profile === 'string') await writeFile(options.profile, JSON.stringify(profile.toTrace()));
    const grid = options.grid && numbered(options.output, 'grid');
    if (grid) await makeImageGrid(images, options.grid!).save(grid);
    if (grid) say(`${grid}  all of them`);
    if (options.json) {
      console.log(JSON.stringify({
        model, device: pipe.device, scheduler: pipe.scheduler.constructor.name,
        steps: options.steps ?? pipe.defaults.numInferenceSteps, guidanceScale: options.guidanceScale ?? pipe.defaults.guidanceScale, images: saved, grid,
        seconds: { load: seconds(started, loaded), generate: seconds(loaded, performance.now()) },
        profile: profile && { networks: profile.networks, layers: profile.layers },
      }));
    }
    if (profile) say(`\n${profile}`);
    if (profile && pipe.device === 'cuda') say('A GPU works on when a call has returned: these are the times in which work is handed to it.');
    if (typeof options.profile === 'string') say(`\n${options.profile}  every call in time, for ui.perfetto.dev`);
    say(`\nThe files are in ${resolve(dirname(options.output))}`);
    if (pipe.device === 'wasm') say(`This ran on plain WASM; the native backend is several times as fast: ${commandName('setup')}`);
    if (prompts === GALLERY) say(`Try your own: ${commandName('generate')} "a large blue star on an orange background" --seed 3`);
  } finally {
    pipe.dispose();
  }
}

/** What to begin from besides noise. */
async function readStart({ image, mask, strength }: GenerateCommandOptions): Promise<Partial<Pick<InpaintOptions, 'image' | 'maskImage' | 'strength'>>> {
  if (!image) return {};
  return { image: await Image.open(image), ...(mask && { maskImage: await Image.open(mask) }), strength };
}

/** '<cat>=cat.safetensors' -> its parts. */
function parseEmbedding(text: string): [token: string, source: string] {
  const [, token, source] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (!token) throw new UsageError(`--embedding: got '${text}', takes what prompts call it and its file, as in '<cat>=cat.safetensors'`);
  return [token, source];
}

/** @throws UsageError, Error if nothing could be saved there: better now than after the work. */
async function checkOutput(option: string, output: string, extension: string): Promise<void> {
  if (!output.toLowerCase().endsWith(`.${extension}`)) throw new UsageError(`${option}: got '${output}', takes a name that ends in .${extension}`);
  const folder = dirname(output);
  await access(folder, constants.W_OK).catch(error => {
    throw new Error(`${option}: cannot write into ${folder}: ${error.code === 'ENOENT' ? 'there is no such folder' : 'no permission'}`, { cause: error });
  });
}

/** out.png -> out-0.png */
function numbered(output: string, suffix: number | string): string {
  return output.replace(/(?=\.png$)/i, `-${suffix}`);
}

function seconds(from: number, to: number): number {
  return Math.round(to - from) / 1000;
}

/** What the user would type: in a clone, npm runs us. */
function commandName(command: 'generate' | 'setup'): string {
  if (process.env.npm_lifecycle_event !== 'start') return `npx tfjs-diffusers ${command}`;
  return command === 'generate' ? 'npm start --' : `npm run ${command}`;
}
