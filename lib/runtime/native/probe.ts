/** Run by verifyBuild: loads the build in the folder that its argument names, computes, and prints what it runs on, or what is wrong. */
import * as tf from '@tensorflow/tfjs';
import type { NativeKind } from './build_folder.js';
import { unusableLibrary, whyNoGpu } from './cuda/gpu_check.js';
import { nvidiaGpus } from './cuda/nvidia.js';
import { loadBuild, running } from './load.js';

const [folder, kind] = process.argv.slice(2) as [string, NativeKind];

async function probe(): Promise<object> {
  const unusable = kind === 'gpu' ? unusableLibrary(folder, name => console.error(`opening ${name}`)) : null;
  if (unusable !== null) return { error: unusable };
  loadBuild(folder, { memoryFraction: 0.9 }); // or it would not be seen to take one
  await tf.setBackend('tensorflow');
  const sum = tf.conv2d(tf.ones<tf.Rank.R4>([1, 8, 8, 4]), tf.ones<tf.Rank.R4>([3, 3, 4, 2]), 1, 'valid').sum().dataSync()[0];
  if (sum !== 6 * 6 * 36 * 2) return { error: `it computes ${sum} where ${6 * 6 * 36 * 2} is right` };
  if (running()!.device === 'cuda') return { gpu: true };
  const gpus = await nvidiaGpus();
  return { gpu: false, noGpu: kind === 'cpu' ? undefined : gpus.length === 0 ? 'nvidia-smi names no GPU' : whyNoGpu(folder, gpus) };
}

const answer = await probe().catch((error: Error) => ({ error: error.message.split('\n')[0] }));
console.log(JSON.stringify(answer));
