import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { scalesOfNetworks } from '../../lib/adapters/lora_scale.js';
import { parseLora, type LoraChange, type LoraWeights } from '../../lib/adapters/lora_weights.js';
import type { ParameterSpec } from '../../lib/core/parameter.js';
import type { StateDict, StoredTensor } from '../../lib/loading/state_dict.js';
import { readSafetensors } from '../../lib/weights/safetensors.js';
import { describeOnDevices } from '../support/backends.js';
import { expectClose } from '../support/close.js';
import { loadGolden } from '../support/golden.js';

/** See spec/golden/parts/sd3_files.py. */
const { tensors: golden, meta } = loadGolden('lora/sd3_out');
const shapes = meta.shapes as Record<string, number[]>;

/** Of a transformer whose weights torch has in these shapes. */
const transformer = new Map(Object.entries(shapes).map(([path, shape]): [string, ParameterSpec] => [path, shape.length === 2
  ? { shape: [shape[1], shape[0]], layout: 'linear' }
  : shape.length === 4 ? { shape: [shape[2], shape[3], shape[1], shape[0]], layout: 'conv' } : { shape, layout: 'plain' }]));

const KOHYA = /^lora_unet_(.*?)(\.lora_down\.weight|\.lora_up\.weight|\.alpha|\.dora_scale)$/;
const names = new Map((meta.names as string[]).map(name => [name.replaceAll('.', '_'), name]));

function kohya(): StateDict {
  const file = readSafetensors(gunzipSync(readFileSync('spec/golden/lora/sd3_kohya.safetensors.gz')));
  const entries = Object.entries(file.tensors).map(([key, { shape, data }]): [string, StoredTensor] => [key, { shape, data: Float32Array.from(data) }]);
  return { name: 'style.safetensors', metadata: {}, tensors: new Map(entries) };
}

/** The same under other keys; undefined leaves one out. */
function renamed(rename: (module: string, part: string) => string | undefined): StateDict {
  const tensors = [...kohya().tensors].flatMap(([key, tensor]): Array<[string, StoredTensor]> => {
    const [, module, part] = KOHYA.exec(key)!;
    const name = rename(names.get(module)!, part);
    return name === undefined ? [] : [[name, tensor]];
  });
  return { name: 'style.safetensors', metadata: {}, tensors: new Map(tensors) };
}

/** What a change adds to each output, of inputs that are the cosines of their numbers. */
function added({ delta, scale }: LoraChange): tf.Tensor1D {
  return tf.tidy(() => {
    const matrix = tf.mul(delta(), scale) as tf.Tensor2D;
    const vector = tf.tensor2d(Float32Array.from({ length: matrix.shape[0] }, (_, i) => Math.cos(i)), [1, matrix.shape[0]]);
    return tf.reshape(tf.matMul(vector, matrix), [-1]);
  });
}

function expectGolden(found: LoraWeights, factor = 1): void {
  const weights = Object.keys(golden).filter(key => key.endsWith('.weight'));
  assert.deepEqual([...found.keys()].sort(), weights.sort());
  for (const [path, change] of found) {
    const [value, expected] = [added(change), { ...golden[path], data: Float32Array.from(golden[path].data, each => each * factor) }];
    expectClose(value, expected, { atol: 1e-4, rtol: 1e-4 });
    value.dispose();
  }
}

const zeros = (...shape: number[]): StoredTensor => ({ shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) });
const file = (tensors: Record<string, StoredTensor>): StateDict => ({ name: 'style.safetensors', metadata: {}, tensors: new Map(Object.entries(tensors)) });

describeOnDevices('LoRAs of SD3', () => {
  it('in kohya\'s names change what the merged weights are in diffusers\' layout, with what DoRA says of lengths', () => {
    const { transformer: found, unet } = parseLora(kohya(), { transformer });
    expectGolden(found);
    assert.equal(unet.size, 0);
    for (const [path, { magnitude }] of found) {
      const lengths = magnitude!();
      expectClose(lengths.reshape([-1]), golden[path.replace(/weight$/, 'bias')]);
      tf.dispose(lengths);
    }
  });

  it('in ComfyUI\'s names are the same, without alpha', () => {
    const ends: Record<string, string> = { '.lora_down.weight': '.lora_A.weight', '.lora_up.weight': '.lora_B.weight' };
    for (const prefix of ['diffusion_model.', 'transformer.', 'base_model.model.', '']) {
      const dotted = renamed((module, part) => ends[part] && `${prefix}${module}${ends[part]}`);
      expectGolden(parseLora(dotted, { transformer }).transformer, 1 / 1.5); // alpha is 3 there, the rank 2
    }
  });
});

