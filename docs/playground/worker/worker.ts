import {
  AutoPipelineForText2Image, ControlNetModel, FileListFolder, formatGenerationParameters, LatentsPreview, openCheckpointFile, schedulerClass,
  type Device, type Image, type LoadingProgress, type ModelFolder,
} from '../../../lib/index.js';
import { describeModel } from '../../../lib/pipelines/describe_model.js';
import { samplerName, scheduleName } from '../../../lib/schedulers/common_names.js';
import {
  SETTINGS_KEYWORD, type AdapterKind, type BundledFolder, type DeviceInfo, type Extra, type ModelInfo, type ModelSource, type Preview, type Reply, type Request, type Settings, type Sources,
} from '../protocol.js';
import { bundledFolder, site } from './bundled.js';
import { findDevices, memoryInUse } from './devices.js';
import { makeImage, pipelinesOf, type Pipelines } from './make_image.js';

/** Set by the bundler. */
declare const BUNDLED_MODEL: BundledFolder;
declare const BUNDLED_CONTROLNET: BundledFolder;
declare const BUNDLED_IP_ADAPTER: BundledFolder;
declare const CLIP_TOKENIZER: BundledFolder;
declare const WASM_FOLDER: string;

type PageSource = Exclude<ModelSource, { kind: 'server' }>;

const EXTRAS: readonly Extra[] = ['variation', 'deepCache', 'tokenMerging', 'files'];
/** What there is for the bundled model alone. */
const BUNDLED_EXTRAS: readonly Extra[] = ['steering', 'style'];
let loaded: { pipelines: Pipelines; schedulerConfig: object; preview: LatentsPreview; model: ModelInfo; device: DeviceInfo } | undefined;
let controlnet: Promise<ControlNetModel> | undefined; // for the bundled model, once it is needed
let work: AbortController | undefined;
let last: Promise<void> = Promise.resolve();

self.onmessage = ({ data: request }: MessageEvent<Request>) => {
  if (request.type === 'cancel') return work?.abort();
  last = last.then(() => answer(request)); // one after the other
};

async function answer(request: Exclude<Request, { type: 'cancel' }>): Promise<void> {
  try {
    if (request.type === 'load') await load(request.source as PageSource, request.device);
    else if (request.type === 'adapt') await adapt(request.kind, request.name, request.file);
    else await generate(request.settings, request);
  } catch (error) {
    const { message } = error as Error;
    if (request.type === 'adapt') reply({ type: 'refused', kind: request.kind, name: request.name, message });
    else reply(work?.signal.aborted && error === work.signal.reason ? { type: 'cancelled' } : { type: 'failed', message });
  }
}

/** Once in a worker's life: another model gets another worker, so that all memory is freed. */
async function load(source: PageSource, choice: Device | 'auto'): Promise<void> {
  const devices = await findDevices(new URL(WASM_FOLDER, site).href);
  reply({ type: 'devices', devices });
  // the bundled model is so small that a GPU takes longer to get ready than WebAssembly to finish
  const wanted = choice !== 'auto' ? choice : source.kind === 'bundled' ? 'wasm' : devices[0].device;
  const device = devices.find(each => each.device === wanted);
  if (!device) throw new Error(`${wanted}: this browser has none`);
  const progressCallback = ({ stage, loaded, total }: LoadingProgress) => reply({ type: 'loading', stage, loaded, total });
  const folder = await openModel(source, progressCallback);
  const pipelines = pipelinesOf(await AutoPipelineForText2Image.fromPretrained(folder, { device: device.device, progressCallback }));
  const { vae, scheduler } = pipelines.text2Image;
  const preview = await LatentsPreview.fit(vae);
  const model = { ...describeModel(pipelines.text2Image), name: nameOf(source), device, takes: source.kind === 'bundled' ? [...EXTRAS, ...BUNDLED_EXTRAS] : EXTRAS, loras: [] };
  loaded = { pipelines, schedulerConfig: scheduler.config, preview, model, device };
  reply({ type: 'loaded', model });
}

