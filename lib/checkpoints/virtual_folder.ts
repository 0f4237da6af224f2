import { parseJson, toJsonText } from '../core/json.js';
import type { ByteSource } from '../files/byte_source.js';
import { checkRelativePath, ModelFileError, type ModelFolder } from '../files/model_folder.js';
import { safetensorsView, type Checkpoint } from './checkpoint.js';
import type { Tensors } from './tensors.js';

/** Texts (or values, as JSON, or what gives one) in memory and weights in a checkpoint; `missing` says of a component what is wrong. */
export class VirtualFolder implements ModelFolder {
  readonly name: string;

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly texts: Record<string, unknown>,
    private readonly weights: Record<string, Tensors>,
    private readonly missing: Record<string, string> = {},
  ) {
    this.name = checkpoint.name;
  }

  async has(path: string): Promise<boolean> {
    const [component] = checkRelativePath(path).split('/');
    if (Object.hasOwn(this.missing, component)) throw new ModelFileError(`${this.name}: ${this.missing[component]}`);
    return Object.hasOwn(this.texts, path) || Object.hasOwn(this.weights, path);
  }

  async readJson(path: string): Promise<unknown> {
    return parseJson(`${this.name}/${path}`, await this.readText(path));
  }

  async readText(path: string): Promise<string> {
    if (!await this.has(path)) throw new ModelFileError(`${this.name}/${path}: there is no such file`);
    const text = this.texts[path];
    const content: unknown = typeof text === 'function' ? await text() : text;
    return typeof content === 'string' ? content : toJsonText(content);
  }

  async open(path: string): Promise<ByteSource> {
    if (Object.hasOwn(this.weights, path)) return safetensorsView(this.weights[path], await this.checkpoint.open());
    const bytes = new TextEncoder().encode(await this.readText(path));
    return { size: bytes.length, read: async (offset, length) => bytes.slice(offset, offset + length), close: async () => {} };
  }
}
