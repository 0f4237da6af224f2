import type * as tf from '@tensorflow/tfjs';
import { torchShape } from '../../weights/layouts.js';
import type { FoundWeight } from '../../weights/load_weights.js';
import { elementSizes, type ByteSource, type Dtype, type FilePlace } from '../../weights/safetensors.js';
import type { WeightDtype, WeightReader } from '../../weights/weight_reader.js';
import { Ops, TF, type NativeBackend } from './backend.js';

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

  constructor(private readonly backend: NativeBackend, dtype: WeightDtype) {
    this.ops = new Ops(backend);
    this.wanted = WANTED[dtype];
  }

  async read({ spec, file, info, layout }: FoundWeight): Promise<tf.Tensor> {
    const stored = TF_TYPES[info.dtype]!;
    const axes = layout === 'tfjs' ? undefined : AXES[spec.layout];
    const asIs = axes === undefined && stored === this.wanted;
    let id = await this.bytes(file.source, info.offset, info.byteLength, asIs);
    const then = (next: (id: number) => number) => {
      const previous = id;
      try {
        id = next(previous);
      } finally {
        this.backend.binding.deleteTensor(previous);
      }
    };
    const shape = axes ? torchShape(spec) : spec.shape;
    then(bytes => this.ops.reshape(bytes, TF.UINT8, [...shape, elementSizes[info.dtype]]));
    then(bytes => this.ops.bitcast(bytes, TF.UINT8, stored));
    if (axes) then(values => this.ops.transpose(values, stored, axes));
    if (stored !== this.wanted) then(values => this.ops.cast(values, stored, this.wanted));
    return this.backend.createOutputTensor({ id, shape: [...spec.shape], dtype: this.wanted });
  }

  close(): void {
    for (const { id } of [...this.kept.values(), ...this.passing.values()]) this.backend.binding.deleteTensor(id);
    this.kept.clear();
    this.passing.clear();
  }

  /** A tensor `[length]` of the file's bytes. A GPU would fetch all of a mapped file: there, and without a file, bytes are read. */
  private async bytes(source: ByteSource, offset: number, length: number, keep: boolean): Promise<number> {
    const { binding } = this.backend;
    const place = binding.isUsingGpuDevice() || length === 0 ? undefined : source.locate?.(offset, length);
    if (!place) return binding.createTensor([length], TF.UINT8, await source.read(offset, length));
    const mapping = this.mapping(source, place, keep ? this.kept : this.passing);
    mapping.used += length;
    return this.ops.sliceBytes(mapping.id, place.offset, length);
  }

  private mapping(source: ByteSource, { path, size }: FilePlace, mappings: Map<ByteSource, Mapping>): Mapping {
    const open = mappings.get(source);
    if (open && (mappings === this.kept || open.used < WINDOW)) return open;
    if (open) this.backend.binding.deleteTensor(open.id);
    const mapping = { id: this.ops.mapFile(path, size), used: 0 };
    mappings.set(source, mapping);
    return mapping;
  }
}
