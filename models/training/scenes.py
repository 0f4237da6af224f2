"""Procedural captioned pictures: coloured figures on coloured grounds, alone or in pairs.

    python scenes.py        writes scenes.png, sixteen of them, and prints their captions
"""
import math
import random

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {
    "red": (220, 40, 40), "green": (40, 160, 60), "blue": (40, 80, 220), "yellow": (245, 215, 50), "orange": (245, 140, 30), "purple": (130, 50, 170),
    "pink": (245, 140, 185), "cyan": (60, 205, 220), "black": (20, 20, 25), "white": (245, 245, 245), "gray": (128, 128, 132), "brown": (130, 80, 40),
}
FIGURES = ["circle", "square", "triangle", "star", "heart", "diamond", "ring", "cross", "hexagon", "moon", "house", "tree", "flower", "face", "fish", "mushroom"]
SIZE = 64
DRAWN = 4 * SIZE  # drawn larger, then scaled down for smooth edges


def polygon(n, cx, cy, r, start=-math.pi / 2, inner=None):
    """n corners on a circle; with `inner`, as many between them on a smaller one: a star."""
    count = n * (2 if inner else 1)
    radius = lambda i: r if not inner or i % 2 == 0 else inner
    return [(cx + radius(i) * math.cos(start + 2 * math.pi * i / count), cy + radius(i) * math.sin(start + 2 * math.pi * i / count)) for i in range(count)]


def draw_figure(d, kind, cx, cy, r, colour, ground):
    box = lambda x0, y0, x1, y1: [cx + r * x0, cy + r * y0, cx + r * x1, cy + r * y1]  # in units of r around the centre
    corners = lambda *points: [(cx + r * x, cy + r * y) for x, y in points]
    dark = tuple(int(v * 0.55) for v in colour)
    if kind == "circle":
        d.ellipse(box(-1, -1, 1, 1), fill=colour)
    elif kind == "square":
        d.rectangle(box(-0.88, -0.88, 0.88, 0.88), fill=colour)
    elif kind == "triangle":
        d.polygon(polygon(3, cx, cy + r * 0.15, r * 1.1), fill=colour)
    elif kind == "star":
        d.polygon(polygon(5, cx, cy, r * 1.1, inner=r * 0.45), fill=colour)
    elif kind == "diamond":
        d.polygon(corners((0, -1.1), (0.8, 0), (0, 1.1), (-0.8, 0)), fill=colour)
    elif kind == "hexagon":
        d.polygon(polygon(6, cx, cy, r, start=0), fill=colour)
    elif kind == "heart":
        turns = [i * 2 * math.pi / 60 for i in range(60)]
        curve = lambda t: (1.04 * math.sin(t) ** 3, -0.065 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)))
        d.polygon(corners(*map(curve, turns)), fill=colour)
    elif kind == "ring":
        d.ellipse(box(-1, -1, 1, 1), fill=colour)
        d.ellipse(box(-0.55, -0.55, 0.55, 0.55), fill=ground)
    elif kind == "cross":
        d.rectangle(box(-1, -0.34, 1, 0.34), fill=colour)
        d.rectangle(box(-0.34, -1, 0.34, 1), fill=colour)
    elif kind == "moon":
        d.ellipse(box(-1, -1, 1, 1), fill=colour)
        d.ellipse(box(-0.45, -1.05, 1.4, 0.8), fill=ground)
    elif kind == "house":
        d.rectangle(box(-0.8, -0.15, 0.8, 1), fill=colour)
        d.polygon(corners((-1, -0.15), (0, -1), (1, -0.15)), fill=dark)
        d.rectangle(box(-0.2, 0.35, 0.2, 1), fill=dark)
    elif kind == "tree":
        d.rectangle(box(-0.16, 0.2, 0.16, 1), fill=COLOURS["brown"])
        d.ellipse(box(-0.75, -1, 0.75, 0.45), fill=colour)
    elif kind == "flower":
        for x, y in polygon(6, cx, cy, r * 0.62):
            d.ellipse([x - r * 0.4, y - r * 0.4, x + r * 0.4, y + r * 0.4], fill=colour)
        d.ellipse(box(-0.32, -0.32, 0.32, 0.32), fill=COLOURS["orange" if colour == COLOURS["yellow"] else "yellow"])
    elif kind == "face":
        d.ellipse(box(-1, -1, 1, 1), fill=colour)
        for side in (-0.4, 0.4):
            d.ellipse(box(side - 0.13, -0.51, side + 0.13, -0.19), fill=ground)
        d.arc(box(-0.55, -0.45, 0.55, 0.6), 25, 155, fill=ground, width=max(3, int(r * 0.14)))
    elif kind == "fish":
        d.ellipse(box(-1, -0.5, 0.55, 0.5), fill=colour)
        d.polygon(corners((0.4, 0), (1, -0.5), (1, 0.5)), fill=colour)
        d.ellipse(box(-0.68, -0.2, -0.48, 0), fill=ground)
    elif kind == "mushroom":
        d.rectangle(box(-0.25, 0, 0.25, 1), fill=(235, 220, 195))
        d.pieslice(box(-1, -0.9, 1, 0.9), 180, 360, fill=colour)


