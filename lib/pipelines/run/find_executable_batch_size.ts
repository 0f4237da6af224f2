import { checkInteger } from '../../core/checks.js';
import { isOutOfMemory, OutOfMemoryError } from './out_of_memory.js';

/**
 * Calls `work` with a batch size, and halves it until the memory suffices.
 * Equals accelerate's find_executable_batch_size.
 * @throws OutOfMemoryError if not even a batch of 1 fits; any other error of `work` as it is.
 */
export async function findExecutableBatchSize<T>(
  work: (batchSize: number) => T | Promise<T>, { startingBatchSize = 128 }: { startingBatchSize?: number } = {},
): Promise<T> {
  checkInteger('startingBatchSize', startingBatchSize, 1, 2 ** 16);
  for (let batchSize = startingBatchSize; ; batchSize >>= 1) {
    try {
      return await work(batchSize);
    } catch (error) {
      if (!isOutOfMemory(error)) throw error;
      if (batchSize === 1) {
        throw new OutOfMemoryError(`findExecutableBatchSize: not even a batch of 1 fits: ${(error as Error).message}`, { cause: error });
      }
    }
  }
}
