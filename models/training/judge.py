"""Does a picture show what its prompt says? The colours of ground and figure, by pixels; the shape is for eyes.

    python judge.py MODEL OUT        MODEL in the diffusers layout; writes 60 pictures of single figures and a grid to OUT, prints both shares
"""
import random
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image
from scenes import COLOURS, FIGURES, SIZE, a

NAMES, VALUES = list(COLOURS), np.array(list(COLOURS.values()), float)


def nearest(rgb):
    return NAMES[int(((VALUES - rgb) ** 2).sum(1).argmin())]


def judge(image):
    """-> the names of the ground's and the figure's colour; of the figure None where the picture is flat."""
    pixels = np.asarray(image.convert("RGB"), float)
    height, width, _ = pixels.shape
    m = max(2, height // 12)
    rim = np.concatenate([edge.reshape(-1, 3) for edge in (pixels[:m], pixels[-m:], pixels[:, :m], pixels[:, -m:])])
    ground = np.median(rim, 0)
    differs = pixels[np.abs(pixels - ground).max(2) > 48]
    if len(differs) < 0.01 * height * width:
        return nearest(ground), None
    votes = [nearest(p) for p in differs[:: max(1, len(differs) // 400)]]
    return nearest(ground), max(set(votes), key=votes.count)


def figure(pixels):
    """uint8 [height, width, 3] -> bool [height, width]: what is not the ground"""
    pixels = pixels.astype(int)
    rim = np.concatenate([pixels[:3].reshape(-1, 3), pixels[-3:].reshape(-1, 3), pixels[:, :3].reshape(-1, 3), pixels[:, -3:].reshape(-1, 3)])
    return np.abs(pixels - np.median(rim, 0)).max(2) > 48


def main(model, out, count=60, batch=20):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(4242)
    cases = [(*rng.sample(NAMES, 2), FIGURES[i % len(FIGURES)]) for i in range(count)]  # ground, colour, figure
    prompts = [f"{a(f'{colour} {figure}')} on {a(ground)} background" for ground, colour, figure in cases]
    pipe = StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    grid, grounds, figures = Image.new("RGB", (SIZE * 12, SIZE * -(-count // 12))), 0, 0
    for first in range(0, count, batch):
        generators = [torch.Generator().manual_seed(1000 + i) for i in range(first, first + batch)]
        images = pipe(prompts[first:first + batch], num_inference_steps=20, guidance_scale=7.5, generator=generators).images
        for i, image in enumerate(images, first):
            image.save(out / f"{i}.png")
            grid.paste(image, (SIZE * (i % 12), SIZE * (i // 12)))
            ground, colour, _ = cases[i]
            seen = judge(image)
            grounds, figures = grounds + (seen[0] == ground), figures + (seen[1] == colour)
            if seen != (ground, colour):
                print(f"{i}: {prompts[i]}: seen {seen[1]} on {seen[0]}")
    grid.save(out / "grid.png")
    print(f"ground {grounds}/{count}, figure colour {figures}/{count}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
