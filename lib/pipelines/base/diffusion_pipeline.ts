import * as tf from '@tensorflow/tfjs';
import { canCompile } from '../../core/graph.js';
import { kernelCompilers } from '../../core/kernel_compilers.js';
import type { Profile } from '../../core/profile.js';
import { runningAhead } from '../../core/run_ahead.js';
import { spareMemory } from '../../core/spare_memory.js';
import type { ModelSource } from '../../files/model_folder.js';
import { Model } from '../../models/model.js';
import type { SaveOptions } from '../../models/save_model.js';
import { currentDevice, resumeDevice, useDevice, type Device } from '../../runtime/devices.js';
import { followCompilation, followPreparation, type CompileOptions } from '../run/compilation.js';
import { denoise, type DenoisingOptions, type DenoisingStart } from '../run/denoise.js';
import { loadPipeline, type FromPretrainedOptions } from '../components/load_components.js';
import { makePipeline } from '../components/make_pipeline.js';
import { savePipeline } from '../components/save_components.js';
import { whichAreOn, type MemorySaver } from '../run/out_of_memory.js';
import { profileComponents } from '../run/profile_pipeline.js';
import type { ProgressBarConfig } from '../run/progress_bar.js';
import type { PipelineClass, UsualPipeline } from '../components/registry.js';
import { shareNetworks, type NetworkUse, type Waiting } from '../components/share_networks.js';

/** What all pipelines share: loading, devices, memory, the loop. */
export abstract class DiffusionPipeline {
  /** The pipeline's parts, by name. */
  abstract readonly components: object;
  /** Set it to true during `generate` (in a callback) to skip the steps that are left. */
  interrupt = false;
  protected progressBarConfig: ProgressBarConfig = {};
  private runsOn?: Device;
  private offload?: 'model' | 'sequential';
  private compileOptions?: CompileOptions;
  private compiledByDefault = false;
  /** Those that ran last. */
  private atWork: ReadonlyArray<Model<unknown>> = [];
  /** What was recorded ahead of its turn. */
  private readonly recorded = new Set<string>();
  /** What kernels were compiled for. */
  private readonly prepared = new Set<string>();

  /**
   * Loads a pipeline: a folder in diffusers' layout with torch's weights or our own, a single-file checkpoint, or a model on the hub.
   * `DiffusionPipeline.fromPretrained` makes the class that the folder names; `fromPretrained` of another class makes that class.
   * Components that are passed in are taken instead of the folder's.
   * @throws ModelFileError for a missing or unreadable file, RangeError for an unknown class, WeightsError for weights that do not fit.
   */
  static fromPretrained<P extends DiffusionPipeline>(
    this: PipelineClass<P>, source: ModelSource, options?: FromPretrainedOptions<P['components']>,
  ): Promise<P>;
  static fromPretrained(source: ModelSource, options?: FromPretrainedOptions): Promise<UsualPipeline>;
  static async fromPretrained(source: ModelSource, options: FromPretrainedOptions<object> = {}): Promise<DiffusionPipeline> {
    const device = await useDevice(options.device ?? 'auto');
    const Pipeline = this === DiffusionPipeline ? undefined : this as unknown as PipelineClass;
    const pipe = await loadPipeline(source, options, Pipeline) as DiffusionPipeline;
    pipe.runsOn = device;
    if (options.compile ?? device === 'cuda') pipe.compile();
    pipe.compiledByDefault = options.compile === undefined;
    if (options.cpuOffload) pipe.setOffload(options.cpuOffload);
    return pipe;
  }

  /**
   * As `fromPretrained`, under the name that diffusers has for single files.
   * @param file a `.safetensors`, `.gguf` or `.ckpt` file of Stable Diffusion 1.x, 2.x, XL or 3, or the address of one on the hub;
   *   `predictionType` says what the model predicts, which the file does not contain.
   */
  static fromSingleFile<P extends DiffusionPipeline>(
    this: PipelineClass<P>, file: string | URL, options?: FromPretrainedOptions<P['components']>,
  ): Promise<P>;
  static fromSingleFile(file: string | URL, options?: FromPretrainedOptions): Promise<UsualPipeline>;
  static fromSingleFile(file: string | URL, options?: FromPretrainedOptions<object>): Promise<DiffusionPipeline> {
    return DiffusionPipeline.fromPretrained.call(this as never, file, options);
  }

  /**
   * Makes a pipeline of this class from another one's components: both then share the networks. Components that are passed in are taken
   * instead. `AutoPipelineForImage2Image.fromPipe` and its like find the class.
   */
  static fromPipe<P extends DiffusionPipeline>(
    this: PipelineClass<P>, pipe: DiffusionPipeline, components: Partial<P['components']> = {},
  ): P {
    return makePipeline(this, { ...pipe.components, ...components });
  }

