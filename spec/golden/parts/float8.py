"""checkpoints/float8.*: all values of the two types of 8 bits, as safetensors and as torch.save writes them, and what torch widens them to."""
import torch
from safetensors.torch import save_file

from generate import HERE, save

FOLDER = HERE / "checkpoints"


def generate():
    all_bytes = torch.arange(256, dtype=torch.uint8)
    tensors = {"e4m3": all_bytes.view(torch.float8_e4m3fn), "e5m2": all_bytes.clone().view(torch.float8_e5m2)}
    save_file(tensors, FOLDER / "float8.safetensors")
    tensors |= {"view": tensors["e4m3"][17:149].reshape(11, 12).T, "parameter": torch.nn.Parameter(tensors["e5m2"][3:8], requires_grad=False), "one": torch.ones(1)}
    torch.save(tensors, FOLDER / "float8.ckpt")
    torch.save(tensors, FOLDER / "float8_legacy.bin", _use_new_zipfile_serialization=False)
    save("checkpoints/float8_values", {k: v.float() for k, v in tensors.items()})
