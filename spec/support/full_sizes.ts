import * as tf from '@tensorflow/tfjs';
import type { Block } from '../../lib/core/block.js';
import { PackedTensor } from '../../lib/core/packed_tensor.js';
import { matrixOf } from '../../lib/core/quantized.js';
import { StoredQuantized } from '../../lib/core/stored_quantized.js';
import { AutoencoderKL } from '../../lib/models/autoencoder_kl.js';
import { CLIPTextModel } from '../../lib/models/clip_text_model.js';
import { UNet2DConditionModel } from '../../lib/models/unet_2d_condition_model.js';
import { groupSizeOf, isQuantizable } from '../../weights-converter/quantize.js';

/** The networks of Stable Diffusion 1.5 and of SDXL, by their configs, without weights. */
export const FULL_SIZES = {
  unet: () => new UNet2DConditionModel({
    sample_size: 64, block_out_channels: [320, 640, 1280, 1280], layers_per_block: 2, cross_attention_dim: 768, attention_head_dim: 8,
    down_block_types: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
    up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
  }),
  xlUnet: () => new UNet2DConditionModel({
    sample_size: 128, block_out_channels: [320, 640, 1280], layers_per_block: 2, cross_attention_dim: 2048, attention_head_dim: [5, 10, 20],
    transformer_layers_per_block: [1, 2, 10],
    addition_embed_type: 'text_time', addition_time_embed_dim: 256, projection_class_embeddings_input_dim: 2816,
    down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'],
    up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'],
  }),
  vae: () => new AutoencoderKL({
    block_out_channels: [128, 256, 512, 512], layers_per_block: 2, sample_size: 512,
    down_block_types: Array<string>(4).fill('DownEncoderBlock2D'), up_block_types: Array<string>(4).fill('UpDecoderBlock2D'),
  }),
  textEncoder: () => new CLIPTextModel({ hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12, num_attention_heads: 12 }),
};

/**
 * Gives every parameter a value that is made on the device whenever it is needed, which takes neither host memory nor time; tokens' table
 * alone comes from host memory, as from a file.
 */
export function storeOnDevice(network: Block): void {
  for (const [path, { shape }] of network.parameterSpecs()) {
    const onHost = path.endsWith('token_embedding.weight');
    network.storeParameter(path, { read: () => onHost ? tf.zeros([...shape]) : tf.fill([...shape], 0.01) });
  }
}

/** As `storeOnDevice`; but matrices and kernels lie packed as float16, as with `dtype: 'float16'`. */
export function storeInHalves(network: Block): void {
  storeOnDevice(network);
  for (const [path, { shape, layout }] of network.parameterSpecs()) {
    if (layout === 'plain') continue;
    const words = Math.ceil(tf.util.sizeFromShape([...shape]) / 2);
    network.storeParameter(path, {
      read: () => tf.fill([...shape], 0.01), pack: () => new PackedTensor('float16', 'float16', shape, tf.fill([words], 0, 'int32')),
    });
  }
}

/** Gives every parameter that the converter would quantize numbers of 4 bits, zeros all of them, and the others values as `storeOnDevice`. */
export function storeInFourBits(network: Block): void {
  storeOnDevice(network);
  for (const [path, spec] of network.parameterSpecs()) {
    const { shape } = spec;
    if (!isQuantizable(spec, 4)) continue;
    const { depth, columns } = matrixOf(shape);
    const groupSize = groupSizeOf(4, shape);
    const [values, scales] = [new Uint8Array(depth * columns / 2), new Float32Array(Math.ceil(depth / groupSize) * columns)];
    network.storeParameter(path, new StoredQuantized({ bits: 4, shape, groupSize, values, scales, halfScales: true }, 'float32'));
  }
}