  /**
   * Writes the pipeline as a folder that diffusers loads, and `fromPretrained`: its weights as they are used, in torch's layout, with the
   * LoRAs that act merged into them, the words that it learned, and the scheduler that it has. In Node. A model that was not changed is
   * written by `convertModel`, without loading it, in the layout that loads fastest here.
   * @param folder a new or empty folder; nothing is there until all of it is.
   * @throws WeightsError while an IP-Adapter is loaded; RangeError for a value that is beyond `dtype`; Error if the folder cannot be
   *   written.
   */
  async savePretrained(folder: string | URL, options: SaveOptions = {}): Promise<void> {
    await this.running(() => savePipeline(this.constructor as PipelineClass, this.components, folder, options));
  }

  /**
   * Makes the pipeline run on `device` and moves the weights there; the memory that they took elsewhere is freed. With
   * enableModelCpuOffload, networks go on taking turns there.
   * @throws Error with enableSequentialCpuOffload, as in diffusers.
   */
  async to(device: Device | 'auto'): Promise<this> {
    if (this.offload === 'sequential') {
      throw new Error('to: does not go together with enableSequentialCpuOffload, which brings weights to the device itself; ' +
        'call removeAllHooks first');
    }
    await this.alone('change', async () => {
      this.runsOn = await useDevice(device);
      for (const network of this.networks) await (this.offload ? network.offload() : network.move());
    });
    return this;
  }

  /** The device that the pipeline runs on. A pipeline made of components runs on the device where its first picture is made. */
  get device(): Device | undefined {
    return this.runsOn;
  }

  /** How many parameters the networks have. */
  get numParameters(): number {
    return this.networks.reduce((sum, network) => sum + network.numParameters, 0);
  }

  /** Bytes that the weights of all networks take in memory, or would if none were offloaded. */
  get numBytes(): number {
    return this.networks.reduce((sum, network) => sum + network.numBytes, 0);
  }

  /**
   * Keeps the weights of a network on the device only while that network runs: text encoder, UNet, autoencoder, in turn. For less memory at
   * hardly any cost. Until then they are in the files that they came from (device cpu) or in host memory (other devices). Changes no
   * result.
   */
  enableModelCpuOffload(): void {
    this.setOffload('model');
  }

  /**
   * Keeps the weights of a layer on the device only while that layer runs: for the least memory, at a cost in time for each step.
   * Changes no result. Where networks are compiled by default, they no longer are.
   * @throws Error after compile().
   */
  enableSequentialCpuOffload(): void {
    this.setOffload('sequential');
  }

  /** Undoes enableModelCpuOffload and enableSequentialCpuOffload: weights stay on the device once they are used. */
  removeAllHooks(): void {
    this.setOffload(undefined);
  }

  /** Which of the ways to save memory are on, in the names of the methods that turn them on. */
  get memorySavers(): ReadonlySet<MemorySaver> {
    return whichAreOn({ enableModelCpuOffload: this.offload !== undefined, enableSequentialCpuOffload: this.offload === 'sequential' });
  }

  /**
   * Runs each network as one graph instead of thousands of ops, from its second run at a size on: the same pictures, and no time spent
   * between ops, which is most of it for small networks and on GPUs. Recording takes about a run. On `cuda`, where this is the default, XLA
   * makes machine code of the graphs while they run, in a minute or two for each size the first time; it is kept on disk. Only the native
   * backend has graphs.
   * @param options `xla` whether XLA is used, `wait` whether pictures wait for it; false to run op by op.
   */
  compile(options: CompileOptions | false = {}): void {
    if (options && !canCompile()) console.warn('compile: only the native backend has graphs (cuda, cpu); this pipeline runs as before');
    this.networks.forEach(network => network.compile(options));
    this.recorded.clear();
    this.compiledByDefault = false;
    this.compileOptions = options || undefined;
  }

  /** Tells what XLA is at, if networks are compiled and it takes a while; to `wait` for it, comes back when it is done. */
  private async followCompilation(): Promise<void> {
    if (!this.compileOptions) return;
    const isNetwork = (entry: [string, unknown]): entry is [string, Model<unknown>] => entry[1] instanceof Model;
    const networks = new Map(Object.entries(this.components).filter(isNetwork));
    await followCompilation(networks, { wait: this.compileOptions.wait, silent: this.progressBarConfig.disable });
  }

  /**
   * Runs `work` and measures where its time goes: `const { result, profile } = await pipe.profile(() => pipe.generate('a red circle'))`.
   * Networks that run as graphs (`compile`) are timed as a whole.
   */
  profile<T>(work: () => T | Promise<T>): Promise<{ result: T; profile: Profile }> {
    return profileComponents(this.components, work);
  }

