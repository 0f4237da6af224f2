import { unetKey } from './ldm_keys.js';
import { count, needed, type Shapes } from './shapes.js';
import { below, renamed, shapesOf, type Tensors } from './tensors.js';

/** A ControlNet of a single file, in the words of diffusers. */
export interface FoundControlNet {
  readonly config: Record<string, unknown>;
  readonly weights: Tensors;
}

/** Where the original files have it, beside the whole model that it is for or alone. */
const PREFIX = 'control_model.';
const LDM_KEY = 'input_hint_block.0.weight';
const DIFFUSERS_KEY = 'controlnet_cond_embedding.conv_in.weight';
/** What only a ControlNet-Union has. */
export const UNION_KEY = 'task_embedding';

/**
 * The ControlNet in a checkpoint, by the keys of its authors or by diffusers'; undefined if there is none. Its config is by its shapes;
 * what these do not tell, `global_pool_conditions` and the order of channels, is as diffusers' default has it.
 * @throws RangeError for one that says what to add to another model's weights, instead of weights.
 */
export function findControlNet(tensors: Tensors): FoundControlNet | undefined {
  if (tensors.has('lora_controlnet')) throw new RangeError('is a Control-LoRA, which changes the weights of a UNet, takes a ControlNet');
  const own = below(tensors, tensors.has(PREFIX + LDM_KEY) ? PREFIX : '');
  const isLdm = own.has(LDM_KEY);
  if (!isLdm && !own.has(DIFFUSERS_KEY)) return undefined;
  if (own.has('difference')) throw new RangeError("holds a ControlNet's difference to Stable Diffusion 1.5, takes a whole one");
  const weights = isLdm ? renamed(own, ldmNames(own)) : own;
  return { config: controlNetConfig(shapesOf(weights)), weights };
}

/** Diffusers' names of the authors', who number the layers of what the picture goes through two by two: activations lie between. */
function ldmNames(tensors: Tensors): (key: string) => string {
  let layers = 0;
  while (tensors.has(`input_blocks.${layers + 1}.0.in_layers.2.weight`)) layers++; // of the first level
  let hints = 0;
  while (tensors.has(`input_hint_block.${2 * (hints + 1)}.weight`)) hints++;
  return key => {
    const [, number, rest] = /^input_hint_block\.(\d+)\.(.*)$/.exec(key) ?? [];
    if (number !== undefined) {
      const layer = Number(number) / 2;
      const name = layer === 0 ? 'conv_in' : layer === hints ? 'conv_out' : `blocks.${layer - 1}`;
      return `controlnet_cond_embedding.${name}.${rest}`;
    }
    const zero = /^zero_convs\.(\d+)\.0\.(.*)$/.exec(key);
    if (zero) return `controlnet_down_blocks.${zero[1]}.${zero[2]}`;
    return key.startsWith('middle_block_out.0.') ? key.replace('middle_block_out.0.', 'controlnet_mid_block.') : unetKey(key, layers);
  };
}

/** @throws RangeError for what is no ControlNet of Stable Diffusion. */
function controlNetConfig(shapes: Shapes): Record<string, unknown> {
  const need = needed('ControlNet', shapes);
  const levels = count(level => shapes(`down_blocks.${level}.resnets.0.conv1.weight`));
  if (levels === 0) throw new RangeError('ControlNet: has no blocks, takes one for Stable Diffusion');
  const down = Array.from({ length: levels }, (_, level) => `down_blocks.${level}`);
  const channels = down.map(block => need(`${block}.resnets.0.conv1.weight`)[0]);
  const attends = (block: string) => shapes(`${block}.attentions.0.proj_in.weight`) !== undefined;
  const depth = (block: string) => count(i => shapes(`${block}.attentions.0.transformer_blocks.${i}.attn2.to_k.weight`));
  const depths = down.map((block, i) => { // the last one is the middle's too
    const own = [block, ...i === levels - 1 ? ['mid_block'] : []].find(attends);
    return own === undefined ? 1 : depth(own);
  });
  const [first] = [...down, 'mid_block'].filter(attends);
  const [read] = [...down, 'mid_block'].filter(block => depth(block) > 0);
  const added = shapes('add_embedding.linear_1.weight');
  const isLinear = first === undefined ? added !== undefined : need(`${first}.attentions.0.proj_in.weight`).length === 2;
  const [embedded, conditioningChannels] = need(DIFFUSERS_KEY);
  const halvings = count(i => shapes(`controlnet_cond_embedding.blocks.${2 * i + 1}.weight`));
  return {
    ...kindOf(shapes),
    in_channels: need('conv_in.weight')[1],
    conditioning_channels: conditioningChannels,
    conditioning_embedding_out_channels: [embedded, ...Array.from({ length: halvings }, (_, i) =>
      need(`controlnet_cond_embedding.blocks.${2 * i + 1}.weight`)[0])],
    down_block_types: down.map(block => attends(block) ? 'CrossAttnDownBlock2D' : 'DownBlock2D'),
    mid_block_type: attends('mid_block') ? 'UNetMidBlock2DCrossAttn' : 'UNetMidBlock2D',
    block_out_channels: channels,
    layers_per_block: count(i => shapes(`down_blocks.0.resnets.${i}.conv1.weight`)),
    cross_attention_dim: read === undefined
      ? added ? 2048 : 768 // of a text that nothing looks at
      : need(`${read}.attentions.0.transformer_blocks.0.attn2.to_k.weight`)[1],
    // Heads, by diffusers' old name: 64 features each since SD2.
    attention_head_dim: isLinear ? channels.map(features => features / 64) : 8,
    use_linear_projection: isLinear,
    transformer_layers_per_block: new Set(depths).size === 1 ? depths[0] : depths,
    ...added && { addition_embed_type: 'text_time', addition_time_embed_dim: 256, projection_class_embeddings_input_dim: added[1] },
  };
}

/** The class, and what only one of several modes has in its config. How many heads it attends with, no shape tells. */
function kindOf(shapes: Shapes): Record<string, unknown> {
  const tasks = shapes(UNION_KEY);
  if (!tasks) return { _class_name: 'ControlNetModel' };
  const [modes, features] = tasks;
  return {
    _class_name: 'ControlNetUnionModel', num_control_type: modes, num_trans_channel: features, num_proj_channel: features,
    num_trans_layer: count(i => shapes(`transformer_layes.${i}.ln_1.weight`)),
  };
}
