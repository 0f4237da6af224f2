"""checkpoints/controlnet.json.gz: what diffusers' ControlNetModel.from_single_file makes of small files by the authors' keys, alone and beside a whole
model, and the keys and shapes of ControlNets as they are published, with their configs.

The weights follow the rule of `single_file`, so that only the hashes of diffusers' files are kept.
"""
import gzip
import json
import tempfile
from itertools import count
from pathlib import Path

import torch
from diffusers import ControlNetModel, ControlNetUnionModel
from safetensors.torch import save_file

from generate import HERE
from parts.checkpoints import layer, unet_keys
from parts.single_file import digests, values

UNET = dict(channels=64, mult=(1, 2), blocks=2, attention=(1, 0))
CONFIG = dict(block_out_channels=(64, 128), layers_per_block=2, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"))
FILES = {"sd1": dict(prefix="control_model.", context=768, linear=False), "sd2": dict(prefix="", context=1024, linear=True)}
XL = dict(block_out_channels=(320, 640, 1280), use_linear_projection=True, cross_attention_dim=2048, attention_head_dim=[5, 10, 20],
          addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816)
XL_TYPES = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
PUBLISHED = {
    "sd1": dict(cross_attention_dim=768),
    "sd2": dict(cross_attention_dim=1024, use_linear_projection=True, attention_head_dim=[5, 10, 20, 20]),
    "xl": dict(XL, down_block_types=XL_TYPES, transformer_layers_per_block=[1, 2, 10]),
    "union": dict(XL, down_block_types=XL_TYPES, transformer_layers_per_block=[1, 2, 10], conditioning_embedding_out_channels=(16, 32, 96, 256), num_control_type=8),
    "xl_mid": dict(XL, down_block_types=XL_TYPES, transformer_layers_per_block=[1, 0, 1]),
    "xl_small": dict(XL, down_block_types=("DownBlock2D",) * 3, mid_block_type="UNetMidBlock2D", transformer_layers_per_block=1),
}


def ldm_keys(context, linear):
    """CompVis' way down, with what the authors of ControlNet put beside it (cldm.py)."""
    keys = {k: v for k, v in unet_keys(**UNET, context=context, linear=linear).items() if not k.startswith(("output_blocks.", "out."))}
    sizes = [3, 16, 16, 32, 32, 96, 96, 256, 64]
    for i, (inner, outer) in enumerate(zip(sizes, sizes[1:])):
        keys |= layer(f"input_hint_block.{2 * i}", outer, inner, 3, 3)
    for i in count():
        found = [v for k, v in keys.items() if k in (f"input_blocks.{i}.0.weight", f"input_blocks.{i}.0.op.weight", f"input_blocks.{i}.0.out_layers.3.weight")]
        if not found:
            break
        keys |= layer(f"zero_convs.{i}.0", found[0][0], found[0][0], 1, 1)
    return keys | layer("middle_block_out.0", 128, 128, 1, 1)


def single_file(prefix, context, linear):
    shapes = {prefix + key: shape for key, shape in ldm_keys(context, linear).items()}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        save_file({key: values(i, shape) for i, (key, shape) in enumerate(shapes.items())}, folder / "model.safetensors")
        heads = dict(attention_head_dim=[1, 2], use_linear_projection=True) if linear else dict(attention_head_dim=8)
        with torch.device("meta"):
            ControlNetModel(**CONFIG, **heads, cross_attention_dim=context).save_config(folder / "config")
        net = ControlNetModel.from_single_file(str(folder / "model.safetensors"), config=str(folder / "config"), torch_dtype=torch.float16)
        net.save_pretrained(folder / "saved")
        saved = digests(folder / "saved/diffusion_pytorch_model.safetensors")
        assert set(saved) == set(net.state_dict())
    return {"shapes": shapes, "saved": saved}


def published(config):
    with torch.device("meta"):
        net = (ControlNetUnionModel if "num_control_type" in config else ControlNetModel)(**config)
    return {"shapes": {key: list(value.shape) for key, value in net.state_dict().items()}, "config": {k: v for k, v in net.config.items() if not k.startswith("_")}}


def generate():
    golden = {"files": {name: single_file(**file) for name, file in FILES.items()}, "published": {name: published(config) for name, config in PUBLISHED.items()}}
    path = HERE / "checkpoints" / "controlnet.json.gz"
    path.write_bytes(gzip.compress(json.dumps(golden).encode(), 9, mtime=0))
    print(path.relative_to(HERE), f"{path.stat().st_size / 1e6:.2f} MB")