def a(words):
    return ("an " if words[0] in "aeiou" else "a ") + words


def scene(rng, ground_name=None, figure_name=None):
    """-> (PIL image of SIZE x SIZE, caption); of the colours of these names, if they are given"""
    ground_name = ground_name or rng.choice(list(COLOURS))
    ground = COLOURS[ground_name]
    image = Image.new("RGB", (DRAWN, DRAWN), ground)
    d = ImageDraw.Draw(image)
    colour_name = lambda: figure_name or rng.choice([name for name in COLOURS if name != ground_name])
    if rng.random() < 0.62:
        kind, colour, size = rng.choice(FIGURES), colour_name(), rng.choice(["", "", "small ", "large "])
        r = {"": rng.uniform(58, 70), "small ": rng.uniform(30, 38), "large ": rng.uniform(90, 102)}[size]
        shift = 18 if size == "small " else 10
        draw_figure(d, kind, DRAWN / 2 + rng.uniform(-shift, shift), DRAWN / 2 + rng.uniform(-shift, shift), r, COLOURS[colour], ground)
        caption = a(f"{size}{colour} {kind}")
    else:
        kinds, colours = (rng.choice(FIGURES), rng.choice(FIGURES)), (colour_name(), colour_name())
        r = rng.uniform(42, 52)
        relation = rng.choice(["above", "below", "left of", "right of", "and"])
        places = {"above": ((128, 70), (128, 186)), "below": ((128, 186), (128, 70)), "left of": ((70, 128), (186, 128)), "right of": ((186, 128), (70, 128))}
        for kind, colour, (x, y) in zip(kinds, colours, places[relation] if relation != "and" else rng.choice(list(places.values()))):
            draw_figure(d, kind, x + rng.uniform(-7, 7), y + rng.uniform(-7, 7), r, COLOURS[colour], ground)
        if rng.random() < 0.5 and relation.endswith("of"):
            relation = f"to the {relation}"
        caption = f"{a(f'{colours[0]} {kinds[0]}')} {relation} {a(f'{colours[1]} {kinds[1]}')}"
    caption += rng.choice([f" on {a(ground_name)} background", f" on {a(ground_name)} background", f" on {ground_name}", f", {ground_name} background"])
    return image.resize((SIZE, SIZE), Image.LANCZOS), caption


def dataset(n, seed=0):
    """-> (uint8 [n, SIZE, SIZE, 3], n captions)"""
    rng = random.Random(seed)
    scenes = [scene(rng) for _ in range(n)]
    return np.stack([np.asarray(image) for image, _ in scenes]), [caption for _, caption in scenes]


if __name__ == "__main__":
    images, captions = dataset(16, seed=1)
    print(*captions, sep="\n")
    Image.fromarray(np.concatenate([np.concatenate(row, 1) for row in images.reshape(2, 8, SIZE, SIZE, 3)], 0)).save("scenes.png")
