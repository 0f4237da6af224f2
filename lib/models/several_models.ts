import type { GraphOptions } from '../core/graph.js';
import type { ModelFolder, ModelSource } from '../files/model_folder.js';
import type { AttentionSlice } from '../layers/multi_head_attention.js';
import { openModelFolder } from '../loading/open_model_folder.js';
import type { OpenOptions } from '../loading/open_options.js';
import type { WeightDtype } from '../weights/weight_reader.js';
import type { LoadModelOptions } from './load_model.js';
import { Model } from './model.js';
import type { SaveOptions } from './save_model.js';

/** Several networks of a kind that are used as one. */
export abstract class SeveralModels<M extends Model<unknown>> extends Model<object> {
  /** @param name what the networks' paths begin with. */
  constructor(name: string, readonly members: readonly M[]) {
    super({});
    members.forEach((model, i) => this.add(`${name}.${i}`, model));
  }

  override get weightDtype(): WeightDtype {
    return this.members[0].weightDtype;
  }

  /** Writes each as a folder: `folder`, `folder_1`, `folder_2`, ... side by side, as diffusers does; see Model.savePretrained. */
  override async savePretrained(folder: string | URL, options: SaveOptions = {}): Promise<void> {
    for (const [i, model] of this.members.entries()) {
      const beside = numberedName(folder instanceof URL ? folder.href : folder, i);
      await model.savePretrained(folder instanceof URL ? new URL(beside) : beside, options);
    }
  }

  // Each does these by itself, for its own graphs' sake.

  override compile(options: GraphOptions | false = {}): void {
    this.members.forEach(model => model.compile(options));
  }

  override async compiled(): Promise<void> {
    await Promise.all(this.members.map(model => model.compiled()));
  }

  override setAttentionSlice(slice: AttentionSlice): void {
    this.members.forEach(model => model.setAttentionSlice(slice));
  }

  override release(): void {
    this.members.forEach(model => model.release());
  }

  override releaseAfterUse(release: boolean): void {
    this.members.forEach(model => model.releaseAfterUse(release));
  }

  override async offload(): Promise<void> {
    for (const model of this.members) await model.offload();
  }

  override async move(): Promise<void> {
    for (const model of this.members) await model.move();
  }
}

type OneOfSeveral<M> = (new (config: never) => M) & { readonly className: string } & Pick<typeof Model, 'fromPretrained'>;

/** Where diffusers saves the network of that number: in `first`, `first_1`, `first_2`, ... */
export function numberedName(first: string, i: number): string {
  return i === 0 ? first : `${first}_${i}`;
}

/** The names of all that are there. */
export async function subfoldersOf(folder: ModelFolder, first: string): Promise<string[]> {
  const subfolders = [first];
  const next = () => numberedName(first, subfolders.length);
  while (await folder.has(`${next()}/config.json`)) subfolders.push(next());
  return subfolders;
}

/**
 * Loads what `save_pretrained` of several networks wrote.
 * @param source the folder that holds the first one's and the others beside it; or the path of the first one's, as in diffusers.
 * @param usual the first one's name where `subfolder` says none.
 */
export async function loadSeveral<M extends Model<unknown>>(
  One: OneOfSeveral<M>, usual: string, source: ModelSource, options: LoadModelOptions,
): Promise<M[]> {
  const { folder, first } = await findFirst(usual, source, options);
  const models: M[] = [];
  try {
    for (const subfolder of await subfoldersOf(folder, first)) {
      models.push(await One.fromPretrained(folder, { ...options, subfolder }) as unknown as M);
    }
    return models;
  } catch (error) {
    models.forEach(model => model.dispose());
    throw error;
  }
}

async function findFirst(
  usual: string, source: ModelSource, { subfolder, ...options }: LoadModelOptions,
): Promise<{ folder: ModelFolder; first: string }> {
  const open = (source: ModelSource) => openModelFolder(source, options as OpenOptions);
  const folder = await open(source);
  const [, parent, name] = /^(.*?)([^/\\]+)[/\\]*$/.exec(typeof source === 'string' || source instanceof URL ? String(source) : '') ?? [];
  if (subfolder || !name || !await folder.has('config.json')) return { folder, first: subfolder ?? usual };
  return { folder: await open(parent || '.'), first: name };
}
