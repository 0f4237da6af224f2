import { formatBytes } from '../../core/format.js';
import type { Autoencoder } from '../../models/autoencoder.js';
import type { Device } from '../../runtime/devices.js';

/** What WebAssembly can address. */
const WASM_BYTES = 2 ** 32;

/**
 * @throws RangeError for pictures that cannot fit into memory, however it is saved: with what they would take at least. What a GPU has is
 *   not known here.
 */
export function checkMemory(
  vae: Autoencoder, { images, height, width }: { images: number; height: number; width: number }, device?: Device,
): void {
  const there = device === 'wasm' ? WASM_BYTES : device === 'cpu' ? hostBytes() : undefined;
  const needed = bytesOfDecoding(vae, images, height * width);
  if (there === undefined || needed <= there) return;
  const size = `${images > 1 ? `${images} pictures of ` : ''}${width} x ${height} pixels`;
  const tiling = vae.usesTiling ? '' : ', or enableVaeTiling()';
  throw new RangeError(`width, height: got ${size}, which take ${formatBytes(needed)} and more, and there are ${formatBytes(there)}; ` +
    `takes smaller ones${tiling}`);
}

/** The pictures themselves; and whole, not in tiles, the two widest states of the decoder at their size. */
function bytesOfDecoding(vae: Autoencoder, images: number, pixels: number): number {
  const pictures = 2 * images * pixels * 3 * Float32Array.BYTES_PER_ELEMENT;
  if (vae.usesTiling || !('block_out_channels' in vae.config)) return pictures;
  const [channels, wider = channels] = vae.config.block_out_channels;
  return pictures + (vae.usesSlicing ? 1 : images) * pixels * (channels + wider) * Float32Array.BYTES_PER_ELEMENT;
}

/** Of this machine, in Node. */
function hostBytes(): number | undefined {
  return globalThis.process?.getBuiltinModule?.('node:os').totalmem();
}
