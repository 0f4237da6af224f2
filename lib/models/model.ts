import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { checkOneOf } from '../core/checks.js';
import { GraphCache, type GraphBody } from '../core/graph.js';
import { isObject } from '../core/json.js';
import { ModelFileError, openModelFolder, type HubOptions, type ModelFolder } from '../hub/model_folder.js';
import { type AttentionSlice, setAttentionSlice } from '../layers/attention.js';
import { loadWeights, type LoadWeightsOptions } from '../weights/load_weights.js';
import { closeWeightFiles, modelFiles, openWeightFiles, type WeightFilesOptions } from '../weights/weight_files.js';

export type FromPretrainedOptions = LoadWeightsOptions & WeightFilesOptions & HubOptions;

/** A whole network: a Block with the config that it was made from. */
export abstract class Model<Config> extends Block {
  /** What `config.json` says, defaults filled in. */
  readonly config: Readonly<Config>;
  private graphs?: GraphCache;

  constructor(config: Config) {
    super();
    this.config = config;
  }

  /**
   * Makes the network that a folder's `config.json` describes and loads its safetensors weights.
   * @param source a folder in the diffusers layout or ours, or else a model on the hub, as in 'stabilityai/sd-vae-ft-mse';
   *   `subfolder` names the model inside a pipeline's folder.
   * @throws ModelFileError for files that are missing or unreadable (HubError if the hub says so), WeightsError for weights that do not fit,
   *   TypeError or RangeError for a config that cannot be.
   */
  static async fromPretrained<M extends Model<unknown>>(
    this: (new (config: never) => M) & { className: string }, source: string | ModelFolder, options: FromPretrainedOptions = {},
  ): Promise<M> {
    const folder = await openModelFolder(source, options);
    if (folder.prefetch) await folder.prefetch(await modelFiles(folder, options));
    const path = options.subfolder ? `${options.subfolder}/config.json` : 'config.json';
    const config = await folder.readJson(path);
    if (!isObject(config)) throw new ModelFileError(`${folder.name}/${path}: takes an object`);
    if (config._class_name !== undefined) checkOneOf(`${folder.name}/${path}: _class_name`, config._class_name, [this.className]);
    const model = new this(config as never);
    const files = await openWeightFiles(folder, options);
    try {
      await loadWeights(model, files, options);
    } finally {
      await closeWeightFiles(files);
    }
    return model;
  }

  /**
   * Runs the network as one graph from now on, where the backend has graphs (the native one): recorded at the first call of each shape, it
   * gives the same and spends no time between ops.
   */
  compile(): void {
    this.graphs ??= new GraphCache();
  }

  /** `body(...inputs)`, as a graph if compiled. All else that the body depends on must be parameters or constant. */
  protected graph(name: string, body: GraphBody, ...inputs: tf.Tensor[]): tf.Tensor {
    return this.graphs ? this.graphs.run(name, body, inputs) : tf.tidy(() => body(...inputs));
  }

  override setParameter(path: string, value: tf.Tensor): void {
    this.graphs?.clear(); // they hold the old value
    super.setParameter(path, value);
  }

  override dispose(): ReturnType<Block['dispose']> {
    this.graphs?.clear();
    return super.dispose();
  }

  /** How many numbers the parameters hold. */
  get numParameters(): number {
    return [...this.parameterSpecs().values()].reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
  }

  /** Attends to fewer heads at once, for less memory; null for as many as is fastest. See Attention.setSlice. */
  setAttentionSlice(slice: AttentionSlice): void {
    this.graphs?.clear();
    setAttentionSlice(this, slice);
  }
}
