import * as tf from '@tensorflow/tfjs';
import { ensureBackend } from '../core/backend.js';
import { Block } from '../core/block.js';
import { checkOneOf } from '../core/checks.js';
import { GraphCache, type GraphBody, type GraphOptions } from '../core/graph.js';
import { copyToHost, copyValues, type TensorSource } from '../core/host_copy.js';
import { isObject } from '../core/json.js';
import { narrow } from '../core/precision.js';
import { ModelFileError, type ModelFolder, type ModelSource } from '../files/model_folder.js';
import { type AttentionSlice, setAttentionSlice } from '../layers/attention.js';
import { openModelFolder } from '../loading/open_model_folder.js';
import type { OpenOptions } from '../loading/open_options.js';
import { closeWeightFiles, modelFiles, openWeightFiles, type WeightFilesOptions } from '../loading/weight_files.js';
import { loadWeights, type LoadWeightsOptions } from '../weights/load_weights.js';
import { keepHalf, widensHalves, type WeightDtype } from '../weights/weight_reader.js';

export type FromPretrainedOptions = LoadWeightsOptions & WeightFilesOptions & OpenOptions;

type ModelClass<M> = (new (config: never) => M) & { readonly className: string };

/** A whole network: a Block with the config that it was made from. */
export abstract class Model<Config> extends Block {
  /** What `config.json` says, defaults filled in. */
  readonly config: Readonly<Config>;
  protected graphs?: GraphCache;
  private sequential = false;
  private loadedAs: WeightDtype = 'float32';
  /** Weights are halves in host memory, which each layer widens while it runs. */
  private widens = false;
  private slice: AttentionSlice = null;
  /** Of the parameters that are changed for a while. */
  private readonly originals = new Map<string, tf.Tensor | TensorSource>();
  /** Those that are there for that while only. */
  private readonly addedBiases = new Set<string>();

  constructor(config: Config) {
    super();
    this.config = config;
  }

  /**
   * Makes the network that a folder's `config.json` describes and loads its safetensors weights.
   * @param source a folder in the diffusers layout or ours, a single-file checkpoint, or else a model on the hub, as in
   *   'stabilityai/sd-vae-ft-mse'; `subfolder` names the model inside a pipeline's folder, by default what model_index.json calls it.
   * @throws ModelFileError for files that are missing or unreadable (HubError if the hub says so), WeightsError for weights that do not fit,
   *   TypeError or RangeError for a config that cannot be.
   */
  static async fromPretrained<M extends Model<unknown>>(
    this: ModelClass<M>, source: ModelSource, options: FromPretrainedOptions = {},
  ): Promise<M> {
    const folder = await openModelFolder(source, options);
    const subfolder = options.subfolder ?? await findInPipeline(folder, this.className);
    options = { ...options, subfolder };
    if (folder.prefetch) await folder.prefetch(await modelFiles(folder, options));
    const path = subfolder ? `${subfolder}/config.json` : 'config.json';
    const config = await folder.readJson(path);
    if (!isObject(config)) throw new ModelFileError(`${folder.name}/${path}: takes an object`);
    if (config._class_name !== undefined) checkOneOf(`${folder.name}/${path}: _class_name`, config._class_name, [this.className]);
    const model = new this(config as never);
    const files = await openWeightFiles(folder, options);
    try {
      await ensureBackend();
      await loadWeights(model, files, options);
      model.loadedAs = options.dtype ?? 'float32';
      model.widenWhereNeeded();
    } finally {
      await closeWeightFiles(files);
    }
    return model;
  }

  /**
   * As `fromPretrained`, under the name that diffusers has for single files: a VAE by itself, or the network's part of a whole checkpoint.
   * @param file a `.safetensors` or `.ckpt` file, or the address of one on the hub.
   */
  static fromSingleFile<M extends Model<unknown>>(this: ModelClass<M>, file: string | URL, options?: FromPretrainedOptions): Promise<M> {
    return Model.fromPretrained.call(this, file, options) as Promise<M>;
  }

  /**
   * Runs the network as one graph from now on, where the backend has graphs (the native one): recorded at the first call of each shape, it
   * gives the same and spends no time between ops. With false, op by op again.
   */
  compile(options: GraphOptions | false = {}): void {
    this.checkCompile(options !== false, this.sequential);
    this.graphs?.clear();
    this.graphs = options ? new GraphCache(options) : undefined;
  }

  /** When the graphs that were recorded run as fast as they can: on GPUs XLA makes machine code of them meanwhile, which takes a minute or more. */
  async compiled(): Promise<void> {
    await this.graphs?.compiled();
  }

  /** `body(...inputs)`, as a graph if compiled. All else that the body depends on must be parameters or constant. */
  protected graph(name: string, body: (...inputs: tf.Tensor[]) => tf.Tensor, ...inputs: tf.Tensor[]): tf.Tensor {
    return this.graphOfMany(name, (...inputs) => [body(...inputs)], ...inputs)[0];
  }

  /** As `graph`, for a body that gives several tensors. */
  protected graphOfMany(name: string, body: GraphBody, ...inputs: tf.Tensor[]): tf.Tensor[] {
    if (!this.graphs || this.widens) return tf.tidy(() => body(...inputs));
    if (this.graphs.isEmpty) this.stateDict(); // a graph holds the weights themselves, not where they come from
    return this.graphs.run(name, body, inputs);
  }

