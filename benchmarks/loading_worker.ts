/** Our side of loading.ts: `node loading_worker.js <unet folder> <dtype> <device>` loads it, runs it once, small, and prints what that took as JSON. */
import * as tf from '@tensorflow/tfjs';
import { readFile } from 'node:fs/promises';
import { UNet2DConditionModel, useDevice, type Device } from '../lib/index.js';

const [folder, dtype, device] = process.argv.slice(2) as [string, 'float32' | 'float16', Device];
/** GiB, of the process's whole life. */
const peak = async () => Number(/VmHWM:\s+(\d+)/.exec(await readFile('/proc/self/status', 'utf8'))![1]) / 2 ** 20;

await useDevice(device);
const started = performance.now();
const unet = await UNet2DConditionModel.fromPretrained(folder, { dtype });
const loaded = performance.now();
const peakLoaded = await peak();
await unet.forward(tf.zeros([1, 8, 8, 4]), 1, { encoderHiddenStates: tf.zeros([1, 77, 768]) }).data();
const ran = performance.now();
console.log(JSON.stringify({ load: (loaded - started) / 1000, firstOutput: (ran - started) / 1000, peakLoaded, peakRan: await peak() }));
