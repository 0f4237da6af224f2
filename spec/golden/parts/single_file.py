"""checkpoints/single_file.json.gz: what diffusers' from_single_file and save_pretrained make of small single files of SD1.x, SD2.x, SDXL and its refiner,
of the UNets of those that are distilled from SDXL into fewer blocks, and of InstructPix2Pix and the upscaler.

The weights follow a rule that the spec knows as well, so that only the hashes of diffusers' files are kept.
"""
import gzip
import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from diffusers import (AutoencoderKL, DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, PNDMScheduler, StableDiffusionInstructPix2PixPipeline,
                       StableDiffusionPipeline, StableDiffusionUpscalePipeline, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline, UNet2DConditionModel)
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from generate import HERE
from parts.checkpoints import clip_keys, open_clip_keys, unet_keys, vae_keys

UNET = dict(channels=64, mult=(1, 2), blocks=2, attention=(1, 0))
UNET_CONFIG = dict(sample_size=64, block_out_channels=(64, 128), layers_per_block=2, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                   up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
VAE_CONFIG = dict(block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
                  layers_per_block=1)
# Of each: the keys' shape, and what diffusers' config says of it. SSD-1B's is [1, [2, 2], [4, 4]], [[4, 4, 10], [2, 1, 1], 1] at full size.
DISTILLED = {
    "ssd": (dict(blocks=2, depth=[1, [2, 2], [3, 3]], up_depth=[1, [2, 1, 1], [3, 3, 4]], middle="resnet"),
            dict(layers_per_block=2, transformer_layers_per_block=[1, [2, 2], [3, 3]], reverse_transformer_layers_per_block=[[3, 3, 4], [2, 1, 1], 1],
                 mid_block_type="UNetMidBlock2D")),
    "vega": (dict(blocks=2, depth=[1, 1, 2], middle="resnet"),
             dict(layers_per_block=2, transformer_layers_per_block=[1, 1, 2], mid_block_type="UNetMidBlock2D")),
    "midless": (dict(blocks=1, depth=[1, 2, 3], middle=None),
                dict(layers_per_block=1, transformer_layers_per_block=[1, 2, 3], mid_block_type=None)),
    "lopsided": (dict(blocks=1, depth=[1, [2], [3]], up_depth=[1, [2, 1], [3, 3]]),
                    dict(layers_per_block=1, transformer_layers_per_block=[1, [2], [3]], reverse_transformer_layers_per_block=[[3, 3], [2, 1], 1])),
}
# What sees a picture behind the latents: the keys' shape, what diffusers' config says of the UNet, and the pipeline.
SEEING = {
    "edit": (dict(channels=64, mult=(1, 2), blocks=1, attention=(1, 0), context=768, linear=False, seen=8),
             dict(in_channels=8, block_out_channels=(64, 128), layers_per_block=1, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                  up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=768, attention_head_dim=8, sample_size=64),
             StableDiffusionInstructPix2PixPipeline),
    "upscale": (dict(channels=64, mult=(1, 1, 2), blocks=1, attention=(0, 1, 1), context=1024, linear=True, seen=7, classes=360, only_cross=(1,)),
                dict(in_channels=7, block_out_channels=(64, 64, 128), layers_per_block=1, cross_attention_dim=1024, attention_head_dim=8, sample_size=128,
                     down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), use_linear_projection=True, num_class_embeds=360,
                     up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), only_cross_attention=[False, True, False]),
                StableDiffusionUpscalePipeline),
}
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


