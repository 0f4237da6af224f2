"""weights/dtypes: one tensor of every dtype that the reader takes, written by the safetensors library; `floats` holds the values of each."""
import json

import safetensors.torch
import torch

from generate import HERE

EDGES = [0.0, -0.0, 1.0, -2.5, 65504.0, 65520.0, 6.1e-5, 5.96e-8, 2.98e-8, 2.99e-8, 1e-10, 1 / 3, float("inf"), float("-inf"), 1e30, 3.0e38]


def generate():
    values = torch.cat([torch.tensor(EDGES), torch.randn(17) * 10 ** torch.linspace(-8, 5, 17)])
    tensors = {
        "f64": values.double(), "f32": values, "f16": values.half(), "bf16": values.bfloat16(),
        "f16_as_f32": values.half().float(), "bf16_as_f32": values.bfloat16().float(),
        "i64": torch.tensor([0, -1, 2**53 - 1]), "i32": torch.tensor([0, -1, 2**31 - 1], dtype=torch.int32),
        "i16": torch.tensor([0, -1, 2**15 - 1], dtype=torch.int16), "i8": torch.tensor([0, -1, 127], dtype=torch.int8),
        "u8": torch.tensor([0, 255], dtype=torch.uint8), "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5), "empty": torch.zeros(3, 0, 2), "__proto__": torch.ones(2), "name of \"any\" kind \u2603": torch.ones(1),
        "linear": torch.randn(5, 3), "conv": torch.randn(5, 4, 3, 2), "big_conv": torch.randn(70, 33, 3, 3).half(),
    }
    tensors |= {
        "linear_as_tfjs": tensors["linear"].T, "conv_as_tfjs": tensors["conv"].permute(2, 3, 1, 0),
        "big_conv_as_tfjs": tensors["big_conv"].permute(2, 3, 1, 0),
    }
    path = HERE / "weights" / "dtypes.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt", "meta": json.dumps(None)})
    print(path.relative_to(HERE), f"{path.stat().st_size / 1e6:.2f} MB")
