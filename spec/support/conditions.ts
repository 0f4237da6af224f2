import type * as tf from '@tensorflow/tfjs';
import type { AddedConditions } from '../../lib/models/unet_down_path.js';
import type { Values } from './close.js';
import type { Golden } from './golden.js';
import { goldenTensor } from './weights.js';

/** What a golden UNet is led by besides the text. Classes are numbers, or vectors of floats. */
export function conditionsOf(golden: Golden, run: number): { classLabels?: number[] | tf.Tensor; timestepCond?: tf.Tensor; addedCondKwargs?: AddedConditions } {
  const [labels, condition, text, numbers] = ['class_labels', 'timestep_cond', 'text_embeds', 'time_ids'].map(name => `${run}/${name}`);
  const classes = golden.tensors[labels];
  const rows = golden.tensors[numbers];
  return {
    ...(classes && { classLabels: classes.data instanceof Float32Array ? goldenTensor(golden, labels) : Array.from(classes.data, Number) }),
    ...(golden.tensors[condition] && { timestepCond: goldenTensor(golden, condition) }),
    ...(rows && { addedCondKwargs: { textEmbeds: goldenTensor(golden, text), timeIds: rowsOf(rows) } }),
  };
}

function rowsOf({ data, shape: [rows, columns] }: Values): number[][] {
  return Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (_, i) => data[row * columns + i]));
}
