import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  DiffusionPipeline, Generator, Image, makeImageGrid, schedulerClasses, type SchedulerClass, type StableDiffusionPipeline,
} from '../lib/index.js';
import { runExamples } from './examples.js';

/** Makes the pictures in docs/images, and the figures in docs/schedulers.md: `npm run docs:images [gallery] [examples] [schedulers]`. */

const IMAGES = 'docs/images';
const STEPS = [4, 8, 12, 20, 50];
const MANY = 200;
/** They make noise, draw what their namesakes draw, or are for models that are told the time otherwise. */
const UNDRAWN = [
  'DDIMInverseScheduler', 'DPMSolverMultistepInverseScheduler', 'DDIMParallelScheduler', 'DDPMParallelScheduler', 'IPNDMScheduler',
  'EDMEulerScheduler', 'EDMDPMSolverMultistepScheduler', 'FlowMatchEulerDiscreteScheduler',
];
const PROMPTS = [
  'a large orange star on a blue background', 'a red mushroom on a green background', 'a green tree on a cyan background', 'a white moon on a black background',
];

/** The picture that `npm start` makes. */
async function gallery(folder: string): Promise<void> {
  const cli = fileURLToPath(new URL('../lib/cli.js', import.meta.url));
  await promisify(execFile)(process.execPath, [cli, 'generate', '--quiet'], { cwd: folder });
  copyFileSync(join(folder, 'out-grid.png'), `${IMAGES}/gallery.png`);
}

/** What the examples of the pages save, where a page shows it. */
async function examples(folder: string): Promise<void> {
  for (const page of ['docs/getting_started.md', 'docs/beyond_the_prompt.md']) {
    const shown = readFileSync(page, 'utf8');
    for (const file of await runExamples(page, folder)) if (shown.includes(`(images/${file})`)) copyFileSync(join(folder, file), `${IMAGES}/${file}`);
  }
}

/** A strip of pictures for each scheduler, and how far they are from where it leads with many steps. */
async function schedulers(): Promise<void> {
  const pipe = await DiffusionPipeline.fromPretrained('models/shapes');
  pipe.compile();
  mkdirSync(`${IMAGES}/schedulers`, { recursive: true });
  const { config } = pipe.scheduler;
  const rows: string[] = [];
  for (const [name, Scheduler] of Object.entries(schedulerClasses).filter(([name]) => !UNDRAWN.includes(name))) {
    pipe.scheduler = Scheduler.fromConfig(config);
    const pictures: Image[][] = [];
    for (const steps of STEPS) pictures.push(await draw(pipe, steps));
    await makeImageGrid(pictures.map(([first]) => enlarge(first)), { rows: 1, cols: STEPS.length }).save(`${IMAGES}/schedulers/${name}.png`);
    rows.push(`| \`${name}\` | ${(await distances(pipe, Scheduler, pictures)).join(' | ')} |`);
    console.log(rows.at(-1));
  }
  pipe.dispose();
  const page = readFileSync('docs/schedulers.md', 'utf8');
  const table = [`| | ${STEPS.join(' | ')} |`, `| --- |${' --- |'.repeat(STEPS.length)}`, ...rows].join('\n');
  writeFileSync('docs/schedulers.md', page.replace(/(?<=<!-- figures -->\n).*?(?=\n<!-- end -->)/s, table));
}

/** One picture of each prompt; the same noise whatever the steps. */
async function draw(pipe: StableDiffusionPipeline, numInferenceSteps: number): Promise<Image[]> {
  const generator = PROMPTS.map((_, seed) => new Generator('cpu').manualSeed(seed));
  return (await pipe.generate(PROMPTS, { numInferenceSteps, generator })).images;
}

/** The mean difference of a colour value to the pictures of many steps, in percent of its range. */
async function distances(pipe: StableDiffusionPipeline, { interchangeable, adopts }: SchedulerClass, pictures: Image[][]): Promise<string[]> {
  if (!interchangeable && !adopts) return STEPS.map(() => ''); // for distilled models, which this one is not
  const settled = await draw(pipe, MANY);
  return pictures.map(row => {
    const differences = row.flatMap((image, i) => Array.from(image.data, (value, k) => Math.abs(value - settled[i].data[k])));
    return (differences.reduce((sum, value) => sum + value, 0) / differences.length / 2.55).toFixed(1);
  });
}

/** Twice as large, each pixel four times, in 64 levels of each colour: half the bytes, and no eye sees it. */
function enlarge({ data, width, height }: Image): Image {
  const large = Uint8Array.from({ length: data.length * 4 }, (_, i) => {
    const [pixel, channel] = [Math.floor(i / 3), i % 3];
    const [x, y] = [pixel % (2 * width), Math.floor(pixel / (2 * width))].map(at => Math.floor(at / 2));
    return Math.min(255, Math.round(data[(y * width + x) * 3 + channel] / 4) * 4);
  });
  return new Image(large, 2 * width, 2 * height);
}

const tasks: Record<string, (folder: string) => Promise<void>> = { gallery, examples, schedulers };
const chosen = process.argv.slice(2);
const unknown = chosen.find(name => !(name in tasks));
if (unknown !== undefined) throw new RangeError(`docs:images: got '${unknown}', takes ${Object.keys(tasks).join(', ')}`);
if (!existsSync(IMAGES)) throw new Error(`there is no ${IMAGES}; run it in the clone`);
const folder = mkdtempSync(join(tmpdir(), 'docs-'));
try {
  for (const name of chosen.length ? chosen : Object.keys(tasks)) await tasks[name](folder);
} finally {
  rmSync(folder, { recursive: true });
}
