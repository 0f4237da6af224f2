import { writeFile } from 'node:fs/promises';
import { dirname, posix, resolve } from 'node:path';
import type { Profile } from '../core/profile.js';
import { Generator } from '../core/random.js';
import { makeImageGrid } from '../image/grid.js';
import type { Image } from '../image/image.js';
import {
  AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image, type Text2ImagePipeline,
} from '../pipelines/auto_pipeline.js';
import { ImagePromptPipeline } from '../pipelines/base/image_prompt_pipeline.js';
import { StableDiffusion3ControlNetInpaintingPipeline } from '../pipelines/controlnet/stable_diffusion_3_controlnet_inpainting.js';
import { StableDiffusion3ControlNetPipeline } from '../pipelines/controlnet/stable_diffusion_3_controlnet.js';
import { describeModel } from '../pipelines/describe_model.js';
import { useDevice } from '../runtime/devices.js';
import { schedulerClass } from '../schedulers/index.js';
import type { Scheduler } from '../schedulers/scheduler.js';
import type { GenerateCommandOptions } from './generate_command_options.js';
import { readTask, type GenerateTask } from './generate_task.js';
import { checkGuidance } from './guidance.js';
import { leftOut } from './left_out.js';
import { loadControlNets } from './load_controlnets.js';
import { DEMO_MODEL, loadPipeline } from './load_pipeline.js';
import { interruption } from './supervise.js';
import { textEncodersOf } from './text_encoders.js';
import { UsageError } from './usage_error.js';

/** A picture that is in its file. */
interface Picture {
  image: Image;
  file: string;
  prompt: string;
  seed: number | bigint;
  nsfwContentDetected?: boolean;
}

/** What accompanies the work: how to print a line, and whether to stop. */
interface Company {
  say: (line: string) => void;
  signal: AbortSignal;
}

/** `tfjs-diffusers generate` */
export async function generate(prompts: string[], given: GenerateCommandOptions): Promise<void> {
  const task = await readTask(prompts, given);
  const { options } = task;
  const company: Company = { say: options.json || options.quiet ? () => undefined : console.log, signal: interruption() };
  const started = performance.now();
  const pipe = await load(options, company);
  try {
    checkGuidance(pipe, task.guidance);
    await equip(pipe, task);
    const loaded = performance.now();
    company.say(`${options.model ?? 'The demo model'} on ${pipe.device}, ${(pipe.numParameters / 1e6).toFixed(1)} million parameters.`);
    const pictures: Picture[] = [];
    const drawAll = async () => {
      for (const index of task.prompts.keys()) pictures.push(...await draw(pipe, task, index, company));
    };
    const profile = options.profile ? (await pipe.profile(drawAll)).profile : void await drawAll();
    if (profile && typeof options.profile === 'string') await writeFile(options.profile, JSON.stringify(profile.toTrace()));
    const grid = await saveGrid(pictures, options, company);
    if (options.json) {
      const seconds = { load: toSeconds(loaded - started), generate: toSeconds(performance.now() - loaded) };
      console.log(JSON.stringify({ ...describeRun(pipe, pictures, options), grid, seconds, profile: profile && pickTables(profile) }));
    }
    sayMore(pipe, task, profile, company);
  } finally {
    pipe.dispose();
  }
}

async function load(options: GenerateCommandOptions, { say, signal }: Company): Promise<Text2ImagePipeline> {
  const { model = DEMO_MODEL, gpuMemoryFraction, image, mask, dtype, revision, variant, predictionType } = options;
  const { safetyChecker, compile, profile, quiet, controlMode } = options;
  const device = await useDevice(options.device, { memoryFraction: gpuMemoryFraction });
  const pays = model === DEMO_MODEL && device === 'cpu' && !profile; // a profile tells no layers of a graph
  const controlnet = options.controlnet && await loadControlNets(options.controlnet, controlMode !== undefined, { dtype, signal });
  const Steered = controlnet && AutoPipelineForText2Image;
  const Pipeline = mask ? AutoPipelineForInpainting : image ? AutoPipelineForImage2Image : Steered; // of the model's family
  const how = {
    device, dtype, revision, variant, predictionType, compile: compile ?? (pays || undefined), signal, controlnet, safetyChecker,
    ...textEncodersOf(options), ...leftOut(options),
  };
  return loadPipeline(model, how, { quiet, say, Pipeline });
}

/** Gives the model what it does not have of its own. */
async function equip(pipe: Text2ImagePipeline, { options, embeddings }: GenerateTask): Promise<void> {
  if (options.scheduler) pipe.scheduler = schedulerFor(pipe, options.scheduler);
  if (options.ipAdapter) await lead(pipe, options.ipAdapter, options);
  for (const source of options.lora ?? []) await pipe.loadLoraWeights(source, { adapterScale: options.loraScale });
  for (const [token, source] of embeddings) await pipe.loadTextualInversion(source, { token });
}

/** One of that name. @throws UsageError for one that makes steps of another kind than the model was trained for. */
function schedulerFor(pipe: Text2ImagePipeline, name: string): Scheduler {
  const Class = schedulerClass(name);
  const taken = describeModel(pipe).schedulers.map(scheduler => scheduler.name);
  if (taken.includes(Class.className)) return Class.fromConfig(pipe.scheduler.config);
  throw new UsageError(`--scheduler: got ${Class.className}, this model takes ${taken.join(', ')}`);
}

