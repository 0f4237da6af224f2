import type * as tf from '@tensorflow/tfjs';
import { copyToHost } from '../../core/host_copy.js';
import type { StoredValue } from '../../core/stored_value.js';
import type { ByteSource, FilePlace } from '../../files/byte_source.js';
import { torchShape } from '../../weights/layouts.js';
import { decodeTensor, elementSizes, type Dtype } from '../../weights/safetensors.js';
import type { FoundWeight, ReadOptions, ReadWeight, WeightDtype, WeightReader } from '../../weights/weight_reader.js';
import { makeTensor, Ops, TF, type Binding, type NativeBackend } from './backend.js';
import { SeenFile } from './seen_file.js';

const TF_TYPES: Partial<Record<Dtype, number>> = { F64: TF.DOUBLE, F32: TF.FLOAT, F16: TF.HALF, BF16: TF.BFLOAT16 };
const WANTED: Record<WeightDtype, number> = { float32: TF.FLOAT, float16: TF.HALF, bfloat16: TF.BFLOAT16 };

/** Torch's axes in our order. */
const AXES = { plain: undefined, linear: [1, 0], conv: [2, 3, 1, 0] };

/** Pages of a mapped file count as the process's memory until it is unmapped: what is only converted is mapped anew after so many bytes. */
const WINDOW = 64 * 2 ** 20;

interface Mapping {
  readonly id: number;
  used: number;
}

/**
 * Reads weights by TensorFlow's ops, on all cores, and where it can without a copy: a local file is mapped, and a weight that has our layout
 * and the wanted type already, at a multiple of 64 bytes, stays a view of the file. Others are transposed and converted from the map.
 */
export class NativeWeightReader implements WeightReader {
  private readonly ops: Ops;
  private readonly wanted: number;
  /** By file: one mapping whose views stay, one that only passes through. */
  private readonly kept = new Map<ByteSource, Mapping>();
  private readonly passing = new Map<ByteSource, Mapping>();
  private readonly seen = new Map<ByteSource, SeenFile>();

  private readonly offload: boolean;

  constructor(private readonly backend: NativeBackend, { dtype, offload }: ReadOptions) {
    this.ops = new Ops(backend);
    this.offload = offload;
    this.wanted = WANTED[dtype];
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
    const { spec, file, info, layout } = weight;
    if (!TF_TYPES[info.dtype]) return this.decode(weight);
    const asIs = (layout === 'tfjs' || spec.layout === 'plain') && TF_TYPES[info.dtype] === this.wanted;
    return this.convert(weight, await this.bytes(file.source, info.offset, info.byteLength, asIs));
  }

  /** The file's place, mapped when it is read: what comes of it is a view of the map or, converted, a copy. */
  private inFile(weight: FoundWeight): StoredValue | undefined {
    const { file, info } = weight;
    const canMap = !this.binding.isUsingGpuDevice() && info.byteLength > 0 && TF_TYPES[info.dtype] !== undefined;
    const place = canMap ? file.source.locate?.(info.offset, info.byteLength) : undefined;
    if (!place) return undefined;
    const seen = this.seen.get(file.source) ?? new SeenFile(file.name, place.path);
    this.seen.set(file.source, seen);
    return {
      read: () => seen.open(path => this.ops.using(this.ops.mapFile(path, place.size), mapped =>
        this.convert(weight, this.ops.sliceBytes(mapped, place.offset, info.byteLength)))),
    };
  }

  /** Bytes of the file (taken over) to what is wanted of them. */
  private convert({ spec, info, layout }: FoundWeight, bytes: number): tf.Tensor {
    const stored = TF_TYPES[info.dtype]!;
    const axes = layout === 'tfjs' ? undefined : AXES[spec.layout];
    let id = bytes;
    const then = (next: (id: number) => number) => { id = this.ops.using(id, next); };
    const shape = axes ? torchShape(spec) : spec.shape;
    then(bytes => this.ops.reshape(bytes, TF.UINT8, [...shape, elementSizes[info.dtype]]));
    then(bytes => this.ops.bitcast(bytes, TF.UINT8, stored));
    if (axes) then(values => this.ops.transpose(values, stored, axes));
    if (stored !== this.wanted) then(values => this.ops.cast(values, stored, this.wanted));
    return makeTensor(this.backend, { id, shape: [...spec.shape], dtype: this.wanted });
  }

  /** For types that TensorFlow's ops do not cast: as float32 from here on. */
  private async decode(weight: FoundWeight): Promise<tf.Tensor> {
    const { info, file } = weight;
    const { buffer, byteOffset, byteLength } = decodeTensor(info.dtype, await file.source.read(info.offset, info.byteLength));
    const id = this.binding.createTensor([byteLength], TF.UINT8, new Uint8Array(buffer, byteOffset, byteLength));
    return this.convert({ ...weight, info: { ...info, dtype: 'F32' } }, id);
  }

  private get binding(): Binding {
    return this.backend.binding;
  }

  close(): void {
    for (const { id } of [...this.kept.values(), ...this.passing.values()]) this.binding.deleteTensor(id);
    this.kept.clear();
    this.passing.clear();
  }

  /** A tensor `[length]` of the file's bytes. A GPU would fetch all of a mapped file: there, and without a file, bytes are read. */
  private async bytes(source: ByteSource, offset: number, length: number, keep: boolean): Promise<number> {
    const { binding } = this;
    const place = binding.isUsingGpuDevice() || length === 0 ? undefined : source.locate?.(offset, length);
    if (!place) return binding.createTensor([length], TF.UINT8, await source.read(offset, length));
    const mapping = this.mapping(source, place, keep ? this.kept : this.passing);
    mapping.used += length;
    return this.ops.sliceBytes(mapping.id, place.offset, length);
  }

  private mapping(source: ByteSource, { path, size }: FilePlace, mappings: Map<ByteSource, Mapping>): Mapping {
    const open = mappings.get(source);
    if (open && (mappings === this.kept || open.used < WINDOW)) return open;
    if (open) this.binding.deleteTensor(open.id);
    const mapping = { id: this.ops.mapFile(path, size), used: 0 };
    mappings.set(source, mapping);
    return mapping;
  }
}