  /**
   * Frees the weights on the device: each comes back when it is next used, from its file (the native CPU backend, where device memory is the
   * host's) or from a copy in host memory, which is made the first time.
   */
  async offload(): Promise<void> {
    for (const path of this.parameterSpecs().keys()) {
      if (this.isAllocated(path) && !this.getSource(path)) this.setSource(path, await copyToHost(this.getParameter(path)));
    }
    await this.offloadOriginals();
    this.release();
  }

  /** As `offload`, of what has been read back already. */
  override release(): void {
    this.graphs?.clear();
    super.release();
  }

  override releaseAfterUse(release: boolean): void {
    this.checkCompile(this.graphs !== undefined, release);
    this.sequential = release;
    super.releaseAfterUse(release || this.widens);
  }

  /** Brings the weights to the current backend and frees them on the one where they are. */
  async move(): Promise<void> {
    const { loadedAs: dtype } = this;
    if (this.widenWhereNeeded() && dtype !== 'float32') {
      for (const [path, { shape }] of this.parameterSpecs()) {
        if (this.isAllocated(path)) this.setSource(path, keepHalf(await this.getParameter(path).data<'float32'>(), shape, dtype));
      }
      this.release();
    }
    for (const path of this.parameterSpecs().keys()) {
      if (!this.isAllocated(path)) continue;
      const value = this.getParameter(path);
      if (tf.backend().refCount(value.dataId) === 0) this.replaceParameter(path, (await copyValues(value))());
    }
    await this.offloadOriginals();
  }

  override setParameter(path: string, value: tf.Tensor): void {
    this.replaceParameter(path, value);
    tf.dispose(this.originals.get(path) as tf.Tensor);
    this.originals.delete(path);
  }

  /** Puts `change(original)` in the place of a parameter. The original is kept, and what a later change begins from. */
  changeParameter(path: string, change: (original: tf.Tensor) => tf.Tensor): void {
    const original = this.originals.get(path) ?? (this.isAllocated(path) ? undefined : this.getSource(path)) ??
      tf.keep(this.getParameter(path).clone());
    this.originals.set(path, original);
    this.replaceParameter(path, tf.tidy(() => change(valueOf(original)).clone()));
  }

  /** Gives the layer whose weight is at `path` a bias, until restoreParameters. */
  override addBias(path: string): void {
    super.addBias(path);
    const bias = path.replace(/weight$/, 'bias');
    this.addedBiases.add(bias);
    this.replaceParameter(bias, tf.tidy(() => narrow(this.getParameter(bias), this.getParameter(path)).clone()));
  }

  /** Takes all of `changeParameter` back. */
  restoreParameters(): void {
    this.originals.forEach((original, path) => {
      this.replaceParameter(path, valueOf(original));
      if (typeof original === 'function') this.setSource(path, original);
    });
    this.originals.clear();
    this.addedBiases.forEach(path => this.removeParameter(path));
    this.addedBiases.clear();
  }

  /** Makes all of `changeParameter` last. */
  keepParameters(): void {
    this.originals.forEach(original => tf.dispose(original as tf.Tensor));
    this.originals.clear();
    this.addedBiases.clear();
  }

  private replaceParameter(path: string, value: tf.Tensor): void {
    this.graphs?.clear(); // they hold the old value
    super.setParameter(path, value);
  }

  private async offloadOriginals(): Promise<void> {
    for (const [path, original] of this.originals) {
      if (!(original instanceof tf.Tensor)) continue;
      this.originals.set(path, await copyToHost(original));
      original.dispose();
    }
  }

  private widenWhereNeeded(): boolean {
    this.widens = widensHalves(this.loadedAs);
    super.releaseAfterUse(this.sequential || this.widens);
    return this.widens;
  }

  private checkCompile(compiled: boolean, sequential: boolean): void {
    if (compiled && sequential) throw new Error('compile: a graph holds all weights of its network; use it with enableModelCpuOffload, not with enableSequentialCpuOffload');
  }

  override dispose(): ReturnType<Block['dispose']> {
    this.graphs?.clear();
    this.keepParameters();
    return super.dispose();
  }

  /** What the weights were loaded as. */
  get weightDtype(): WeightDtype {
    return this.loadedAs;
  }

  /** How many numbers the parameters hold. */
  get numParameters(): number {
    return [...this.parameterSpecs().values()].reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
  }

  /** Attends to fewer heads at once, for less memory; null for as many as is fastest. See Attention.setSlice. */
  setAttentionSlice(slice: AttentionSlice): void {
    this.graphs?.clear();
    setAttentionSlice(this, slice);
    this.slice = slice;
  }

  get attentionSlice(): AttentionSlice {
    return this.slice;
  }
}

function valueOf(original: tf.Tensor | TensorSource): tf.Tensor {
  return typeof original === 'function' ? original() : original;
}

/** Where a pipeline's folder has the model of a class; undefined for a folder of one model. */
async function findInPipeline(folder: ModelFolder, className: string): Promise<string | undefined> {
  if (await folder.has('config.json') || !await folder.has('model_index.json')) return undefined;
  const index = await folder.readJson('model_index.json');
  return Object.entries(isObject(index) ? index : {}).find(([, entry]) => Array.isArray(entry) && entry[1] === className)?.[0];
}
