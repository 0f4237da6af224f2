"""Whole pictures of the bundled model that take their style from others, by its IP-Adapter, by diffusers on the same weights."""
import random

import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image

from generate import save
from parts.images import bundled, pipeline, seeded
from scenes import COLOURS, scene  # of models/training

# name -> options; strength: image to image; side: of the pictures to take the style from, which is the image encoder's by default
CASES = {
    "defaults": dict(prompt="a star", seeds=0, steps=8),
    "weak, none to avoid": dict(prompt="a heart", seeds=1, steps=8, scale=0.5, guidance_scale=1.0),
    "two count together": dict(prompt="a fish", seeds=2, steps=8, pictures=2, negative_prompt="a small fish", guidance_scale=4.0),
    "several, by blocks, of one that is scaled and cut": dict(
        prompt="a tree", seeds=[4, 5], steps=6, num_images_per_prompt=2, scale={"down": 0.4, "up": {"block_1": [1.0, 0.7]}}, side=(45, 70)),
    "from a picture": dict(prompt="a ring", seeds=7, steps=10, strength=0.7, scale=0.9),
}


def picture(rng, side=None):
    image, _ = scene(rng, *rng.sample(list(COLOURS), 2))
    return image.resize(side, Image.BICUBIC) if side else image


@torch.no_grad()
def generate():
    pipe, rng = pipeline(), random.Random(12)
    pipe.load_ip_adapter(str(bundled.MODEL.parent / "shapes-ip-adapter"), subfolder="", weight_name="ip_adapter.safetensors")
    tensors = {}
    for name, options in CASES.items():
        styles = [picture(rng, options.get("side")) for _ in range(options.get("pictures", 1))]
        tensors[f"{name}/style"] = np.stack([np.asarray(style) for style in styles])
        given, Class = {}, StableDiffusionPipeline
        if "strength" in options:
            begin, Class = picture(rng), StableDiffusionImg2ImgPipeline
            tensors[f"{name}/begin"] = np.asarray(begin)[None]
            given = {"image": begin, "strength": options["strength"]}
        given |= {key: options[key] for key in ("guidance_scale", "negative_prompt", "num_images_per_prompt") if key in options}
        pipe.set_ip_adapter_scale(options.get("scale", 1.0))
        drawing = Class(**pipe.components, requires_safety_checker=False)
        drawing.set_progress_bar_config(disable=True)
        images = drawing(options["prompt"], **given, ip_adapter_image=styles if len(styles) == 1 else [styles], num_inference_steps=options["steps"],
                         generator=seeded(options["seeds"])).images
        tensors[name] = np.stack([np.asarray(image) for image in images])
    save("images/styled", tensors, {"cases": CASES})
