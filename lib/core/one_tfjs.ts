import * as tf from '@tensorflow/tfjs';

/** Any kernel that this copy registered: another copy puts its own in the place. */
const kernelOf = () => tf.getKernel('Add', 'cpu');
const ownKernel = kernelOf();
let warned = false;

/**
 * Says in one sentence, once, that a program has loaded @tensorflow/tfjs twice. The copies share one engine, which the first of them made,
 * and the last one's kernels.
 */
export function warnOfSecondTfjs(): void {
  if (warned || (tf.env() instanceof tf.Environment && kernelOf() === ownKernel)) return;
  warned = true;
  console.warn("tfjs-diffusers: this program has loaded two copies of @tensorflow/tfjs, which replace each other's kernels: " +
    "write import { tf } from 'tfjs-diffusers' in place of '@tensorflow/tfjs'; npm ls @tensorflow/tfjs shows who brings which");
}
