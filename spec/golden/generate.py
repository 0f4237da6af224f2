"""Makes the reference values that the specs compare with, from torch, diffusers and transformers.

    pip install -r requirements.txt
    python generate.py [part ...]        # parts: the modules in parts/; all of them without a name

Seeded: a second run gives the same values, another processor's but for rounding, and files that hold them stay as they are. Activations are saved channels-last, as the library has them; weights as torch has them.
"""
import gzip
import importlib
import json
import pkgutil
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load, save as serialize

HERE = Path(__file__).parent


def channels_last(t):
    """[batch, channels, height, width] -> [batch, height, width, channels]; anything else as it is."""
    return t.permute(0, 2, 3, 1) if t.ndim == 4 else t


def save(name, tensors, meta=None):
    """Writes HERE/<name>.safetensors.gz; `meta` is any JSON value, kept as text in the file's metadata."""
    path = HERE / f"{name}.safetensors.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {k: np.ascontiguousarray(v.detach().numpy() if isinstance(v, torch.Tensor) else v) for k, v in tensors.items()}
    if path.exists() and holds(name, arrays, meta):
        return print(path.relative_to(HERE), "as it was")
    path.write_bytes(gzip.compress(serialize(arrays, metadata={"format": "np", "meta": json.dumps(meta)}), 9, mtime=0))
    print(path.relative_to(HERE), f"{path.stat().st_size / 1e6:.2f} MB")


def holds(name, arrays, meta):
    """Whether a file has these values already, up to the rounding in which processors differ: whole numbers and texts exactly."""
    known, known_meta = saved(name)
    if known_meta != json.loads(json.dumps(meta)) or known.keys() != arrays.keys():
        return False
    for key, new in arrays.items():
        old = known[key].numpy()
        if old.dtype != new.dtype or old.shape != new.shape:
            return False
        tolerance = 2e-6 * np.abs(old).max(initial=0, where=np.isfinite(old)) if old.dtype == np.float32 else 0
        if not np.allclose(old, new, rtol=0, atol=tolerance, equal_nan=old.dtype.kind == "f"):
            return False
    return True


def saved(name):
    """What `save` wrote: tensors of torch, and the meta."""
    content = gzip.decompress((HERE / f"{name}.safetensors.gz").read_bytes())
    header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])
    return {k: torch.from_numpy(v) for k, v in load(content).items()}, json.loads(header["__metadata__"]["meta"])


if __name__ == "__main__":
    sys.path[:0] = [str(HERE)]
    sys.modules["generate"] = sys.modules["__main__"]  # parts import channels_last and save from here
    for part in sys.argv[1:] or sorted(m.name for m in pkgutil.iter_modules([str(HERE / "parts")])):
        torch.manual_seed(0)
        importlib.import_module(f"parts.{part}").generate()
