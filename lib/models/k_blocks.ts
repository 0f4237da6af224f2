import * as tf from '@tensorflow/tfjs';
import { Block } from '../core/block.js';
import { follow, type Step } from '../core/sequence.js';
import type { Activation } from '../layers/activations.js';
import { KAttentionBlock } from '../layers/k_attention_block.js';
import { blurDouble, blurHalve } from '../layers/k_resample.js';
import { ResnetBlockCondNorm2D } from '../layers/resnet_block_cond_norm_2d.js';
import { joinStates, type BlockConditions } from './unet_2d_blocks.js';

/** Channels of a group of the norms, as diffusers has it whatever a config says. */
const GROUP_SIZE = 32;

/** What all layers of one block share. */
export interface KBlockConfig {
  /** Resnets, each followed by attention to the text where there is any. */
  layers: number;
  inChannels: number;
  outChannels: number;
  tembChannels: number;
  epsilon: number;
  activation: Activation;
  attention?: KAttention;
}

/** How a block attends to the text. */
export interface KAttention {
  readonly headDim: number;
  readonly crossAttentionDim: number;
}

/** A resnet, and what follows it. */
interface Layer {
  readonly resnet: ResnetBlockCondNorm2D;
  readonly attention?: KAttentionBlock;
}

const stepsOf = ({ resnet, attention }: Layer, { temb, encoderHiddenStates }: BlockConditions): Step[] => [
  state => resnet.forward(state, temb),
  ...attention ? [(state: tf.Tensor) => attention.forward(state, temb, encoderHiddenStates)] : [],
];

const groupsOf = (channels: number) => Math.floor(channels / GROUP_SIZE);

/**
 * Resnets that the time embedding scales and shifts, each followed by attention to the text if there is any, then a halving that blurs.
 * The innermost, which does not halve, attends to the image itself too.
 * - Weights below `resnets.N`, `attentions.N`.
 * Equals diffusers' KDownBlock2D and KCrossAttnDownBlock2D.
 */
export class KDownBlock2D extends Block {
  static className = 'KDownBlock2D';
  private readonly layers: readonly Layer[];
  private readonly innermost: boolean;

  constructor(config: KBlockConfig & { innermost: boolean }) {
    super();
    const { layers, inChannels, outChannels, attention, innermost } = config;
    this.innermost = innermost;
    const resnets = this.addList('resnets', layers, i => {
      const channels = i === 0 ? inChannels : outChannels;
      return new ResnetBlockCondNorm2D({ ...config, inChannels: channels, groups: [groupsOf(channels), groupsOf(outChannels)] });
    });
    const shared = { ...config, channels: outChannels, groupSize: GROUP_SIZE, selfAttention: innermost };
    const attentions = attention && this.addList('attentions', layers, () => new KAttentionBlock({ ...shared, ...attention }));
    this.layers = resnets.map((resnet, i) => ({ resnet, attention: attentions?.[i] }));
  }

  /** The state that the way up joins, and its half, which is the block's result; of the innermost its result alone. */
  compute(x: tf.Tensor, conditions: BlockConditions): tf.Tensor[] {
    const state = follow(x, this.layers.flatMap(layer => stepsOf(layer, conditions)));
    return this.innermost ? [state] : [state, blurHalve(state)];
  }
}

export interface KUpBlockConfig extends KBlockConfig {
  innermost: boolean;
  outermost: boolean;
  /** Whether it goes on from the way down's last state, as it attends to the image itself too, instead of joining that. */
  goesOn: boolean;
}

/**
 * Resnets that the time embedding scales and shifts, each followed by attention to the text if there is any, then a doubling that blurs but
 * for the outermost. The first resnet joins the state of the way down.
 * - Weights below `resnets.N`, `attentions.N`.
 * Equals diffusers' KUpBlock2D and KCrossAttnUpBlock2D.
 */
export class KUpBlock2D extends Block {
  static className = 'KUpBlock2D';
  /** How many states of the way down it joins, as other blocks count them. */
  readonly joins = 1;
  private readonly layers: readonly Layer[];
  private readonly place: Pick<KUpBlockConfig, 'innermost' | 'outermost' | 'goesOn'>;

  /** @param config `inChannels` of the state that it takes, and of each that it joins; `outChannels` of what the next block takes. */
  constructor(config: KUpBlockConfig) {
    super();
    const { layers, inChannels: channels, attention, innermost, outermost, goesOn } = config;
    this.place = { innermost, outermost, goesOn };
    const outOf = (layer: number) => layer === layers - 1 ? config.outChannels : channels;
    const resnets = this.addList('resnets', layers, i => {
      const inChannels = i === 0 && !goesOn ? 2 * channels : channels;
      return new ResnetBlockCondNorm2D({
        ...config, inChannels, outChannels: outOf(i), midChannels: attention ? channels : outOf(i),
        groups: [groupsOf(inChannels), groupsOf(channels)],
      });
    });
    const shared = { ...config, groupSize: GROUP_SIZE, selfAttention: goesOn };
    const attentions = attention && this.addList('attentions', layers,
      i => new KAttentionBlock({ ...shared, ...attention, channels: outOf(i) }));
    this.layers = resnets.map((resnet, i) => ({ resnet, attention: attentions?.[i] }));
  }

  /** Takes what its block on the way down gave off the end of `skips`; that and `x` are taken over. */
  compute(x: tf.Tensor, skips: tf.Tensor[], conditions: BlockConditions): tf.Tensor {
    const { innermost, outermost, goesOn } = this.place;
    if (goesOn || !innermost) skips.pop()!.dispose(); // that block's result, which is where x comes from
    const steps = this.layers.flatMap(layer => stepsOf(layer, conditions));
    const joined: Step[] = goesOn ? steps : [state => joinStates(state, skips.pop()!), ...steps];
    return follow(x, outermost ? joined : [...joined, blurDouble]);
  }
}
