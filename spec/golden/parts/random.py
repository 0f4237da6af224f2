"""Random streams: the CPU's from torch itself; the GPU's from a NumPy model of torch's kernel, so that no GPU is needed."""
import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor

from generate import channels_last, save

SEEDS = [0, 1, 42, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**53 - 1, 2**63 + 12345, 2**64 - 1, -1, -(2**63)]
SIZES = [0, 1, 2, 5, 15, 16, 17, 31, 32, 100]
MIXED = [3, 20, 1, 4, 16, 7, 33, 2, 1, 1]  # one stream: odd sizes below 16 leave a value over for the next call
HALVES, HALF_SIZES = ["float16", "bfloat16"], [15, 17, 31, 65, 4 * 9 * 11, 32]
LARGE, STRIDE = 1_000_003, 997


def generator(seed):
    return torch.Generator().manual_seed(seed)


def thinned(values):
    """Every 997th value, and the last 40."""
    return np.concatenate([values[::STRIDE], values[-40:]])


class Cuda:
    """torch.randn on a GPU: aten/src/ATen/native/cuda/DistributionTemplates.h with cuRAND's Philox4x32-10 and Box-Muller."""

    def __init__(self, seed, threads=108 * 2048):
        self.key, self.offset, self.max_threads = (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF), 0, threads

    def words(self, offset, threads):
        low = np.uint64(0xFFFFFFFF)
        thread = np.arange(threads, dtype=np.uint64)
        c = [np.full_like(thread, offset & 0xFFFFFFFF), np.full_like(thread, offset >> 32), thread, np.zeros_like(thread)]
        key0, key1 = self.key
        for _ in range(10):
            p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
            c = [p1 >> np.uint64(32) ^ c[1] ^ np.uint64(key0), p1 & low, p0 >> np.uint64(32) ^ c[3] ^ np.uint64(key1), p0 & low]
            key0, key1 = key0 + 0x9E3779B9 & 0xFFFFFFFF, key1 + 0xBB67AE85 & 0xFFFFFFFF
        return c

    @staticmethod
    def uniform(words, scale):
        step = np.float64(np.float32(scale / 2**32))
        return (words.astype(np.float32) * step + step / 2).astype(np.float32)  # one rounding: the GPU's fused multiply-add

    def randn(self, count):
        threads = min(-(-count // 256) * 256, self.max_threads)
        rows = []
        for _ in range(-(-count // (4 * threads))):
            for x, y in (lambda w: [(w[0], w[1]), (w[2], w[3])])(self.words(self.offset, threads)):
                u, v = self.uniform(x, 1), self.uniform(y, 2 * np.pi)
                radius = np.sqrt(np.float32(-2) * np.log(u))
                rows += [radius * np.sin(v), radius * np.cos(v)]
            self.offset += 1
        return np.concatenate(rows)[:count]


def generate():
    cpu, cuda = {}, {}
    for seed in SEEDS:
        cpu[f"uniform.{seed}"] = torch.rand(64, generator=generator(seed))
        for size in SIZES:
            cpu[f"{seed}.{size}"] = torch.randn(size, generator=generator(seed))
        for size in [12, 300]:
            cuda[f"{seed}.{size}"] = Cuda(seed).randn(size)
    for name, streams, stream in [("cpu", cpu, generator(7)), ("cuda", cuda, Cuda(7))]:
        draw = (lambda n: torch.randn(n, generator=stream).numpy()) if name == "cpu" else stream.randn
        streams["mixed"] = np.concatenate([draw(n) for n in MIXED])
        streams["large"] = thinned(draw(LARGE))
        streams["after_large"] = draw(20)
    shape = (3, 4, 5, 7)
    cpu["image"] = channels_last(torch.randn(shape, generator=generator(3)))
    cpu["images"] = channels_last(randn_tensor(shape, [generator(s) for s in (5, 6, 7)]))
    cpu["matrix"] = torch.randn(5, 7, generator=generator(3))
    for dtype in HALVES:  # one stream each, so that how far each call goes on shows
        stream = generator(7)
        cpu[f"mixed.{dtype}"] = torch.cat([torch.randn(n, generator=stream, dtype=getattr(torch, dtype)).float() for n in MIXED + HALF_SIZES])
        cpu[f"images.{dtype}"] = channels_last(randn_tensor(shape, [generator(s) for s in (5, 6, 7)], dtype=getattr(torch, dtype)).float())
    save("random/cpu", cpu, {"seeds": [str(s) for s in SEEDS], "sizes": SIZES, "mixed": MIXED, "halves": HALVES, "half_sizes": HALF_SIZES, "large": LARGE, "stride": STRIDE})
    save("random/cuda", cuda)
