"""float16 and bfloat16 noise of a CPU generator before torch 2.15. Takes torch 2.11 in an environment of its own:

    pip install torch==2.11.0 numpy safetensors && python generate.py legacy_halves
"""
import numpy as np
import torch

from generate import save

DTYPES, SIZES = ["float16", "bfloat16"], [5, 16, 17, 1, 31, 32, 33, 500, 15]  # of one stream


def generate():
    if not torch.__version__.startswith("2.11"):
        print(f"legacy_halves: takes torch 2.11, not {torch.__version__}; left as it is")
        return
    tensors = {}
    for dtype in DTYPES:
        stream = torch.Generator().manual_seed(7)
        drawn = [torch.randn(size, generator=stream, dtype=getattr(torch, dtype)).float().numpy() for size in SIZES]
        tensors[dtype] = np.concatenate(drawn)
    save("random/legacy_halves", tensors, {"sizes": SIZES})
