"""Trains the ControlNet of the bundled model: edges, as Canny finds them or a pen draws them, say where the figures stand.

    python controlnet.py OUT [--steps 2000]        goes on from OUT/state.pt where there is one
    tfjs-diffusers convert OUT/controlnet models/shapes-controlnet --dtype float16

Needs torch, diffusers, transformers, pillow, numpy, opencv-python-headless. The bundled model itself stays as it is.
"""
import random

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from addition import encode_images, encode_texts, prepare, train
from diffusers import ControlNetModel
from PIL import Image, ImageDraw
from scenes import COLOURS, DRAWN, FIGURES, SIZE, a, draw_figure, scene


def placed(rng):
    """One figure anywhere, where `scene` keeps to the middle -> (PIL image of SIZE x SIZE, caption)"""
    ground, colour = rng.sample(list(COLOURS), 2)
    kind, r = rng.choice(FIGURES), rng.uniform(34, 80)
    image = Image.new("RGB", (DRAWN, DRAWN), COLOURS[ground])
    room = DRAWN / 2 - 1.15 * r
    draw_figure(ImageDraw.Draw(image), kind, *(DRAWN / 2 + rng.uniform(-room, room) for _ in "xy"), r, COLOURS[colour], COLOURS[ground])
    return image.resize((SIZE, SIZE), Image.LANCZOS), f"{a(f'{colour} {kind}')} on {a(ground)} background"


def edges(image):
    """uint8 [height, width, 3] -> uint8 [height, width], 255 on edges"""
    return cv2.Canny(image, 100, 200)


def dataset(pipe, n):
    """-> (scaled latents [n, 4, 16, 16], edges bool [n, 1, SIZE, SIZE], states of the captions float16 [n + 1, 77, 128], the last of none)"""
    rng, latents, maps, states = random.Random(7), [], [], []
    for first in range(0, n, 64):
        scenes = [(placed if rng.random() < 0.5 else scene)(rng) for _ in range(min(64, n - first))]
        images = np.stack([np.asarray(image) for image, _ in scenes])
        maps += [edges(image) > 0 for image in images]
        latents.append(encode_images(pipe, images))
        states.append(encode_texts(pipe, [caption for _, caption in scenes]))
    return torch.cat(latents), torch.from_numpy(np.stack(maps))[:, None], torch.cat([*states, encode_texts(pipe, [""])])


def main():
    args, pipe, (latents, maps, captions) = prepare(__doc__, 2000, dataset)
    # three widths, for the pictures are four times as large as their latents
    controlnet = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(16, 32, 64)).train()

    def draw(i):
        states, picture = captions[torch.where(torch.rand(len(i)) < 0.2, len(latents), i)].float(), maps[i].float()
        thick = torch.rand(len(i)) < 0.4  # as a pen draws
        picture[thick] = F.max_pool2d(picture[thick], 3, 1, 1)

        def predict(noisy, t):
            down, mid = controlnet(noisy, t, states, picture.expand(-1, 3, -1, -1), return_dict=False)
            return pipe.unet(noisy, t, states, down_block_additional_residuals=down, mid_block_additional_residual=mid).sample

        return predict, 0

    train(controlnet, pipe, latents, draw, args, lambda ema: ema.save_pretrained(args.out / "controlnet"))


if __name__ == "__main__":
    main()
