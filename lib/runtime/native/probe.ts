/** Run by verifyBuild: loads the build in the folder that the argument names, computes, and prints what it runs on. */
import * as tf from '@tensorflow/tfjs';
import { loadBuild, running } from './load.js';

try {
  loadBuild(process.argv[2], { memoryFraction: 0.9 }); // or it would not be seen to take one
  await tf.setBackend('tensorflow');
  const sum = tf.conv2d(tf.ones<tf.Rank.R4>([1, 8, 8, 4]), tf.ones<tf.Rank.R4>([3, 3, 4, 2]), 1, 'valid').sum().dataSync()[0];
  if (sum !== 6 * 6 * 36 * 2) throw new Error(`it computes ${sum} where ${6 * 6 * 36 * 2} is right`);
  console.log(JSON.stringify({ gpu: running()!.device === 'cuda' }));
} catch (error) {
  console.error((error as Error).message.split('\n')[0]);
  process.exitCode = 1;
}
