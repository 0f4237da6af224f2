"""A random Stable Diffusion pipeline of 16 x 16 pixels, saved as diffusers saves one, and what diffusers makes with it."""
import json
import shutil
import tempfile
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import (AutoencoderKL, PNDMScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionPipeline,
                       UNet2DConditionModel)
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from generate import HERE, channels_last, save
from parts.layers import randomize

TINY = HERE / "pipelines" / "tiny"
UNET = dict(block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, cross_attention_dim=16, attention_head_dim=2, sample_size=8,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
VAE = dict(block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
           layers_per_block=1, norm_num_groups=4, latent_channels=4, sample_size=16)
TEXT = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, max_position_embeddings=77)
SCHEDULER = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1, clip_sample=False)
RULES = "a t|a t</w>|r e|re d</w>|s t|st a|sta r</w>|o n</w>|a n|an d</w>"


def tokenizer(folder, **kwargs):
    """Letters, and a few rules that join them."""
    letters = list(bytes_to_unicode().values())
    merges = [tuple(rule.split()) for rule in RULES.split("|")]
    vocab = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocab)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges), ""]))
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77, **kwargs)


def tiny(unet=UNET, text=TEXT, scheduler=SCHEDULER, folder=TINY, **kwargs):
    """Makes the pipeline, keeps it in `folder` in half precision, and returns it as read from there, in single."""
    with tempfile.TemporaryDirectory() as tmp:
        tokens = tokenizer(Path(tmp) / "tokenizer", **kwargs)
    end = tokens.eos_token_id
    pipe = StableDiffusionPipeline(
        vae=randomize(AutoencoderKL(**VAE)), unet=randomize(UNet2DConditionModel(**unet)),
        text_encoder=randomize(CLIPTextModel(CLIPTextConfig(vocab_size=end + 1, bos_token_id=end - 1, eos_token_id=end, pad_token_id=end, **text))),
        tokenizer=tokens, scheduler=PNDMScheduler.from_config(scheduler), safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    shutil.rmtree(folder, ignore_errors=True)
    pipe.to(torch.float16).save_pretrained(folder)
    return quiet(StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False))


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    pipe.text_encoder.__dict__["text_model"] = pipe.text_encoder  # where clip_skip looks for the norm, and transformers 5 has it no more
    pipe.check_inputs = lambda *args, **kwargs: None  # it asks for multiples of 8, also where the VAE's factor is 2
    return pipe


def seeded(seed):
    return [seeded(s) for s in seed] if isinstance(seed, list) else torch.Generator("cpu").manual_seed(seed)


