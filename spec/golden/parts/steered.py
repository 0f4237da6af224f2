"""Whole pictures of the bundled model, steered by its ControlNet, by diffusers on the same weights."""
import random

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetImg2ImgPipeline, StableDiffusionControlNetPipeline
from PIL import Image

from generate import save
from parts.images import bundled, pipeline, seeded
from controlnet import edges, placed  # of models/training

# name -> options; strength: image to image
CASES = {
    "defaults": dict(seeds=0, steps=8),
    "weak, ends early": dict(seeds=1, steps=8, scale=0.6, end=0.7, guidance_scale=5.0),
    "guess_mode": dict(seeds=2, steps=8, guess_mode=True, guidance_scale=4.0),
    "lists": dict(seeds=[3, 4], steps=6, pictures=2),
    "from a picture": dict(seeds=5, steps=10, strength=0.7, scale=0.9),
}


@torch.no_grad()
def generate():
    plain, rng = pipeline(), random.Random(11)
    controlnet = bundled.load(ControlNetModel, bundled.MODEL.parent / "shapes-controlnet")
    tensors, cases = {}, {}
    for name, options in CASES.items():
        scenes = [placed(rng) for _ in range(options.get("pictures", 1))]
        maps = [np.repeat(edges(np.asarray(image))[..., None], 3, 2) for image, _ in scenes]
        prompts = [caption for _, caption in scenes]
        Class = StableDiffusionControlNetImg2ImgPipeline if "strength" in options else StableDiffusionControlNetPipeline
        pipe = Class(**plain.components, controlnet=controlnet, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        pictures = [Image.fromarray(each) for each in maps]
        given = {"image": pictures}
        if "strength" in options:
            begin = np.asarray(placed(rng)[0])
            tensors[f"{name}/begin"] = begin[None]
            given = {"image": Image.fromarray(begin), "control_image": pictures, "strength": options["strength"]}
        given |= {key: options[key] for key in ("guidance_scale", "guess_mode") if key in options}
        images = pipe(prompts, **given, controlnet_conditioning_scale=options.get("scale", 1.0), control_guidance_end=options.get("end", 1.0),
                      num_inference_steps=options["steps"], generator=seeded(options["seeds"])).images
        tensors |= {f"{name}/control": np.stack(maps), name: np.stack([np.asarray(image) for image in images])}
        cases[name] = {"prompts": prompts, **options}
    save("images/steered", tensors, {"cases": cases})
