"""Whole images of the demo model: every option of the pipeline, by diffusers on the same weights."""
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, EulerDiscreteScheduler, PNDMScheduler

from generate import channels_last, save

sys.path.append(str(Path(__file__).parents[3] / "models" / "training"))
import bundled
from bundled import load

SCHEDULERS = {"PNDMScheduler": PNDMScheduler, "DDIMScheduler": DDIMScheduler, "DPMSolverMultistepScheduler": DPMSolverMultistepScheduler,
              "EulerDiscreteScheduler": EulerDiscreteScheduler, "EulerAncestralDiscreteScheduler": EulerAncestralDiscreteScheduler}

STAR = "a yellow star on a black background"
HEART = "a large pink heart on a purple background"
PAIR = "a red circle above a blue square on a white background"
KARRAS = {"use_karras_sigmas": True}

# name -> (prompt, options); seeds: one generator, or a list of them; scheduler: [class, overrides]
CASES = {
    "pndm": (STAR, dict(seeds=0, steps=12)),
    "pndm_50": (HEART, dict(seeds=1)),
    "ddim": (HEART, dict(seeds=2, steps=10, scheduler=["DDIMScheduler", {}])),
    "ddim_eta": (PAIR, dict(seeds=3, steps=10, eta=0.8, scheduler=["DDIMScheduler", {}])),
    "dpm": (STAR, dict(seeds=4, steps=10, scheduler=["DPMSolverMultistepScheduler", {}])),
    "dpm_karras": (HEART, dict(seeds=5, steps=10, scheduler=["DPMSolverMultistepScheduler", KARRAS])),
    "dpm_sde": (PAIR, dict(seeds=6, steps=10, scheduler=["DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}])),
    "euler": (PAIR, dict(seeds=7, steps=10, scheduler=["EulerDiscreteScheduler", {}])),
    "euler_a": (STAR, dict(seeds=8, steps=10, scheduler=["EulerAncestralDiscreteScheduler", {}])),
    "euler_a_list": ([STAR, HEART], dict(seeds=[9, 10], steps=6, scheduler=["EulerAncestralDiscreteScheduler", {}])),
    "guidance_1": (STAR, dict(seeds=11, steps=6, guidance_scale=1.0)),
    "guidance_3": (HEART, dict(seeds=12, steps=6, guidance_scale=3.0)),
    "guidance_15": (PAIR, dict(seeds=13, steps=6, guidance_scale=15.0)),
    "negative": (STAR, dict(seeds=14, steps=6, negative_prompt="a red star")),
    "lists": ([STAR, HEART, PAIR], dict(seeds=[15, 16, 17], steps=6, negative_prompt=["red", "", "green"])),
    "one_generator": ([STAR, HEART], dict(seeds=18, steps=6)),
    "per_prompt": ([STAR, HEART], dict(seeds=[19, 20, 21, 22], steps=6, num_images_per_prompt=2, negative_prompt=["red", "blue"])),
    "wide": (PAIR, dict(seeds=23, steps=6, height=48, width=80)),
    "odd": (STAR, dict(seeds=24, steps=6, height=68, width=60)),
    "clip_skip": (HEART, dict(seeds=25, steps=6, clip_skip=1)),
    "rescale": (PAIR, dict(seeds=26, steps=6, guidance_rescale=0.7)),
    "long_prompt": (f"{STAR}, {'very ' * 80}yellow", dict(seeds=27, steps=6)),
    "latents": (STAR, dict(latents=28, steps=6)),
    "embeds": (PAIR, dict(embeds=True, seeds=29, steps=6)),
    "embeds_both": (PAIR, dict(embeds=True, negative_embeds="a red star", seeds=30, steps=6)),
    "big_seed": (HEART, dict(seeds=2**53 - 1, steps=6)),
}


def pipeline():
    pipe = bundled.pipeline()
    pipe.text_encoder.__dict__["text_model"] = pipe.text_encoder  # where clip_skip looks for the norm, and transformers 5 has it no more
    pipe.check_inputs = lambda *args, **kwargs: None  # it asks for multiples of 8, also where the VAE's factor is 4
    return pipe


def seeded(seed):
    return [seeded(s) for s in seed] if isinstance(seed, list) else torch.Generator("cpu").manual_seed(seed)


@torch.no_grad()
def generate():
    pipe = pipeline()
    config = pipe.scheduler.config
    tensors = {}
    for name, (prompt, options) in CASES.items():
        kwargs = {k: v for k, v in options.items() if k not in ("seeds", "steps", "scheduler", "latents", "embeds", "negative_embeds")}
        scheduler, overrides = options.get("scheduler", ["PNDMScheduler", {}])
        pipe.scheduler = SCHEDULERS[scheduler].from_config(config, **overrides)
        if "seeds" in options:
            kwargs["generator"] = seeded(options["seeds"])
        if "latents" in options:
            kwargs["latents"] = torch.randn(1, 4, 16, 16, generator=seeded(options["latents"]))
            tensors[f"{name}.latents"] = channels_last(kwargs["latents"])
        if "embeds" in options:
            negative = options.get("negative_embeds")
            embeds, negative_embeds = pipe.encode_prompt(prompt, "cpu", 1, negative is not None, negative)
            kwargs["prompt_embeds"] = tensors[f"{name}.promptEmbeds"] = embeds
            if negative is not None:
                kwargs["negative_prompt_embeds"] = tensors[f"{name}.negativePromptEmbeds"] = negative_embeds
        images = pipe(None if "embeds" in options else prompt, num_inference_steps=options.get("steps", 50), **kwargs).images
        tensors[name] = np.stack([np.asarray(image) for image in images])
    # What the decoder gets and gives, before it becomes bytes.
    pipe.scheduler = PNDMScheduler.from_config(config)
    for kind in "latent", "pt":
        tensors[f"output.{kind}"] = channels_last(torch.as_tensor(
            pipe(STAR, num_inference_steps=4, generator=seeded(31), output_type=kind).images))
    save("images/images", tensors, {"cases": CASES})