def xl(folder, refiner):
    """SDXL, or its refiner, which has the second text encoder alone and attends in all levels alike."""
    first = CLIPTextConfig(**TEXT, num_hidden_layers=2, hidden_act="quick_gelu")
    second = CLIPTextConfig(vocab_size=49408, hidden_size=128, intermediate_size=512, num_attention_heads=2, num_hidden_layers=3, hidden_act="gelu",
                            projection_dim=96)
    attention, depth, context, added = ((1, 1), (2, 2), 128, 96 + 5 * 256) if refiner else ((0, 1), (1, 2), 192, 96 + 6 * 256)
    unet = dict(UNET, attention=attention, depth=depth, added=added)
    shapes = {f"model.diffusion_model.{k}": v for k, v in unet_keys(**unet, context=context, linear=True).items()}
    shapes |= {f"first_stage_model.{k}": v for k, v in vae_keys(channels=32, mult=(1, 1), blocks=1).items()}
    open_clip = open_clip_keys(128, 3) | {"text_projection": (128, 96)}
    if not refiner:
        shapes |= {f"conditioner.embedders.0.transformer.{k}": v for k, v in clip_keys(first).items()}
    shapes |= {f"conditioner.embedders.{0 if refiner else 1}.model.{k}": v for k, v in open_clip.items()}
    file = folder / "model.safetensors"
    save_file({key: values(i, shape) for i, (key, shape) in enumerate(shapes.items())}, file)

    config = folder / "config"
    names = [("CrossAttn" if a else "") for a in attention]
    with torch.device("meta"):
        UNet2DConditionModel(
            sample_size=128, block_out_channels=(64, 128), layers_per_block=2, down_block_types=tuple(f"{n}DownBlock2D" for n in names),
            up_block_types=tuple(f"{n}UpBlock2D" for n in reversed(names)), cross_attention_dim=context, attention_head_dim=[1, 2],
            use_linear_projection=True, transformer_layers_per_block=list(depth), addition_embed_type="text_time", addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=added).save_config(config / "unet")
        AutoencoderKL(**VAE_CONFIG).save_config(config / "vae")
    first.architectures, second.architectures = ["CLIPTextModel"], ["CLIPTextModelWithProjection"]
    if not refiner:
        first.save_pretrained(config / "text_encoder")
    second.save_pretrained(config / "text_encoder_2")
    EulerDiscreteScheduler().save_config(config / "scheduler")
    kind = StableDiffusionXLImg2ImgPipeline if refiner else StableDiffusionXLPipeline
    index = {"_class_name": kind.__name__, "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
             "text_encoder": [None, None] if refiner else ["transformers", "CLIPTextModel"],
             "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"], "scheduler": ["diffusers", "EulerDiscreteScheduler"],
             "tokenizer": [None, None] if refiner else ["transformers", "CLIPTokenizer"], "tokenizer_2": ["transformers", "CLIPTokenizer"]}
    (config / "model_index.json").write_text(json.dumps(index))
    without = dict(text_encoder=None) if refiner else {}
    pipe = kind.from_single_file(str(file), config=str(config), torch_dtype=torch.float16, tokenizer=None, tokenizer_2=None, **without)
    pipe.save_pretrained(folder / "saved")
    assert isinstance(pipe.text_encoder_2, CLIPTextModelWithProjection)
    parts = ("unet", "vae", "text_encoder_2") if refiner else ("unet", "vae", "text_encoder", "text_encoder_2")
    saved = {part: digests(folder / f"saved/{part}/{'model' if part.startswith('text') else 'diffusion_pytorch_model'}.safetensors") for part in parts}
    return {"shapes": shapes, "saved": saved}


