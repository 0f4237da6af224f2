import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { canCompile, GraphCache, mapTensors, type GraphBody, type GraphOptions } from '../core/graph.js';
import type { ModelSource } from '../files/model_folder.js';
import { type AttentionSlice, setAttentionSlice } from '../layers/multi_head_attention.js';
import type { WeightDtype } from '../weights/weight_reader.js';
import { loadModel, type LoadModelOptions, type ModelClass } from './load_model.js';
import { checkSaveOptions, modelPart, saveFolder, type SaveOptions } from './save_model.js';

/** A whole network: a Block with the config that it was made from. */
export abstract class Model<Config> extends Block {
  /** What `config.json` says, defaults filled in. */
  readonly config: Readonly<Config>;
  protected graphs?: GraphCache;
  /** What transformers calls the architecture, of its own classes. */
  protected readonly modelType?: string;
  private loadedAs: WeightDtype = 'float32';
  private loadedFrom?: object;
  private slice: AttentionSlice = null;

  constructor(config: Config) {
    super();
    this.config = config;
  }

  /**
   * Makes the network that a folder's `config.json` describes and loads its safetensors weights.
   * @param source a folder in the diffusers layout or ours, a single-file checkpoint, or else a model on the hub, as in
   *   'stabilityai/sd-vae-ft-mse'; `subfolder` names the model inside a pipeline's folder, by default what model_index.json calls it.
   * @throws ModelFileError for files that are missing or unreadable (HubError if the hub says so), WeightsError for weights that do not
   *   fit, TypeError or RangeError for a config that cannot be.
   */
  static async fromPretrained<M extends Model<unknown>>(
    this: ModelClass<M>, source: ModelSource, options: LoadModelOptions = {},
  ): Promise<M> {
    const { model, config } = await loadModel(this, source, options);
    model.loadedAs = options.dtype ?? 'float32';
    model.loadedFrom = config;
    return model;
  }

  /**
   * Writes the network as a folder that diffusers or transformers loads, and `fromPretrained`: its config, and its weights as they are
   * used, in torch's layout. In Node.
   * @param folder a new or empty folder; nothing is there until all of it is.
   * @throws WeightsError if the network has parameters that no such network has, as from an IP-Adapter; RangeError for a value that is
   *   beyond `dtype`; Error if the folder cannot be written.
   */
  async savePretrained(folder: string | URL, options: SaveOptions = {}): Promise<void> {
    checkSaveOptions(options);
    await saveFolder(folder, [modelPart(this, '', options)], options);
  }

  /** The content of its `config.json`: that of the file that it was loaded from, and all that the network is made by. */
  get fileConfig(): Readonly<Record<string, unknown>> {
    const className = this.getClassName();
    const { loadedFrom, modelType, config } = this;
    const stated: Record<string, unknown> = { ...loadedFrom, ...config };
    const pick = (keys: readonly string[]) => (
      Object.fromEntries(keys.filter(key => stated[key] !== undefined && key !== '_name_or_path').map(key => [key, stated[key]]))
    );
    if (modelType) { // of others it takes no 1 for a 1.0, which are the same here
      const known = [...Object.keys(config as object), 'bos_token_id', 'pad_token_id'];
      return { ...pick(known), architectures: [className], model_type: modelType };
    }
    const { _diffusers_version, ...others } = pick(Object.keys(loadedFrom ?? stated));
    return { ...others, ..._diffusers_version !== null && { _diffusers_version }, _class_name: className };
  }

  /**
   * As `fromPretrained`, under the name that diffusers has for single files: a VAE by itself, or the network's part of a whole checkpoint.
   * @param file a `.safetensors`, `.gguf` or `.ckpt` file, or the address of one on the hub.
   */
  static fromSingleFile<M extends Model<unknown>>(this: ModelClass<M>, file: string | URL, options?: LoadModelOptions): Promise<M> {
    return Model.fromPretrained.call(this, file, options) as Promise<M>;
  }

  /**
   * Runs the network as one graph from now on, where the backend has graphs (the native one): it is recorded at the first call of each
   * shape, gives the same result and spends no time between ops. With false, it runs op by op again. All weights are then on the device in
   * the type of `dtype`, also those that are stored in fewer bits.
   */
  compile(options: GraphOptions | false = {}): void {
    checkCompile(options !== false, this.releasesAfterUse);
    this.graphs?.clear();
    this.holdValues(options !== false);
    this.graphs = options ? new GraphCache(options, () => this.stateDict()) : undefined;
  }

  /** Resolves when recorded graphs run as fast as they can: on GPUs XLA makes machine code of them, which takes a minute or more. */
  async compiled(): Promise<void> {
    await this.graphs?.compiled();
  }

  /**
   * `body(inputs)`, a tensor or a container of tensors, as a graph if compiled. All else that it depends on must be parameters or constant.
   */
  protected graph<I extends tf.TensorContainer>(name: string, body: (inputs: I) => tf.Tensor, inputs: I): tf.Tensor {
    return this.graphOf(name, inputs => [body(inputs)], inputs)[0];
  }

  /** As `graph`, for a body that gives several tensors. */
  protected graphOf<I extends tf.TensorContainer>(name: string, body: (inputs: I) => tf.Tensor[], inputs: I): tf.Tensor[] {
    const tensors: tf.Tensor[] = [];
    const structure = mapTensors(inputs, tensor => tensors.push(tensor) - 1);
    return this.graphOfMany(`${name} ${JSON.stringify(structure)}`, (...tensors) => {
      let next = 0;
      return body(mapTensors(inputs, () => tensors[next++]) as I);
    }, ...tensors);
  }

  /** As `graphOf`, of tensors in a row. */
  protected graphOfMany(name: string, body: GraphBody, ...inputs: tf.Tensor[]): tf.Tensor[] {
    if (!this.graphs || !canCompile()) return tf.tidy(() => body(...inputs));
    return this.graphs.run(name, body, inputs);
  }

  /** Graphs are to find the new ones. */
  protected override valuesChange(): void {
    this.graphs?.forgetWeights();
  }

  override releaseAfterUse(release: boolean): void {
    checkCompile(this.graphs !== undefined, release);
    super.releaseAfterUse(release);
  }

  override move(): Promise<void> {
    return super.move(this.loadedAs);
  }

  override dispose(): ReturnType<Block['dispose']> {
    this.graphs?.clear();
    return super.dispose();
  }

  /** The type that the weights were loaded as. */
  get weightDtype(): WeightDtype {
    return this.loadedAs;
  }

  /** How many numbers the parameters hold. */
  get numParameters(): number {
    return [...this.parameterSpecs().values()].reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
  }

  /**
   * Bytes that the weights take in memory, or would take if all were there. With `compile`, weights stored in fewer bits count in their
   * full type.
   */
  get numBytes(): number {
    const width = this.weightDtype === 'float32' ? 4 : 2;
    return this.graphs && canCompile() ? width * this.numParameters : this.bytesOfValues(width);
  }

  /** Computes fewer heads of attention at once, for less memory; null for as many as is fastest. See Attention.setSlice. */
  setAttentionSlice(slice: AttentionSlice): void {
    this.graphs?.clear();
    setAttentionSlice(this, slice);
    this.slice = slice;
  }

  get attentionSlice(): AttentionSlice {
    return this.slice;
  }
}

function checkCompile(compiled: boolean, releasing: boolean): void {
  if (compiled && releasing) {
    throw new Error('compile: a graph holds all weights of its network; ' +
      'use it with enableModelCpuOffload, not with enableSequentialCpuOffload');
  }
}
