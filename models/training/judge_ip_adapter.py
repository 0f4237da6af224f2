"""Does the IP-Adapter lend colours to what the prompt says? By the pixels of ground and figure, and by the outline of the figure.

    python judge_ip_adapter.py OUT [FOLDER]        FOLDER: models/shapes-ip-adapter by default

Makes pictures of 30 prompts without colours, with a picture of another figure to take the style from, and without; writes a grid to OUT (the pictures to
take from, what comes of the prompt alone, of the prompt with its colours said, and of the pictures at two scales), and prints in how many both colours
are the picture's, and in how many the figure is most like the prompt's of all.
"""
import random
import sys
from pathlib import Path

import numpy as np
import torch
from bundled import MODEL, pipeline
from diffusers import DPMSolverMultistepScheduler
from judge import figure, judge
from PIL import Image, ImageDraw
from scenes import COLOURS, DRAWN, FIGURES, SIZE, a, draw_figure, scene

COUNT = 30


def outline(pixels):
    """uint8 [height, width, 3] -> bool [32, 32]: what is not the ground, cut out; None of nothing"""
    mask = figure(pixels)
    if not mask.any():
        return None
    (top, left), (bottom, right) = np.argwhere(mask).min(0), np.argwhere(mask).max(0) + 1
    return np.asarray(Image.fromarray(mask[top:bottom, left:right]).convert("L").resize((32, 32), Image.BILINEAR)) > 127


def drawn(kind):
    image = Image.new("RGB", (DRAWN, DRAWN), COLOURS["white"])
    draw_figure(ImageDraw.Draw(image), kind, DRAWN / 2, DRAWN / 2, 64, COLOURS["black"], COLOURS["white"])
    return np.asarray(image.resize((SIZE, SIZE), Image.LANCZOS))


OUTLINES = {kind: outline(drawn(kind)) for kind in FIGURES}


def seen(pixels):
    """The name of the figure whose outline is most like that in the picture."""
    found = outline(pixels)
    return None if found is None else max(FIGURES, key=lambda kind: (found & OUTLINES[kind]).sum() / (found | OUTLINES[kind]).sum())


def main(out, folder=MODEL.parent / "shapes-ip-adapter"):
    out, rng = Path(out), random.Random(777)
    out.mkdir(parents=True, exist_ok=True)
    cases = []
    for i in range(COUNT):
        kind, (ground, colour) = FIGURES[i % len(FIGURES)], rng.sample(list(COLOURS), 2)
        style, caption = scene(rng, ground, colour)
        while kind in caption:
            style, caption = scene(rng, ground, colour)
        cases.append((kind, ground, colour, style))
    kinds, grounds, colours, styles = zip(*cases)
    plain = [a(kind) for kind in kinds]
    said = [f"{a(f'{colour} {kind}')} on {a(ground)} background" for kind, ground, colour, _ in cases]
    pipe = pipeline()
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)

    def draw(prompts, styles=None):
        images = []
        for i, prompt in enumerate(prompts):  # one by one: of several, diffusers takes the pictures to count together
            given = {"ip_adapter_image": styles[i]} if styles else {}
            images += pipe(prompt, num_inference_steps=20, guidance_scale=7.5, generator=torch.Generator().manual_seed(1000 + i), **given).images
        return images

    rows = {"the pictures": styles}

    def tell(name, images):
        rows[name] = images
        right = [judge(image) == (ground, colour) for image, ground, colour in zip(images, grounds, colours)]
        figures = [seen(np.asarray(image)) == kind for image, kind in zip(images, kinds)]
        print(f"{name}: both colours the picture's in {sum(right)}/{COUNT}, the figure the prompt's in {sum(figures)}/{COUNT}", flush=True)

    tell("the prompt alone", draw(plain))
    tell("colours said", draw(said))
    pipe.load_ip_adapter(str(Path(folder).absolute()), subfolder="", weight_name="ip_adapter.safetensors")
    for scale in (1.0, 0.5):
        pipe.set_ip_adapter_scale(scale)
        tell(f"scale {scale}", draw(plain, styles))
    lines = [[np.asarray(image) for image in images] for images in rows.values()]
    halves = [np.concatenate([np.concatenate(line[first:first + COUNT // 2], 1) for line in lines]) for first in (0, COUNT // 2)]
    Image.fromarray(np.concatenate(halves)).save(out / "grid.png")


if __name__ == "__main__":
    main(*sys.argv[1:3])
