#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { supervise } from './cli/supervise.js';
import { FLOAT_DTYPES } from './core/float16.js';
import { packageVersion } from './core/package.js';

/** Each command's code is loaded when it runs, so that --help and --version answer at once. */
const program = new Command('tfjs-diffusers')
  .description('Stable Diffusion on TensorFlow.js: pictures from words.')
  .version(packageVersion())
  .exitOverride()
  .configureOutput({ outputError: (message, write) => write(`${message.trim().replace(/\s*\n\s*/g, ' ')}\n`) })
  .configureHelp({ showGlobalOptions: false });

program.command('generate')
  .description('make pictures of prompts; without a prompt, a gallery of what the bundled demo model knows')
  .argument('[prompts...]', 'what to show')
  .option('--model <source>', 'a Stable Diffusion model: a folder in diffusers\' layout, a .safetensors, .gguf or .ckpt file, or an id on'
    + ' the Hugging Face hub, as in owner/name (default: the bundled demo model)')
  .addOption(revision()).addOption(variant()).addOption(predictionType())
  .addOption(new Option('--device <device>', 'what to run on').choices(['auto', 'cuda', 'webgpu', 'cpu', 'wasm']).default('auto'))
  .option('--gpu-memory-fraction <x>', 'the most of the GPU\'s memory to take, above 0 and at most 1 (default: what there is)', number)
  .addOption(new Option('--dtype <dtype>', 'number type of the weights').choices(FLOAT_DTYPES).default('float32'))
  .option('--scheduler <class>', 'as in DPMSolverMultistepScheduler (default: the model\'s own)')
  .option('--steps <n>', 'denoising steps (default: the pipeline\'s own, 50 for most, 28 for Stable Diffusion 3)', wholeNumber(1))
  .option('--guidance-scale <x>', 'how closely to follow the prompt; 1 or less: without guidance (default: the pipeline\'s own, 7.5 for'
    + ' most, 5 for Stable Diffusion XL, 7 for 3)', number)
  .option('--negative-prompt <text>', 'what not to show')
  .option('--pag-scale <x>', 'how strongly to guide by perturbed attention, for clearer shapes; 3 is a start (default: 0, off)', number)
  .option('--pag-adaptive-scale <x>', 'how much weaker --pag-scale gets with each of 1000 timesteps (default: 0)', number)
  .option('--pag-layers <pattern>', 'where in the UNet, as in up_blocks.1; can be given several times (default: mid)', several)
  .option('--skip-layers <list>', 'guide away from what Stable Diffusion 3 says without these layers; 7,8,9 is for 3.5 medium', layers)
  .option('--skip-layer-guidance-scale <x>', 'how strongly (default: 2.8)', number)
  .option('--skip-layer-guidance-start <x>', 'behind which share of the steps to begin with it, from 0 to 1 (default: 0.01)', number)
  .option('--skip-layer-guidance-stop <x>', 'before which share of the steps to end it, from 0 to 1 (default: 0.2)', number)
  .option('--image <file>', 'a picture to begin from, instead of noise alone: PNG, JPEG, WebP, ...')
  .option('--mask <file>', 'a picture that is white where --image is to change')
  .option('--strength <x>', 'how much of --image to give up, from 0 to 1 (default: the pipeline\'s, 0.8 for most, with --mask 1)', number)
  .option('--controlnet <source>', 'a ControlNet, which --control-image steers by: a folder, a file or an id on the hub; several steer'
    + ' together, each by the --control-image of the same place', several)
  .option('--control-image <file>', 'what to steer by, such as edges, white on black; one for each --controlnet or --control-mode', several)
  .option('--canny', 'steer by the edges of each --control-image, which is any picture then')
  .option('--control-mode <n>', 'for a ControlNet-Union: the number of what --control-image is, as in 3 for edges; one for each',
    each(wholeNumber(0)))
  .option('--controlnet-scale <x>', 'how strongly to steer, once or for each --control-image (default: 1, with --image less)', each(number))
  .option('--control-guidance-start <x>', 'after which share of the steps to steer, once or for each (default: 0)', each(number))
  .option('--control-guidance-end <x>', 'until which share of the steps to steer, once or for each (default: 1)', each(number))
  .option('--ip-adapter <source>', 'an IP-Adapter, by which --ip-adapter-image leads: a file beside its image_encoder, or an id on the hub')
  .option('--ip-adapter-weights <path>', 'which file of a folder or on the hub it is, as in models/ip-adapter_sd15.safetensors')
  .option('--ip-adapter-image <file>', 'a picture that leads besides the prompt')
  .option('--ip-adapter-scale <x>', 'how strongly it leads (default: 1)', number)
  .option('--safety-checker', 'look at each picture with the safety checker of the model: what it detects is black, and said')
  .addOption(noT5())
  .addOption(textEncoder('')).addOption(textEncoder('-2')).addOption(textEncoder('-3')).addOption(tokenizer3())
  .option('--lora <source>', 'a LoRA: a file, its folder or an id on the hub; can be given several times', several)
  .option('--lora-scale <x>', 'how strongly each --lora acts (default: 1)', number)
  .option('--embedding <token=source>', 'a learned word (textual inversion) and what prompts call it; can be given several times', several)
  .addOption(new Option('--seed <n>', 'image i has seed n + i; -1: draw n, and say which')
    .argParser(seed).default(0n, '0')) // help writes defaults as JSON
  .option('--num-images <n>', 'pictures of each prompt', wholeNumber(1), 1)
  .option('--height <pixels>', 'default: what the model was trained on', wholeNumber(1))
  .option('--width <pixels>', 'default: what the model was trained on', wholeNumber(1))
  .option('--output <file>', 'where to save; several pictures get -0, -1, ... before .png', 'out.png')
  .option('--grid <rows x columns>', 'also save all pictures in one, as in 2x2', rowsAndColumns)
  .option('--compile', 'run each network as one graph: worth it for many steps or pictures (native backend; the default on cuda)')
  .option('--no-compile', 'run op by op')
  .option('--profile [file]', 'tell where the time went; a file that ends in .json gets a trace, which ui.perfetto.dev shows')
  .option('--json', 'print what was made as JSON, and nothing else')
  .option('--quiet', 'print errors only')
  .option('--verbose', 'print where an error comes from')
  .action((prompts, options) => supervised(async () => (await import('./cli/generate.js')).generate(prompts, options)));