def picture(seed, height, width):
    """A smooth picture of some colours, 8 bits."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    channels = [np.sin(seed + 7 * (c + 1) * x + 5 * (seed + c) * y) for c in range(3)]
    return Image.fromarray(np.round(127.5 + 127.5 * np.stack(channels, -1)).astype(np.uint8))


def mask(height, width):
    """White in the middle, with a grey edge and a coloured corner."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[height // 4: -height // 4, width // 4: -width // 4] = 255
    pixels[height // 4] = 100
    pixels[:2, :3] = (250, 200, 10)
    return Image.fromarray(pixels)


SECOND_UNET = "pipelines/unet_inpaint"
STAR, ROAD = "a red star", "a road and a tree on it"
# name -> (prompt, options). image: seeds of pictures, or None; size: of the pictures; as_tensor: "pixels" or "latents"; scheduler: [class, overrides]
IMG2IMG = {
    "pndm": (STAR, dict(seeds=0, steps=10, strength=0.6)),
    "default": (STAR, dict(seeds=1, steps=5)),
    "whole": (STAR, dict(seeds=2, steps=4, strength=1.0)),
    "lanczos": (ROAD, dict(seeds=3, steps=4, strength=0.5, size=(19, 33))),
    "no_guidance": (ROAD, dict(seeds=4, steps=4, strength=0.5, guidance_scale=1.0)),
    "list": ([STAR, ROAD], dict(seeds=[5, 6, 7, 8], steps=4, strength=0.5, image=[1, 2], num_images_per_prompt=2, negative_prompt=["red", "blue"])),
    "one_generator": ([STAR, ROAD], dict(seeds=9, steps=4, strength=0.5, image=[1], num_images_per_prompt=2)),
    "pixels": (STAR, dict(seeds=10, steps=4, strength=0.5, as_tensor="pixels")),
    "latents": (STAR, dict(seeds=11, steps=4, strength=0.5, as_tensor="latents")),
    **{name: (STAR, dict(seeds=12, steps=7, strength=0.7, scheduler=[name, {}])) for name in (
        "DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler",
        "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler", "LCMScheduler", "LMSDiscreteScheduler", "TCDScheduler", "UniPCMultistepScheduler")},
}
INPAINT = {
    "pndm": (STAR, dict(seeds=0, steps=5)),
    "strength": (STAR, dict(seeds=1, steps=8, strength=0.7)),
    "nine": (STAR, dict(seeds=2, steps=5, unet="nine")),
    "nine_strength": (ROAD, dict(seeds=3, steps=6, strength=0.5, unet="nine", guidance_scale=1.0)),
    "lanczos": (ROAD, dict(seeds=4, steps=4, size=(23, 37), height=12, width=20)),
    "list": ([STAR, ROAD], dict(seeds=[5, 6], steps=4, image=[1])),
    "nine_list": ([STAR, ROAD], dict(seeds=[7, 8, 9, 10], steps=4, image=[1, 2], unet="nine", num_images_per_prompt=2)),
    "pixels": (STAR, dict(seeds=11, steps=4, as_tensor="pixels", strength=0.8)),
    "given_noise": (STAR, dict(seeds=12, latents=13, steps=4)),
    **{name: (STAR, dict(seeds=14, steps=5, strength=0.8, scheduler=[name, {}])) for name in (
        "DPMSolverMultistepScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "LCMScheduler", "UniPCMultistepScheduler")},
    "nine_euler_a": (STAR, dict(seeds=15, steps=4, unet="nine", scheduler=["EulerAncestralDiscreteScheduler", {}])),
}
OURS = ("seeds", "steps", "scheduler", "image", "size", "as_tensor", "unet", "latents")


def run(pipe, config, name, prompt, options, tensors, with_mask):
    kwargs = {k: v for k, v in options.items() if k not in OURS}
    scheduler, overrides = options.get("scheduler", ["PNDMScheduler", {}])
    pipe.scheduler = getattr(diffusers, scheduler).from_config(config, **overrides)
    size = options.get("size", (16, 16))
    pictures = [picture(seed, *size) for seed in options.get("image", [3])]
    tensors[f"{name}/image"] = np.stack([np.asarray(each) for each in pictures])
    kwargs["image"] = pictures
    if options.get("as_tensor") == "pixels":
        kwargs["image"] = torch.from_numpy(tensors[f"{name}/image"] / np.float32(255)).permute(0, 3, 1, 2)
    if options.get("as_tensor") == "latents":
        kwargs["image"] = torch.randn(1, 4, 8, 8, generator=seeded(99))
        tensors[f"{name}/image"] = channels_last(kwargs["image"])
    if with_mask:
        kwargs["mask_image"] = mask(*size)
        tensors[f"{name}/mask"] = np.asarray(kwargs["mask_image"])[None]
    if "latents" in options:
        kwargs["latents"] = torch.randn(1, 4, 8, 8, generator=seeded(options["latents"]))
        tensors[f"{name}/latents"] = channels_last(kwargs["latents"])
    out = pipe(prompt, generator=seeded(options["seeds"]), num_inference_steps=options["steps"], output_type="latent", **kwargs).images
    tensors[f"{name}/out"] = channels_last(out)


@torch.no_grad()
def generate():
    pipe = tiny()
    config = pipe.scheduler.config
    nine = randomize(UNet2DConditionModel(**UNET, in_channels=9))
    nine.half().save_pretrained(HERE / SECOND_UNET)
    nine.float()

    tensors = {}
    img2img = quiet(StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False))
    for name, (prompt, options) in IMG2IMG.items():
        run(img2img, config, name, prompt, options, tensors, with_mask=False)
    save("pipelines/img2img", tensors, {"cases": IMG2IMG})

    tensors = {}
    four = quiet(StableDiffusionInpaintPipeline(**pipe.components, requires_safety_checker=False))
    for name, (prompt, options) in INPAINT.items():
        four.unet = nine if options.get("unet") == "nine" else pipe.unet
        run(four, config, name, prompt, options, tensors, with_mask=True)
    save("pipelines/inpaint", tensors, {"cases": INPAINT})
