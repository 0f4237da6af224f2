"""The other side of loading.ts.

    python loading_worker.py FOLDER DTYPE DEVICE   loads the UNet, runs it once, small, and prints what that took as JSON; DEVICE: one of ours
    python loading_worker.py evict FOLDER          drops the folder's files from the page cache
"""
import json
import os
import sys
import time
import warnings
from pathlib import Path


def peak():
    """GiB, of the process's whole life."""
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 2**20


def main(folder, dtype, device):
    warnings.filterwarnings("ignore")
    import torch
    from diffusers import UNet2DConditionModel

    dtype, device = getattr(torch, dtype), "cuda" if device == "cuda" else "cpu"
    zeros = lambda *shape: torch.zeros(*shape, device=device, dtype=dtype)
    zeros(1)  # its device is ready, as ours is, before the time begins
    started = time.perf_counter()
    unet = UNet2DConditionModel.from_pretrained(folder, torch_dtype=dtype).to(device)
    loaded, peak_loaded = time.perf_counter(), peak()
    with torch.no_grad():
        unet(zeros(1, 4, 8, 8), 1, zeros(1, 77, 768)).sample.cpu()
    print(json.dumps({"load": loaded - started, "firstOutput": time.perf_counter() - started, "peakLoaded": peak_loaded, "peakRan": peak()}))


def evict(folder):
    for file in Path(folder).iterdir():
        fd = os.open(file, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


if sys.argv[1] == "evict":
    evict(sys.argv[2])
else:
    main(*sys.argv[1:4])