program.command('convert')
  .description('write any model as a folder in the layout that loads fastest')
  .argument('<source>', 'a model, as --model of generate takes it; or a single network of one, as a VAE')
  .argument('<target>', 'the new folder')
  .addOption(new Option('--dtype <dtype>',
    'number type of the weights (default: as in the source); int8, int4: of the UNet alone, or of the transformer and T5')
    .choices([...FLOAT_DTYPES, 'int8', 'int4']))
  .option('--max-shard-size <size>', 'as in 2GB: larger weights are split into several files')
  .addOption(revision()).addOption(variant()).addOption(predictionType())
  .option('--safety-checker', 'take the model\'s safety checker along')
  .option('--no-t5', 'leave the third text encoder of Stable Diffusion 3 out')
  .addOption(textEncoder('')).addOption(textEncoder('-2')).addOption(textEncoder('-3')).addOption(tokenizer3())
  .option('--verify', 'read everything back and compare')
  .option('--quiet', 'print errors only')
  .option('--verbose', 'print where an error comes from')
  .action((source, target, options) => supervised(async () => (await import('./cli/convert.js')).convert(source, target, options)));

program.command('compile')
  .description('make and keep machine code of a model\'s networks for a CUDA GPU, so that pictures of these sizes begin fast later')
  .option('--model <source>', 'as --model of generate')
  .addOption(revision()).addOption(variant()).addOption(predictionType())
  .addOption(new Option('--dtype <dtype>', 'number type of the weights').choices(FLOAT_DTYPES).default('float32'))
  .option('--sizes <sizes>', 'widths and heights in pixels, as in 512x512,768x512 (default: what the model was trained on)', sizes)
  .option('--batch <n>', 'pictures at once, as in 1,4', listOfNumbers, [1])
  .option('--no-guidance', 'for pictures without guidance')
  .addOption(noT5())
  .option('--gpu-memory-fraction <x>', 'the most of the GPU\'s memory to take, above 0 and at most 1 (default: what there is)', number)
  .option('--quiet', 'print errors only')
  .option('--verbose', 'print where an error comes from')
  .action(options => supervised(async () => (await import('./cli/compile.js')).compile(options)));

