"""Does the ControlNet put figures where they were drawn? By the middles and the shares of pixels that are not the ground's.

    python judge_controlnet.py OUT [CONTROLNET]        CONTROLNET as the converter writes it, models/shapes-controlnet by default

Draws 30 figures anywhere, which no training has seen, makes pictures of prompts and their edges, of edges three pixels wide, and of prompts alone,
writes a grid to OUT (drawings, edges and those three), and prints in how many the figure stands within 4 pixels of where it was drawn.
"""
import random
import sys
from pathlib import Path

import numpy as np
import torch
from bundled import MODEL, load, pipeline
from controlnet import edges, placed
from diffusers import ControlNetModel, DPMSolverMultistepScheduler, StableDiffusionControlNetPipeline
from judge import figure, judge
from PIL import Image, ImageFilter
from scenes import COLOURS

COUNT, NEAR = 30, 4


def compare(drawn, made):
    """-> how far the middles are from each other in pixels, and the share that both figures have of what either has"""
    a, b = figure(drawn), figure(made)
    if not b.any():
        return np.inf, 0.0
    return np.hypot(*(np.argwhere(a).mean(0) - np.argwhere(b).mean(0))), (a & b).sum() / (a | b).sum()


def main(out, folder=MODEL.parent / "shapes-controlnet"):
    out, rng = Path(out), random.Random(4242)
    out.mkdir(parents=True, exist_ok=True)
    scenes = [placed(rng) for _ in range(COUNT)]
    drawings, prompts = [np.asarray(image) for image, _ in scenes], [caption for _, caption in scenes]
    maps = [Image.fromarray(edges(drawing)).convert("RGB") for drawing in drawings]
    thick = [image.filter(ImageFilter.MaxFilter(3)) for image in maps]
    plain = pipeline()
    plain.scheduler = DPMSolverMultistepScheduler.from_config(plain.scheduler.config)
    steered = StableDiffusionControlNetPipeline(**plain.components, controlnet=load(ControlNetModel, Path(folder).absolute()), requires_safety_checker=False)
    steered.set_progress_bar_config(disable=True)
    generators = lambda: [torch.Generator().manual_seed(1000 + i) for i in range(COUNT)]
    rows = [drawings, [np.asarray(m) for m in maps]]
    for name, pipe, given in (("edges", steered, {"image": maps}), ("thick lines", steered, {"image": thick}), ("neither", plain, {})):
        images = pipe(prompts, num_inference_steps=20, guidance_scale=7.5, generator=generators(), height=64, width=64, **given).images
        rows.append([np.asarray(image) for image in images])
        both = [compare(drawn, made) for drawn, made in zip(drawings, rows[-1])]
        colours = [judge(image) == judge(Image.fromarray(drawn)) for image, drawn in zip(images, drawings)]
        for i, (distance, share) in enumerate(both):
            if given and distance > NEAR:
                print(f"{name}, {i}: {prompts[i]}: {distance:.1f} pixels away, {share:.0%} in common")
        print(f"{name}: {sum(d <= NEAR for d, _ in both)}/{COUNT} within {NEAR} pixels, "
              f"{np.mean([share for _, share in both]):.0%} in common, both colours right in {sum(colours)}/{COUNT}")
    halves = [np.concatenate([np.concatenate(row[first:first + COUNT // 2], 1) for row in rows]) for first in (0, COUNT // 2)]
    Image.fromarray(np.concatenate(halves)).save(out / "grid.png")


if __name__ == "__main__":
    main(*sys.argv[1:3])