async function openModel(source: PageSource, progressCallback: (progress: LoadingProgress) => void): Promise<string | ModelFolder> {
  if (source.kind === 'name') return source.name;
  if (source.kind === 'files') return new FileListFolder(source.files);
  if (source.kind === 'file') return openCheckpointFile(source.file, { clipTokenizer: bundledFolder(CLIP_TOKENIZER) });
  const folder = bundledFolder(BUNDLED_MODEL, progressCallback);
  await folder.prefetch(BUNDLED_MODEL.files.map(([path]) => path));
  return folder;
}

function nameOf(source: PageSource): string {
  switch (source.kind) {
    case 'bundled': return BUNDLED_MODEL.name;
    case 'name': return source.name;
    case 'files': return source.files[0][0].split('/')[0];
    case 'file': return source.file.name;
  }
}

async function adapt(kind: AdapterKind, name: string, file: File): Promise<void> {
  if (!loaded) throw new Error('no model is loaded');
  const folder = new FileListFolder([[`${name}/${file.name}`, file]]);
  const { text2Image: pipe } = loaded.pipelines; // the others have the same networks
  if (kind === 'lora') await pipe.loadLoraWeights(folder, { weightName: file.name, adapterName: name });
  else await pipe.loadTextualInversion(folder, { weightName: file.name, token: name });
  reply({ type: 'adapted', kind, name });
}

/** Fetched by the first picture that is steered, and again if that failed. */
function loadControlNet(): Promise<ControlNetModel> {
  controlnet ??= ControlNetModel.fromPretrained(bundledFolder(BUNDLED_CONTROLNET)).catch(error => {
    controlnet = undefined;
    throw error;
  });
  return controlnet;
}

async function generate(settings: Settings, sources: Sources): Promise<void> {
  if (!loaded) throw new Error('no model is loaded');
  const { pipelines, schedulerConfig, preview, model, device: { label, detail } } = loaded;
  work = new AbortController();
  const scheduler = schedulerClass(settings.scheduler).fromConfig(schedulerConfig, settings.schedulerOptions);
  const steps: number[] = [];
  const started = performance.now();
  let stepStarted = started;
  const material = { ...sources, controlnet: sources.control && await loadControlNet(), ipAdapter: bundledFolder(BUNDLED_IP_ADAPTER) };
  const image = await makeImage(pipelines, scheduler, settings, material, {
    signal: work.signal,
    onPreparing: preparing => reply({ type: 'preparing', preparing }),
    onStep: async (latents, step, count) => {
      const [image] = await preview.toImages(latents); // waits for the step to end
      const now = performance.now();
      steps.push(now - stepStarted);
      stepStarted = now;
      reply({ type: 'step', step, steps: count, milliseconds: steps.at(-1)!, memory: memoryInUse(), preview: toPreview(image) });
    },
  });
  const milliseconds = performance.now() - started;
  const names = { scheduler: samplerName(settings.scheduler, scheduler.config), schedule: scheduleName(scheduler.config) };
  const parameters = formatGenerationParameters({ ...settings, ...names, model: model.name });
  const png = await image.toPng({ parameters, [SETTINGS_KEYWORD]: JSON.stringify(settings) }) as Uint8Array<ArrayBuffer>;
  const device = `${label} (${detail})`;
  const millisecondsPerStep = steps.reduce((sum, step) => sum + step, 0) / steps.length;
  reply({ type: 'done', result: { png, settings, model: model.name, device, milliseconds, millisecondsPerStep, memory: memoryInUse() } }, [png.buffer]);
}

function toPreview({ width, height, data }: Image): Preview {
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) rgba.set(data.subarray(i * 3, i * 3 + 3), i * 4);
  return { width, height, rgba };
}

function reply(message: Reply, transfer: Transferable[] = []): void {
  self.postMessage(message, { transfer });
}
