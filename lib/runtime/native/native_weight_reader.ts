import type * as tf from '@tensorflow/tfjs';
import { bytesOf } from '../../core/bytes_of.js';
import { copyToHost } from '../../core/host_copy.js';
import type { StoredValue } from '../../core/stored_value.js';
import type { ByteSource, FilePlace } from '../../files/byte_source.js';
import type { FoundWeight } from '../../weights/found_weight.js';
import { torchShape } from '../../weights/layouts.js';
import { decodeTensor, elementSizes, type Dtype } from '../../weights/safetensors.js';
import type { ReadOptions, ReadWeight, WeightReader } from '../../weights/weight_reader.js';
import { FLOAT_TYPES, TF, type Metadata } from './binding.js';
import type { NativeBackend } from './native_backend.js';
import { Scope } from './scope.js';
import { SeenFile } from './seen_file.js';

const TF_TYPES: Partial<Record<Dtype, number>> = { F64: TF.DOUBLE, F32: TF.FLOAT, F16: TF.HALF, BF16: TF.BFLOAT16 };

/** Torch's axes in our order. */
const AXES = { plain: undefined, linear: [1, 0], pointwise: [1, 0], conv: [2, 3, 1, 0] };

/** Pages of a mapped file count as the process's memory until it is unmapped: what is only converted is mapped anew after so many bytes. */
const WINDOW = 64 * 2 ** 20;

interface Mapping {
  readonly file: Metadata;
  used: number;
}

/**
 * Reads weights by TensorFlow's ops, on all cores, and where it can without a copy: a local file is mapped, and a weight that has our
 * layout and the wanted type already, at a multiple of 64 bytes, stays a view of the file. Others are transposed and converted.
 */
export class NativeWeightReader implements WeightReader {
  private readonly wanted: number;
  private readonly offload: boolean;
  /** By file: one mapping whose views stay, one that only passes through. */
  private readonly kept = new Map<ByteSource, Mapping>();
  private readonly passing = new Map<ByteSource, Mapping>();
  private readonly seen = new Map<ByteSource, SeenFile>();

  constructor(private readonly backend: NativeBackend, { dtype, offload }: ReadOptions) {
    this.offload = offload;
    this.wanted = FLOAT_TYPES[dtype];
  }

  async read(weight: FoundWeight): Promise<ReadWeight> {
    const stored = this.inFile(weight);
    if (this.offload && stored) return { stored };
    const value = await this.onDevice(weight);
    if (!this.offload) return { value, stored };
    const copy = await copyToHost(value);
    value.dispose();
    return { stored: copy };
  }

  private async onDevice(weight: FoundWeight): Promise<tf.Tensor> {
    const { spec, file: { source }, info: { dtype, offset, byteLength }, layout } = weight;
    if (!TF_TYPES[dtype]) return this.decode(weight);
    const place = this.canMap(weight) ? source.locate?.(offset, byteLength) : undefined;
    if (!place) return this.convert(weight, await source.read(offset, byteLength));
    const asIs = (layout === 'tfjs' || spec.layout === 'plain') && TF_TYPES[dtype] === this.wanted;
    const mapping = this.mapping(source, place, asIs ? this.kept : this.passing);
    mapping.used += byteLength;
    return this.backend.compute(scope => this.toWanted(scope, weight, scope.sliceBytes(mapping.file, place.offset, byteLength)));
  }

  /** The file's place, mapped when it is read: what comes of it is a view of the map or, converted, a copy. */
  private inFile(weight: FoundWeight): StoredValue | undefined {
    const { file, info } = weight;
    const place = this.canMap(weight) ? file.source.locate?.(info.offset, info.byteLength) : undefined;
    if (!place) return undefined;
    const seen = this.seen.get(file.source) ?? new SeenFile(file.name, place.path);
    this.seen.set(file.source, seen);
    return {
      read: () => seen.open(path => this.backend.compute(scope =>
        this.toWanted(scope, weight, scope.sliceBytes(scope.mapFile(path, place.size), place.offset, info.byteLength)))),
    };
  }

  close(): void {
    for (const { file } of [...this.kept.values(), ...this.passing.values()]) this.backend.context.free(file.id);
    this.kept.clear();
    this.passing.clear();
  }

  /** A GPU would fetch all of a mapped file. */
  private canMap({ info }: FoundWeight): boolean {
    return !this.backend.onGpu && info.byteLength > 0 && TF_TYPES[info.dtype] !== undefined;
  }

  /** For types that TensorFlow's ops do not cast: as float32 from here on. */
  private async decode(weight: FoundWeight): Promise<tf.Tensor> {
    const { info, file } = weight;
    const values = decodeTensor(info.dtype, await file.source.read(info.offset, info.byteLength));
    return this.convert({ ...weight, info: { ...info, dtype: 'F32' } }, bytesOf(values));
  }

  private convert(weight: FoundWeight, bytes: Uint8Array): tf.Tensor {
    return this.backend.compute(scope => this.toWanted(scope, weight, scope.upload([bytes.length], TF.UINT8, bytes)));
  }

  /** Bytes of the file to what is wanted of them; what lies between is freed as it goes. */
  private toWanted(scope: Scope, { spec, info, layout }: FoundWeight, bytes: Metadata): Metadata {
    const axes = layout === 'tfjs' ? undefined : AXES[spec.layout];
    const shape = axes ? torchShape(spec).slice(0, axes.length) : spec.shape; // no axes of 1
    let x = bytes;
    const then = (next: Metadata) => {
      if (next !== x) scope.free(x);
      x = next;
    };
    then(scope.reshape(x, [...shape, elementSizes[info.dtype]]));
    then(scope.bitcast(x, TF_TYPES[info.dtype]!));
    if (axes) then(scope.transpose(x, axes));
    then(scope.cast(x, this.wanted));
    return x;
  }

  private mapping(source: ByteSource, { path, size }: FilePlace, mappings: Map<ByteSource, Mapping>): Mapping {
    const open = mappings.get(source);
    if (open && (mappings === this.kept || open.used < WINDOW)) return open;
    if (open) this.backend.context.free(open.file.id);
    const mapping = { file: Scope.run(this.backend.context, scope => scope.mapFile(path, size)), used: 0 };
    mappings.set(source, mapping);
    return mapping;
  }
}