  /** How to show progress; see ProgressBarConfig. */
  setProgressBarConfig(config: ProgressBarConfig): void {
    this.progressBarConfig = config;
  }

  /** Frees the weights. */
  dispose(): void {
    this.networks.forEach(network => network.dispose());
  }

  /** Lets a network that the pipeline gets later run as the others do; offloading comes with the next work. */
  protected joinIn(network: Model<unknown>): void {
    if (this.compileOptions) network.compile(this.compileOptions);
  }

  /** Before `networks` run: work elsewhere may have changed the device; with enableModelCpuOffload, the other networks leave it. */
  protected makeReady(...networks: ReadonlyArray<Model<unknown>>): void {
    this.resume();
    if (this.offload === 'model') this.networks.filter(each => !networks.includes(each)).forEach(each => each.release());
    if (networks.some(each => !this.atWork.includes(each))) spareMemory.current?.();
    this.atWork = networks;
  }

  /** Runs `work`, with results of no use, once for each `key`: where XLA compiles, so that it does so for one network beside the others. */
  protected recordAhead(key: string, work: () => unknown): void {
    if (!this.compileOptions || !(this.compileOptions.xla ?? this.runsOn === 'cuda') || this.offload || this.recorded.has(key)) return;
    this.recorded.add(key);
    tf.tidy(() => { work(); });
  }

  /**
   * Runs `work`, with results of no use, once for each `key`: where kernels are compiled as they run, so that this thread does not stand
   * still for that during the first picture. Not with offloading: the weights would come and go once more.
   */
  protected async prepare(key: string, work: () => unknown): Promise<void> {
    const compile = kernelCompilers.current;
    if (!compile || this.offload || this.prepared.has(key)) return;
    this.prepared.add(key);
    await followPreparation(() => compile(() => tf.tidy(() => { work(); })), this.progressBarConfig);
  }

  /** Runs the loop: `networks` are made ready before each step, and the progress bar and `interrupt` are the pipeline's. */
  protected denoise(
    networks: ReadonlyArray<Model<unknown>>, start: DenoisingStart, options: Omit<DenoisingOptions, 'beforeStep' | 'progressBar'>,
  ): Promise<tf.Tensor> {
    this.interrupt = false;
    return denoise(start, {
      ...options,
      progressBar: this.progressBarConfig,
      beforeStep: () => {
        if (!this.interrupt) this.makeReady(...networks);
        return !this.interrupt;
      },
      afterStep: async step => {
        if (step.index === 0) await this.followCompilation();
        return options.afterStep?.(step);
      },
    });
  }

  private resume(): void {
    if (this.runsOn) resumeDevice(this.runsOn);
  }

  private setOffload(offload?: 'model' | 'sequential'): void {
    if (offload === 'sequential' && this.compiledByDefault) this.compile(false);
    this.networks.forEach(network => network.releaseAfterUse(offload === 'sequential'));
    this.offload = offload;
    if (offload) this.networks.forEach(network => network.release());
  }

  /** Frees the device of weights, if they are to be offloaded: also those that changed, or whose network is new here. */
  private async offloadAll(): Promise<void> {
    if (!this.offload) return;
    for (const network of this.networks) {
      this.resume();
      network.releaseAfterUse(this.offload === 'sequential');
      await network.offload();
    }
  }

  /** Runs `work`, which changes networks, on the pipeline's device: while no pipeline is at work with them. */
  protected exclusively<T>(work: () => Promise<T>, waiting?: Waiting): Promise<T> {
    return this.onDevice('change', work, waiting);
  }

  /** Runs `work`, which makes pictures, on the pipeline's device. Other pipelines of the same networks may be at work, too. */
  protected running<T>(work: () => Promise<T>, waiting?: Waiting): Promise<T> {
    return this.onDevice('run', work, waiting);
  }

  private onDevice<T>(use: NetworkUse, work: () => Promise<T>, waiting?: Waiting): Promise<T> {
    return this.alone(use, async () => {
      this.runsOn = await useDevice(this.runsOn ?? currentDevice() ?? 'auto');
      await this.offloadAll();
      try {
        return await work();
      } catch (error) {
        runningAhead.current?.forgetErrors();
        throw error;
      } finally {
        await this.offloadAll();
      }
    }, waiting);
  }

  private alone<T>(use: NetworkUse, work: () => Promise<T>, waiting?: Waiting): Promise<T> {
    return shareNetworks({ pipeline: this, networks: this.networks, use }, work, waiting);
  }

  private get networks(): Model<unknown>[] {
    return Object.values(this.components).filter(component => component instanceof Model);
  }
}
