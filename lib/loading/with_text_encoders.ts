import { brief, show } from '../core/checks.js';
import { isObject } from '../core/json.js';
import type { ByteSource } from '../files/byte_source.js';
import { isModelFolder, ModelFileError, type ModelFolder, type ModelSource } from '../files/model_folder.js';
import { openModelFolder } from './open_model_folder.js';
import type { OpenOptions } from './open_options.js';

/**
 * Text encoders that do not come with a pipeline: each from a file or folder of its own, as clip_l.safetensors, clip_g.safetensors and
 * t5xxl_fp16.safetensors for Stable Diffusion 3, or from a pipeline that has it.
 */
export interface TextEncoderSources {
  textEncoder?: ModelSource;
  textEncoder2?: ModelSource;
  /** T5, which takes tokenizer3 too where the pipeline has none. */
  textEncoder3?: ModelSource;
  /** A folder with T5's tokenizer.json, or of a pipeline that has it. */
  tokenizer3?: ModelSource;
}

/** Of each option: where folders have it, the file that tells that it is there, and its class where nothing else says it. */
const PLACES: Readonly<Record<keyof TextEncoderSources, { subfolder: string; file: string; className: string }>> = {
  textEncoder: { subfolder: 'text_encoder', file: 'config.json', className: 'CLIPTextModelWithProjection' },
  textEncoder2: { subfolder: 'text_encoder_2', file: 'config.json', className: 'CLIPTextModelWithProjection' },
  textEncoder3: { subfolder: 'text_encoder_3', file: 'config.json', className: 'T5EncoderModel' },
  tokenizer3: { subfolder: 'tokenizer_3', file: 'tokenizer.json', className: 'T5TokenizerFast' },
};

/** Whether an option says where a text encoder or its tokenizer is, and is none itself. */
export function isTextEncoderSource(name: string, value: unknown): value is ModelSource {
  return Object.hasOwn(PLACES, name) && (typeof value === 'string' || value instanceof URL || isModelFolder(value));
}

/** A part that lies elsewhere: in which folder, and at which path there. */
interface Part {
  readonly className: string;
  readonly folder: ModelFolder;
  readonly prefix: string;
}

/**
 * A pipeline's folder with the text encoders that are given as sources, in place of its own; the folder itself if none is.
 * @throws ModelFileError for a source that does not have what it is given for, TypeError for a T5 without a tokenizer.
 */
export async function withTextEncoders(folder: ModelFolder, given: object, options: OpenOptions): Promise<ModelFolder> {
  const entries = Object.entries(given) as Array<[keyof TextEncoderSources, ModelSource]>;
  const sources = entries.filter(([name, value]) => isTextEncoderSource(name, value));
  if (sources.length === 0) return folder;
  const index = await folder.readJson('model_index.json');
  if (!isObject(index)) throw new ModelFileError(`${folder.name}/model_index.json: got ${show(index)}, takes an object`);
  const parts = new Map<string, Part>();
  for (const [name, source] of sources) {
    const { subfolder } = PLACES[name];
    if (!Object.hasOwn(index, subfolder)) throw new ModelFileError(`${name}: ${folder.name} has no place for it, takes none`);
    parts.set(subfolder, await findPart(name, source, options));
  }
  const hasTokenizer = Array.isArray(index.tokenizer_3) && index.tokenizer_3[1] != null;
  if (parts.has('text_encoder_3') && !hasTokenizer && (given as TextEncoderSources).tokenizer3 == null) {
    const example = 'stabilityai/stable-diffusion-3-medium-diffusers';
    throw new TypeError(`textEncoder3: takes its tokenizer too, as tokenizer3: '${example}' (--tokenizer-3)`);
  }
  return new JoinedFolder(folder, index, parts);
}

async function findPart(name: keyof TextEncoderSources, source: ModelSource, options: OpenOptions): Promise<Part> {
  const { subfolder, file, className } = PLACES[name];
  const folder = await openModelFolder(source, { ...options, revision: undefined, predictionType: undefined, config: undefined });
  for (const prefix of [`${subfolder}/`, '']) {
    if (!await folder.has(prefix + file)) continue;
    const config = file === 'config.json' ? await folder.readJson(prefix + file) : undefined;
    const found: unknown = isObject(config) && (Array.isArray(config.architectures) ? config.architectures[0] : config._class_name);
    // Of CLIP either class has what the other reads, or says what it lacks.
    if (!found || String(found).slice(0, 4) === className.slice(0, 4)) return { folder, prefix, className };
    throw new RangeError(`${name}: ${folder.name} is a ${brief(String(found))}, takes ${className}`);
  }
  throw new ModelFileError(`${name}: ${folder.name} has no ${file}, nor a folder ${subfolder} with one`);
}

/** A pipeline of which some components lie elsewhere. */
class JoinedFolder implements ModelFolder {
  readonly name: string;

  constructor(
    private readonly base: ModelFolder, private readonly index: Record<string, unknown>, private readonly parts: ReadonlyMap<string, Part>,
  ) {
    this.name = base.name;
  }

  async readJson(path: string): Promise<unknown> {
    if (path !== 'model_index.json') return this.call(path, (folder, path) => folder.readJson(path));
    const entries = [...this.parts].map(([subfolder, { className }]) => [subfolder, ['transformers', className]] as const);
    const isNone = (entry: unknown) => !Array.isArray(entry) || entry[1] == null;
    return { ...this.index, ...Object.fromEntries(entries.filter(([subfolder]) => isNone(this.index[subfolder]))) };
  }

  has(path: string): Promise<boolean> {
    return this.call(path, (folder, path) => folder.has(path));
  }

  readText(path: string): Promise<string> {
    return this.call(path, (folder, path) => folder.readText(path));
  }

  open(path: string): Promise<ByteSource> {
    return this.call(path, (folder, path) => folder.open(path));
  }

  async prefetch(paths: readonly string[]): Promise<void> {
    const byFolder = new Map<ModelFolder, string[]>();
    for (const path of paths) this.call(path, (folder, path) => byFolder.set(folder, [...byFolder.get(folder) ?? [], path]));
    for (const [folder, paths] of byFolder) await folder.prefetch?.(paths);
  }

  /** What has that path, with the path there. */
  private call<T>(path: string, work: (folder: ModelFolder, path: string) => T): T {
    const end = path.indexOf('/');
    const part = this.parts.get(path.slice(0, Math.max(end, 0)));
    return part ? work(part.folder, part.prefix + path.slice(end + 1)) : work(this.base, path);
  }
}