describe('Keys of LoRAs of SD3', () => {
  const linear = [...transformer].filter(([path, { layout }]) => layout === 'linear' && path.endsWith('.weight')).map(([path]) => path.slice(0, -'.weight'.length));
  const lora = (name: (path: string) => string, [down, up] = ['.lora_A.weight', '.lora_B.weight']) => file(Object.fromEntries(linear.flatMap(path => {
    const [inputs, outputs] = transformer.get(`${path}.weight`)!.shape;
    return [[name(path) + down, zeros(4, inputs)], [name(path) + up, zeros(outputs, 4)]];
  })));

  it('in diffusers\', peft\'s, kohya\'s, OneTrainer\'s and LyCORIS\' names lead to the module', () => {
    const flat = ['.lora_down.weight', '.lora_up.weight'] as [string, string];
    const files = [
      lora(path => `transformer.${path}`), lora(path => `base_model.model.${path}`), lora(path => path), lora(path => `transformer.${path}`, ['.lora.down.weight', '.lora.up.weight']),
      lora(path => `lora_unet_${path.replaceAll('.', '_')}`, flat), lora(path => `lora_transformer_${path.replaceAll('.', '_')}`, flat),
      lora(path => `lycoris_${path.replaceAll('.', '_')}`, flat),
    ];
    for (const each of files) {
      const { transformer: found } = parseLora(each, { transformer });
      assert.deepEqual([...found.keys()], linear.map(path => `${path}.weight`));
    }
  });

  it('take alpha and rank from the metadata under the network\'s name', () => {
    const settings = { 'transformer.r': 4, 'transformer.lora_alpha': 6, 'transformer.alpha_pattern': { 'attn.to_q': 2 } };
    const { transformer: found } = parseLora({ ...lora(path => `transformer.${path}`), metadata: { lora_adapter_metadata: JSON.stringify(settings) } }, { transformer });
    assert.equal(found.get('proj_out.weight')!.scale, 1.5);
    assert.equal(found.get('transformer_blocks.1.attn.to_q.weight')!.scale, 0.5);
  });

  it('leave T5 out, and say so', () => {
    const warnings: string[] = [];
    const { warn } = console;
    console.warn = (line: string) => void warnings.push(line);
    try {
      const both = new Map([...lora(path => `transformer.${path}`).tensors, ['lora_te3_encoder_block_0_layer_0_SelfAttention_q.alpha', zeros()] as const]);
      parseLora({ ...file({}), tensors: both }, { transformer });
    } finally {
      console.warn = warn;
    }
    assert.deepEqual(warnings, ['style.safetensors: leaves out 1 tensors for a third text encoder, which stays as it is']);
  });

  const kron = renamed((module, part) => module.includes('x_block.attn.qkv') && part.includes('up') ? `lora_unet_${module.replaceAll('.', '_')}.lokr_w1` : undefined);
  const unet = new Map([['down_blocks.0.attentions.0.proj_in.weight', { shape: [1, 1], layout: 'linear' } as const]]);
  const refuses: Array<[string, StateDict, object, RegExp]> = [
    ['rows that cannot be parted', file({ 'lora_unet_joint_blocks_0_x_block_attn_qkv.lora_up.weight': zeros(100, 2) }), { transformer },
      /lora_unet_joint_blocks_0_x_block_attn_qkv\.lora_up\.weight has the shape \[100, 2\], takes rows in 3 equal parts/],
    ['what no rows can be taken of', kron, { transformer }, /attn_qkv\.lokr_w1 is of several modules in one, takes a LoRA or LoHa of those/],
    ['a block that is not there', file({ 'lora_unet_joint_blocks_7_x_block_attn_qkv.lora_up.weight': zeros(192, 2) }), { transformer }, /unexpected lora_unet_joint_blocks_7/],
    ['a LoRA for a UNet', file({ 'unet.down_blocks.0.attentions.0.proj_in.lora_A.weight': zeros(1, 1) }), { transformer }, /it is for a UNet, this model has a transformer; unexpected/],
    ['one for a transformer, of a UNet', lora(path => `transformer.${path}`), { unet }, /it is for a transformer, as SD3 has, this model has a UNet; unexpected/],
    ['a module twice', file({ 'transformer.transformer_blocks.0.attn.to_q.lora_A.weight': zeros(1, 64), 'lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight': zeros(1, 64) }),
      { transformer }, /transformer_blocks\.0\.attn\.to_q has two of down/],
  ];
  for (const [title, state, specs, message] of refuses) {
    it(`refuse ${title}`, () => {
      assert.throws(() => parseLora(state, specs), message);
    });
  }

  it('have a scale of their own', () => {
    const scales = scalesOfNetworks('scale', { transformer: 0.5, textEncoder2: 2 }, [], ['transformer', 'textEncoder2']);
    assert.deepEqual([scales.transformer('proj_out.weight'), scales.text_encoder('x'), scales.text_encoder_2('x')], [0.5, 1, 2]);
    assert.equal(scalesOfNetworks('scale', 0.3, [], []).transformer('proj_out.weight'), 0.3);
    assert.throws(() => scalesOfNetworks('scale', { unet: 1 }, [], ['transformer']), /got the key 'unet', takes 'transformer'/);
  });
});