ofDrawing(program.command('serve'))
  .description('answer requests for pictures over HTTP: the APIs of OpenAI, Hugging Face and AUTOMATIC1111, and jobs')
  .option('--redis <address>', 'as in redis://localhost:6379: pictures are drawn by tfjs-diffusers work, on as many machines as there are')
  .option('--host <address>', 'where to listen; 0.0.0.0 for other machines', '127.0.0.1')
  .option('--port <number>', 'where to listen', wholeNumber(0, 65535), 7860)
  .option('--api-keys <file>', 'keys of which requests bring one as Authorization: Bearer; also by TFJS_DIFFUSERS_API_KEYS')
  .option('--cors <origin...>', 'origins whose pages may ask, as in https://example.org; * for any (default: none)')
  .option('--max-queue <n>', 'requests that may wait (default: 100)', wholeNumber(1))
  .option('--max-waiting <size>', 'as in 2GB: what they and all that come in may hold together (default: 537MB)')
  .option('--log', 'a line of JSON for each request')
  .option('--log-prompts', 'the same, and what was asked for')
  .action(async options => (await import('./cli/serve.js')).serve(options));

ofDrawing(program.command('work'))
  .description('draw what servers that have the same --redis took, until told to end')
  .requiredOption('--redis <address>', 'as in redis://localhost:6379')
  .option('--lost-after <seconds>', 'when others do the work of one that has died (default: 15)', wholeNumber(1))
  .option('--max-per-minute <n>', 'requests of a model that all workers together begin in a minute', wholeNumber(1))
  .option('--host <address>', 'where to listen; 0.0.0.0 for other machines', '127.0.0.1')
  .option('--port <number>', 'answer /healthz, /readyz and /metrics there', wholeNumber(0, 65535))
  .action(async options => (await import('./cli/work.js')).work(options));

program.command('setup')
  .description('build the native backend, which is much faster than WASM')
  .option('--gpu', 'for a CUDA GPU (default where nvidia-smi finds one)')
  .option('--cpu', 'for the CPU alone')
  .option('--cuda-libraries <folder>', 'use the libraries of CUDA 12 or 13, and cuDNN, that are there or in folders within, and download'
    + ' only what is missing; can be given several times', several)
  .option('--python <program>', 'use those of this Python\'s environment, as PyTorch brings them')
  .option('--verbose', 'print where an error comes from')
  .action(async options => (await import('./cli/setup.js')).setup(options));

program.command('info')
  .description('what this machine has, what would be used and why')
  .option('--json', 'print it as JSON')
  .option('--verbose', 'print where an error comes from')
  .action(async options => (await import('./cli/info.js')).info(options));

/** Options of what draws for others. */
function ofDrawing(command: Command): Command {
  return command
    .option('--model <source>', 'as --model of generate, or name=source; can be given several times (default: the demo model)', several)
    .option('--lora <source>', 'a LoRA that requests may name, or name=source; can be given several times', several)
    .addOption(new Option('--device <device>', 'what to run on (default: auto)').choices(['auto', 'cuda', 'webgpu', 'cpu', 'wasm']))
    .addOption(new Option('--dtype <dtype>', 'number type of the weights (default: float32)').choices(FLOAT_DTYPES))
    .option('--safety-checker', 'look at each picture with the safety checker of its model: what it detects is black, and said')
    .addOption(noT5())
    .option('--max-batch <n>', 'pictures that are drawn at once, where requests can go together (default: 1)', wholeNumber(1))
    .option('--max-memory <size>', 'as in 6GB: weights of several models that may be in memory (default: one model)')
    .option('--max-steps <n>', 'of a request (default: 100)', wholeNumber(1))
    .option('--max-pixels <n>', 'width times height of a request (default: 2097152)', wholeNumber(64))
    .option('--store <place>', 'where pictures are kept: a folder, or s3://bucket/prefix (default: in memory)')
    .option('--s3-endpoint <address>', 'of S3 that is not Amazon\'s; also by AWS_ENDPOINT_URL')
    .option('--keep <seconds>', 'how long pictures are kept (default: 600)', wholeNumber(1))
    .option('--verbose', 'print where an error comes from');
}