def distilled(folder, keys, config):
    """The UNet alone, of a file whose layout diffusers is told by a config."""
    unet = unet_keys(channels=64, mult=(1, 1, 2), attention=(0, 1, 1), context=192, linear=True, added=96 + 6 * 256, **keys)
    shapes = {f"model.diffusion_model.{k}": v for k, v in unet.items()}
    file = folder / "model.safetensors"
    save_file({key: values(i, shape) for i, (key, shape) in enumerate(shapes.items())}, file)
    with torch.device("meta"):
        model = UNet2DConditionModel(
            sample_size=128, block_out_channels=(64, 64, 128), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=192, attention_head_dim=[1, 1, 2],
            use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=96 + 6 * 256,
            **config)
    model.save_config(folder / "config")
    UNet2DConditionModel.from_single_file(str(file), config=str(folder / "config"), torch_dtype=torch.float16).save_pretrained(folder / "saved")
    saved = digests(folder / "saved/diffusion_pytorch_model.safetensors")
    assert set(saved) == set(model.state_dict())
    digest = hashlib.sha256("".join(f"{key} {saved[key]}\n" for key in sorted(saved)).encode()).hexdigest()[:16]  # of all at once, to be small
    return {"shapes": shapes, "digest": digest, "unet": {k: v for k, v in model.config.items() if not k.startswith("_")}}


def seeing(folder, keys, config, kind):
    """A pipeline's UNet and VAE; the text encoders are those of the others."""
    shapes = {f"model.diffusion_model.{k}": v for k, v in unet_keys(**keys).items()}
    shapes |= {f"first_stage_model.{k}": v for k, v in vae_keys(channels=32, mult=(1, 1), blocks=1).items()} | {"low_scale_model.betas": (1000,)}
    file = folder / "model.safetensors"
    save_file({key: values(i, shape) for i, (key, shape) in enumerate(shapes.items())}, file)
    parts = folder / "config"
    scale = 0.08333 if kind is StableDiffusionUpscalePipeline else 0.18215
    with torch.device("meta"):
        UNet2DConditionModel(**config).save_config(parts / "unet")
        AutoencoderKL(**VAE_CONFIG, scaling_factor=scale).save_config(parts / "vae")
    schedulers = {"scheduler": DDIMScheduler, "low_res_scheduler": DDPMScheduler} if scale == 0.08333 else {"scheduler": PNDMScheduler}
    for name, scheduler in schedulers.items():
        scheduler().save_config(parts / name)
    index = {"_class_name": kind.__name__, "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"], "safety_checker": [None, None],
             "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"], "feature_extractor": [None, None],
             **{name: ["diffusers", scheduler.__name__] for name, scheduler in schedulers.items()}}
    (parts / "model_index.json").write_text(json.dumps(index))
    pipe = kind.from_single_file(str(file), config=str(parts), torch_dtype=torch.float16, tokenizer=None, text_encoder=None, safety_checker=None,
                                 feature_extractor=None)
    saved = {}
    for part in ("unet", "vae"):
        getattr(pipe, part).save_pretrained(folder / part)
        saved[part] = digests(folder / part / "diffusion_pytorch_model.safetensors")
        assert set(saved[part]) == set(getattr(pipe, part).state_dict())
    digest = hashlib.sha256("".join(f"{part} {key} {value}\n" for part, found in saved.items() for key, value in sorted(found.items())).encode()).hexdigest()[:16]
    return {"shapes": shapes, "digest": digest, "unet": {k: v for k, v in pipe.unet.config.items() if not k.startswith("_")}, "class": kind.__name__}


def generate():
    golden = {}
    for name, second in (("sd1", False), ("sd2", True)):
        with tempfile.TemporaryDirectory() as folder:
            golden[name] = generation(Path(folder), second)
    for name, refiner in (("xl", False), ("refiner", True)):
        with tempfile.TemporaryDirectory() as folder:
            golden[name] = xl(Path(folder), refiner)
    for name, layout in DISTILLED.items():
        with tempfile.TemporaryDirectory() as folder:
            golden[name] = distilled(Path(folder), *layout)
    for name, layout in SEEING.items():
        with tempfile.TemporaryDirectory() as folder:
            golden[name] = seeing(Path(folder), *layout)
    path = HERE / "checkpoints" / "single_file.json.gz"
    path.write_bytes(gzip.compress(json.dumps(golden).encode(), 9, mtime=0))
    print(path.relative_to(HERE), f"{path.stat().st_size / 1e6:.2f} MB")