/** By an IP-Adapter. Its file may lie in a folder, as on the hub, and the image encoder in that folder too. */
async function lead(pipe: Text2ImagePipeline, source: string, options: GenerateCommandOptions): Promise<void> {
  if (!(pipe instanceof ImagePromptPipeline)) {
    throw new UsageError('--ip-adapter: takes a model with a UNet, and this one has a transformer');
  }
  const { ipAdapterWeights = '', ipAdapterScale } = options;
  const { dir: subfolder, base: weightName } = posix.parse(ipAdapterWeights);
  await pipe.loadIpAdapter(source, { subfolder, weightName });
  if (ipAdapterScale !== undefined) await pipe.setIpAdapterScale(ipAdapterScale);
}

/** Makes and saves the pictures of one of the prompts. */
async function draw(pipe: Text2ImagePipeline, task: GenerateTask, index: number, { say, signal }: Company): Promise<Picture[]> {
  const { prompts, count, guidance, options } = task;
  const { numImages, negativePrompt, steps, guidanceScale, height, width, output, quiet } = options;
  const [prompt, first] = [prompts[index], index * numImages];
  pipe.setProgressBarConfig({ disable: quiet, desc: prompts.length > 1 ? `${index + 1}/${prompts.length}` : '' });
  const seeds = Array.from({ length: numImages }, (_, k) => BigInt.asUintN(64, task.seed + BigInt(first + k)));
  const generator = seeds.map(seed => new Generator().manualSeed(seed));
  const settings = {
    ...picturesFor(pipe, task), ...guidance, negativePrompt, numInferenceSteps: steps, guidanceScale, height, width,
    numImagesPerPrompt: numImages, generator, signal,
  };
  const { images, nsfwContentDetected } = await pipe.generate(prompt, settings);
  const pictures = images.map((image, k): Picture => ({
    image, file: count === 1 ? output : numbered(output, first + k), prompt, seed: generator[k].initialSeed,
    nsfwContentDetected: nsfwContentDetected?.[k],
  }));
  for (const { image, file, seed } of pictures) {
    await image.save(file);
    say(`${file}  ${prompt}  (seed ${seed})`);
  }
  signal.throwIfAborted();
  return pictures;
}

/** What to begin from and to steer by, in the pipeline's words. */
function picturesFor(pipe: Text2ImagePipeline, { start, control }: GenerateTask): object {
  if (!control) return start;
  if (pipe instanceof StableDiffusion3ControlNetInpaintingPipeline) { // whose ControlNet sees the picture and the mask
    if (start.strength !== undefined) throw new UsageError('--strength: this ControlNet only sees the picture, and all of it is drawn');
    return { ...control, controlMask: start.maskImage };
  }
  const { controlImage, ...how } = control;
  const isImage = !start.image && control.controlMode === undefined && !(pipe instanceof StableDiffusion3ControlNetPipeline);
  return { ...start, ...isImage ? { image: controlImage, ...how } : control };
}

/** Saves all pictures in one if that was asked for. */
async function saveGrid(pictures: Picture[], { grid, output }: GenerateCommandOptions, { say }: Company): Promise<string | undefined> {
  if (!grid) return undefined;
  const file = numbered(output, 'grid');
  await makeImageGrid(pictures.map(({ image }) => image), grid).save(file);
  say(`${file}  all of them`);
  return file;
}

/** For --json: what was made, and with what. */
function describeRun(pipe: Text2ImagePipeline, pictures: Picture[], options: GenerateCommandOptions): object {
  const { model = DEMO_MODEL, steps = pipe.defaults.numInferenceSteps, guidanceScale = pipe.defaults.guidanceScale } = options;
  const images = pictures.map(({ file, prompt, seed, nsfwContentDetected, image: { width, height } }) => ({
    file, prompt, width, height, nsfwContentDetected,
    seed: typeof seed === 'bigint' ? `${seed}` : seed, // a text where a number cannot hold it
  }));
  return { model, device: pipe.device, scheduler: pipe.scheduler.constructor.name, steps, guidanceScale, images };
}

function pickTables({ networks, layers }: Profile): object {
  return { networks, layers };
}

/** What there is to know when all is done. */
function sayMore(
  pipe: Text2ImagePipeline, { isGallery, options }: GenerateTask, profile: Profile | undefined, { say }: Company,
): void {
  if (profile) say(`\n${profile}`);
  if (profile && pipe.device === 'cuda') say('A GPU works on when a call has returned: these are the times in which work is handed to it.');
  if (typeof options.profile === 'string') say(`\n${options.profile}  every call in time, for ui.perfetto.dev`);
  say(`\nThe files are in ${resolve(dirname(options.output))}`);
  if (pipe.device === 'wasm') say(`This ran on plain WASM; the native backend is two to three times as fast: ${commandName('setup')}`);
  if (isGallery) say(`Try your own: ${commandName('generate')} "a large blue star on an orange background" --seed 3`);
}

/** out.png -> out-0.png */
function numbered(output: string, suffix: number | string): string {
  return output.replace(/(?=\.png$)/i, `-${suffix}`);
}

function toSeconds(milliseconds: number): number {
  return Math.round(milliseconds) / 1000;
}

/** What the user would type: in a clone, npm runs us. */
function commandName(command: 'generate' | 'setup'): string {
  if (process.env.npm_lifecycle_event !== 'start') return `npx tfjs-diffusers ${command}`;
  return command === 'generate' ? 'npm start --' : `npm run ${command}`;
}