function noT5(): Option {
  return new Option('--no-t5', 'load Stable Diffusion 3 without its third text encoder, for less than half of the memory');
}

function textEncoder(number: '' | '-2' | '-3'): Option {
  const file = { '': 'clip_l', '-2': 'clip_g', '-3': 't5xxl_fp16' }[number];
  return new Option(`--text-encoder${number} <source>`, `in place of the model's, or where it has none: as ${file}.safetensors`);
}

function tokenizer3(): Option {
  return new Option('--tokenizer-3 <source>', 'what has T5\'s tokenizer, as stabilityai/stable-diffusion-3-medium-diffusers');
}

function revision(): Option {
  return new Option('--revision <name>', 'branch, tag or commit of a model on the hub (default: main)');
}

function variant(): Option {
  return new Option('--variant <name>', 'as in fp16: the model\'s files of that name, which are smaller');
}

function predictionType(): Option {
  return new Option('--prediction-type <type>', 'what the model of a single file was trained to predict, where that is inferred wrongly')
    .choices(['epsilon', 'v_prediction']);
}

function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return text => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < min || value > max) {
      throw new InvalidArgumentError(`It takes a whole number, ${max < Number.MAX_SAFE_INTEGER ? `${min} to ${max}` : `${min} or more`}.`);
    }
    return value;
  };
}

/** -1 or an unsigned number of 64 bits. */
function seed(text: string): bigint {
  const value = /^\s*(\d{1,20}|-1)\s*$/.test(text) ? BigInt(text) : undefined;
  if (value === undefined || value >= 2n ** 64n) {
    throw new InvalidArgumentError('It takes a whole number from 0 to 18446744073709551615, or -1 to draw one.');
  }
  return value;
}

function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It takes a number.');
  return value;
}

function listOfNumbers(text: string): number[] {
  return text.split(',').map(wholeNumber(1));
}

function layers(text: string): number[] {
  return text.split(',').map(wholeNumber(0));
}

function sizes(text: string): Array<{ width: number; height: number }> {
  return text.split(',').map(size => {
    const [, width, height] = /^([1-9]\d*)x([1-9]\d*)$/.exec(size.trim()) ?? [];
    if (!width) throw new InvalidArgumentError('It takes widths and heights, as in 512x512,768x512.');
    return { width: Number(width), height: Number(height) };
  });
}

function several(value: string, before: string[] = []): string[] {
  return [...before, value];
}

/** What an option says that can be given several times. */
function each<T>(parse: (text: string) => T): (text: string, before?: T[]) => T[] {
  return (text, before = []) => [...before, parse(text)];
}

function rowsAndColumns(text: string): { rows: number; cols: number } {
  const match = /^([1-9]\d*)x([1-9]\d*)$/.exec(text);
  if (!match) throw new InvalidArgumentError('It takes rows and columns, as in 2x3.');
  return { rows: Number(match[1]), cols: Number(match[2]) };
}

let exitCode = 0;

async function supervised(work: () => Promise<void>): Promise<void> {
  exitCode = await supervise(work);
}

/** Who closes a pipe, as head does, wants no more of what goes there. */
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(128 + 13); // as by SIGPIPE
  });
}

/** 0: done. 1: failed. 2: wrong usage. 130: interrupted. */
async function main(): Promise<number> {
  try {
    await program.parseAsync();
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // it has spoken already
    const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
    if (name === 'AbortError') {
      console.error('interrupted');
      return 130;
    }
    console.error(`error: ${process.argv.includes('--verbose') ? stack : message.replace(/\s*\n\s*/g, ' ')}`);
    return name === 'UsageError' ? 2 : 1;
  }
}

process.exitCode = await main();
