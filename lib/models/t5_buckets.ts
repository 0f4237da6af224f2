/**
 * For each pair of a query's position and a key's the bucket of how far the key is behind: `[tokens, tokens]` in a row. Near distances have
 * a bucket each, farther ones share one, the more the farther, and keys behind have others than those before.
 * Equals transformers' T5Attention._relative_position_bucket of an encoder, in whose float32 logarithms are rounded here too.
 */
export function relativePositionBuckets(tokens: number, buckets: number, maxDistance: number): Int32Array {
  const half = Math.floor(buckets / 2);
  const ofDistance = Int32Array.from({ length: tokens }, (_, distance) => distanceBucket(distance, half, maxDistance));
  const all = new Int32Array(tokens * tokens);
  for (let query = 0; query < tokens; query++) {
    for (let key = 0; key < tokens; key++) {
      all[query * tokens + key] = ofDistance[Math.abs(key - query)] + (key > query ? half : 0);
    }
  }
  return all;
}

function distanceBucket(distance: number, buckets: number, maxDistance: number): number {
  const exact = Math.floor(buckets / 2);
  if (distance < exact) return distance;
  const { fround } = Math;
  const logarithm = fround(Math.log(fround(distance / exact)));
  const step = fround(fround(logarithm / fround(Math.log(maxDistance / exact))) * (buckets - exact));
  return Math.min(buckets - 1, exact + Math.trunc(step));
}
