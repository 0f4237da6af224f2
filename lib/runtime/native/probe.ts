/** Run by verifyBuild: loads the build in the folder named by the argument, computes, and prints what it runs on. */
import * as tf from '@tensorflow/tfjs';
import { loadBuild, running } from './load.js';

loadBuild(process.argv[2]);
await tf.setBackend('tensorflow');
const sum = tf.conv2d(tf.ones<tf.Rank.R4>([1, 8, 8, 4]), tf.ones<tf.Rank.R4>([3, 3, 4, 2]), 1, 'valid').sum().dataSync()[0];
if (sum !== 6 * 6 * 36 * 2) throw new Error(`error: computed ${sum}, not ${6 * 6 * 36 * 2}`);
console.log(JSON.stringify({ gpu: running()!.device === 'cuda' }));
