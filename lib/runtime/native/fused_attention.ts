import { flag, isHalf, shape, text, TF, type } from './binding.js';
import type { GraphDef } from './graph_def.js';

/** Attention as it was recorded: names of tensors of the graph, and their sizes. */
export interface RecordedAttention {
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly result: string;
  /** In which the result lies. */
  readonly resultShape: readonly number[];
  readonly dtype: number;
  readonly batch: number;
  readonly queries: number;
  readonly keys: number;
  readonly heads: number;
  readonly headSize: number;
}

/** Sizes of a head that cuDNN's kernel has. */
const fits = ({ dtype, headSize }: RecordedAttention) => isHalf(dtype) && headSize % 8 === 0 && headSize <= 128;

/**
 * Adds to a graph, where it can, nodes for its attention by cuDNN's fused kernel, which keeps no scores in memory (arXiv:2205.14135).
 * Returns them by the nodes that they stand for. Only XLA can run them, on GPUs of compute capability 8.0 and newer.
 */
export function fuseAttention(graph: GraphDef, attentions: readonly RecordedAttention[]): Map<string, string> {
  return new Map(attentions.filter(fits).map((attention, i) => {
    const { query, key, value, result, resultShape, dtype, batch, queries, keys, heads, headSize } = attention;
    const name = (part: string) => `fused_${i}_${part}`;
    const reshape = (part: string, x: string, to: readonly number[]) =>
      graph.add(name(part), 'Reshape', [x, graph.ints(name(`${part}_shape`), to)], [type('T', dtype), type('Tshape', TF.INT32)]);
    const swap = (part: string, x: string) =>
      graph.add(name(part), 'Transpose', [x, graph.ints(name(`${part}_axes`), [0, 2, 1, 3])], [type('T', dtype), type('Tperm', TF.INT32)]);
    const split = (part: string, x: string, tokens: number) => swap(`${part}_heads`, reshape(part, x, [batch, tokens, heads, headSize]));
    const inputs = [split('query', query, queries), split('key', key, keys), split('value', value, keys)];
    const call = graph.add(name('call'), 'XlaCustomCallV2', inputs, [
      text('call_target_name', '__cudnn$fmhaSoftmax'), text('backend_config', JSON.stringify(config(attention))),
      flag('has_side_effect', false), type('operand_dtypes', [dtype, dtype, dtype]), type('result_dtypes', [dtype, TF.UINT8]),
      shape('result_shapes', [[batch, heads, queries, headSize], [0]]), // the second is room for cuDNN, which XLA gives it
    ]);
    return [result, reshape('result', swap('result_tokens', call), resultShape)];
  }));
}

/** XLA's CudnnfMHABackendConfig (xla/service/gpu/backend_configs.proto), as JSON: numbers of 64 bits are texts there. */
function config({ dtype, batch, queries, keys, heads, headSize }: RecordedAttention): object {
  const product = (contracted: [number, number]) => ({
    lhs_contracting_dimensions: [`${contracted[0]}`], rhs_contracting_dimensions: [`${contracted[1]}`],
    lhs_batch_dimensions: ['0', '1'], rhs_batch_dimensions: ['0', '1'],
  });
  return {
    operation_queue_id: '0',
    wait_on_operation_queues: [],
    cudnn_fmha_backend_config: {
      algorithm: {
        algo_id: '0', math_type: 'TENSOR_OP_MATH', tuning_knobs: { 17: '1', 24: '0' }, is_cudnn_frontend: true, workspace_size: '0',
      },
      fmha_scale: headSize ** -0.5,
      dropout_rate: 0,
      seed: 42,
      sliding_window_length: 0,
      max_seg_per_batch: 1,
      is_paged_attention: false,
      is_flash_attention: true,
      mask_type: 'NO_MASK',
      intermediate_tensor_shape: {
        element_type: dtype === TF.HALF ? 'F16' : 'BF16',
        dimensions: [batch, heads, queries, keys].map(String),
        tuple_shapes: [],
        layout: {
          dim_level_types: [], dim_unique: [], dim_ordered: [], minor_to_major: ['3', '2', '1', '0'], tiles: [],
          element_size_in_bits: '0', memory_space: '0',
          index_primitive_type: 'PRIMITIVE_TYPE_INVALID', pointer_primitive_type: 'PRIMITIVE_TYPE_INVALID',
          dynamic_shape_metadata_prefix_bytes: '0',
        },
        is_dynamic_dimension: [false, false, false, false],
      },
      bmm1_dot_dimension_numbers: product([3, 3]),
      bmm2_dot_dimension_numbers: product([3, 2]),
    },
  };
}
