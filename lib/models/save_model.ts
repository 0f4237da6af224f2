import type { Block } from '../core/block.js';
import { bytesOf } from '../core/bytes_of.js';
import { checkInteger, checkOneOf, checkOptionNames } from '../core/checks.js';
import { FLOAT_DTYPES, type FloatDtype } from '../core/float16.js';
import { toJsonText } from '../core/json.js';
import type { WriteFile } from '../files/output_folder.js';
import { weightStem } from '../loading/weight_files.js';
import { convertDtype, FLOATS_IN_FILES } from '../weights/convert_dtype.js';
import { tfjsToTorch, torchShape } from '../weights/layouts.js';
import { WeightsError } from '../weights/load_weights.js';
import { elementSizes } from '../weights/safetensors.js';
import {
  countingUp, reporting, sizeOfWeights, writeWeights, type ShardOptions, type WeightToWrite, type WritingProgress,
} from '../weights/write_weights.js';

/** How a network or a pipeline is saved. */
export interface SaveOptions extends ShardOptions, WritingProgress {
  /** The type of the written weights; by default the one that each network was loaded as. Weights in fewer bits become floats too. */
  dtype?: FloatDtype;
}

const OPTIONS = Object.keys({
  dtype: true, maxShardSize: true, onProgress: true, signal: true,
} satisfies Record<keyof SaveOptions, true>);

/** What is needed of a network to save it. */
export interface SavedModel extends Block {
  readonly config: object;
  readonly fileConfig: object;
  readonly weightDtype: FloatDtype;
}

/** A part of a folder that is to be written, all of which was looked at. */
export interface FolderPart {
  /** Bytes of its weights. */
  readonly size: number;
  write(write: WriteFile, advance: (bytes: number) => void): Promise<void>;
}

/** A file of text. */
export function textFile(path: string, content: string): FolderPart {
  return { size: 0, write: write => write(path, content) };
}

/** A file of JSON. */
export function jsonFile(path: string, value: unknown): FolderPart {
  return textFile(path, toJsonText(value));
}

/** A network below `subfolder`. @throws WeightsError for parameters that no network of its config has. */
export function modelPart(model: SavedModel, subfolder: string, { dtype = model.weightDtype, maxShardSize }: SaveOptions): FolderPart {
  const className = model.getClassName();
  const Class = model.constructor as new (config: object) => Block;
  const specs = new Class(model.fileConfig).parameterSpecs();
  const stranger = [...model.parameterSpecs().keys()].find(path => !specs.has(path));
  if (stranger !== undefined) {
    throw new WeightsError(`${className}: ${stranger} has no place in its folder: unload the IP-Adapter or the LoRA that brought it`);
  }
  const to = FLOATS_IN_FILES[dtype];
  const weights = [...specs].map(([path, spec]): WeightToWrite => ({
    tensors: [{
      name: keyOf(className, path), dtype: to, shape: torchShape(spec),
      bytes: async () => {
        const values = convertDtype(path, bytesOf(await model.readParameter(path)), 'F32', to);
        return tfjsToTorch(values, elementSizes[to], spec.shape, spec.layout);
      },
    }],
  }));
  const prefix = subfolder ? `${subfolder}/` : '';
  return {
    size: sizeOfWeights(weights),
    async write(write, advance) {
      const reported = weights.map(weight => reporting(weight, () => advance(sizeOfWeights([weight]))));
      await writeWeights(write, prefix + weightStem(className), reported, () => ({ format: 'pt' }), { maxShardSize });
      await jsonFile(`${prefix}config.json`, model.fileConfig).write(write, advance); // last: nothing loads without it
    },
  };
}

/** Writes the parts as a folder, all or nothing; see Model.savePretrained. */
export async function saveFolder(folder: string | URL, parts: readonly FolderPart[], options: SaveOptions): Promise<void> {
  const { makeFolder, newFolderPath } = await import('../files/output_folder.js');
  const total = parts.reduce((sum, { size }) => sum + size, 0);
  const advance = countingUp(total, options);
  await makeFolder(newFolderPath('folder', folder), total, async write => {
    for (const part of parts) await part.write(write, advance);
  });
}

/** @throws TypeError, RangeError naming what does not fit. */
export function checkSaveOptions(options: SaveOptions): void {
  checkOptionNames('savePretrained', options, OPTIONS, {
    torch_dtype: 'dtype', max_shard_size: 'maxShardSize', safe_serialization: 'weights are always written as safetensors',
  });
  if (options.dtype !== undefined) checkOneOf('dtype', options.dtype, FLOAT_DTYPES);
  if (options.maxShardSize !== undefined) checkInteger('maxShardSize', options.maxShardSize, 1);
}

/** What files call a parameter: transformers reads its text encoders' with `text_model.` before, in every version. */
function keyOf(className: string, path: string): string {
  return className.startsWith('CLIPText') && !path.startsWith('text_projection.') ? `text_model.${path}` : path;
}
