"""checkpoints/single_file.json.gz: what diffusers' from_single_file and save_pretrained make of small single files of both generations.

The weights follow a rule that the spec knows as well, so that only the hashes of diffusers' files are kept.
"""
import gzip
import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from generate import HERE
from parts.checkpoints import clip_keys, open_clip_keys, unet_keys, vae_keys

UNET = dict(channels=64, mult=(1, 2), blocks=2, attention=(1, 0))
UNET_CONFIG = dict(sample_size=64, block_out_channels=(64, 128), layers_per_block=2, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                   up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
VAE_CONFIG = dict(block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
                  layers_per_block=1)
TEXT = dict(vocab_size=49408, hidden_size=64, intermediate_size=256, num_attention_heads=1)


def values(number, shape):
    """Element j of the tensor `number` has the bits 0x2000 + (131 * number + 7 * j) % 0x1800, as float16."""
    bits = 0x2000 + (131 * number + 7 * np.arange(int(np.prod(shape)), dtype=np.int64)) % 0x1800
    return torch.from_numpy(bits.astype(np.uint16).view(np.float16).reshape(shape))


def digests(path):
    with safe_open(path, "pt") as file:
        return {key: hashlib.sha256(file.get_tensor(key).numpy().tobytes()).hexdigest()[:16] for key in sorted(file.keys())}


def generation(folder, second):
    text = CLIPTextConfig(**TEXT, num_hidden_layers=23 if second else 2, hidden_act="gelu" if second else "quick_gelu")
    context, linear = (1024, True) if second else (768, False)
    shapes = {f"model.diffusion_model.{k}": v for k, v in unet_keys(**UNET, context=context, linear=linear).items()}
    if not second:
        shapes |= {f"model_ema.{k.removeprefix('model.').replace('.', '')}": v for k, v in list(shapes.items())} | {"model_ema.decay": (1,)}
    shapes |= {f"first_stage_model.{k}": v for k, v in vae_keys(channels=32, mult=(1, 1), blocks=1).items()} | {"first_stage_model.loss.logvar": (1,)}
    text_keys = open_clip_keys(64, 24) if second else clip_keys(text)
    shapes |= {f"cond_stage_model.{'model' if second else 'transformer'}.{k}": v for k, v in text_keys.items()} | {"betas": (1000,)}
    file = folder / "model.safetensors"
    save_file({key: values(i, shape) for i, (key, shape) in enumerate(shapes.items())}, file)

    config = folder / "config"
    heads = dict(attention_head_dim=[1, 2], use_linear_projection=True) if second else dict(attention_head_dim=8)
    with torch.device("meta"):
        UNet2DConditionModel(**UNET_CONFIG, **heads, cross_attention_dim=context).save_config(config / "unet")
        AutoencoderKL(**VAE_CONFIG).save_config(config / "vae")
    text.architectures = ["CLIPTextModel"]
    text.save_pretrained(config / "text_encoder")
    scheduler = DDIMScheduler if second else PNDMScheduler
    scheduler().save_config(config / "scheduler")
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
             "text_encoder": ["transformers", "CLIPTextModel"], "scheduler": ["diffusers", scheduler.__name__], "tokenizer": ["transformers", "CLIPTokenizer"],
             "safety_checker": [None, None], "feature_extractor": [None, None]}
    (config / "model_index.json").write_text(json.dumps(index))
    pipe = StableDiffusionPipeline.from_single_file(
        str(file), config=str(config), torch_dtype=torch.float16, tokenizer=None, safety_checker=None, feature_extractor=None)
    pipe.save_pretrained(folder / "saved")
    assert isinstance(pipe.text_encoder, CLIPTextModel)

    vae = AutoencoderKL.from_single_file(str(file), config=str(config), subfolder="vae", torch_dtype=torch.float16)
    vae.save_pretrained(folder / "vae")
    saved = {part: digests(folder / f"saved/{part}/{'model' if part == 'text_encoder' else 'diffusion_pytorch_model'}.safetensors")
             for part in ("unet", "vae", "text_encoder")}
    assert digests(folder / "vae/diffusion_pytorch_model.safetensors") == saved["vae"]
    return {"shapes": shapes, "saved": saved}


def generate():
    golden = {}
    for name, second in (("sd1", False), ("sd2", True)):
        with tempfile.TemporaryDirectory() as folder:
            golden[name] = generation(Path(folder), second)
    path = HERE / "checkpoints" / "single_file.json.gz"
    path.write_bytes(gzip.compress(json.dumps(golden).encode(), 9, mtime=0))
    print(path.relative_to(HERE), f"{path.stat().st_size / 1e6:.2f} MB")
