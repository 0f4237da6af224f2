"""Trains the ControlNet of the bundled model: edges, as Canny finds them or a pen draws them, say where the figures stand.

    python controlnet.py OUT [--steps 2000]        goes on from OUT/state.pt where there is one
    tfjs-diffusers convert OUT/controlnet models/shapes-controlnet --dtype float16

Needs torch, diffusers, transformers, pillow, numpy, opencv-python-headless. The bundled model itself stays as it is.
"""
import argparse
import copy
import random
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from bundled import pipeline
from diffusers import ControlNetModel, DDPMScheduler
from PIL import Image, ImageDraw
from scenes import COLOURS, DRAWN, FIGURES, SIZE, a, draw_figure, scene
from train import average, log, to_tensor

BATCH, LEARNING_RATE = 16, 1e-3


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
    encode = lambda texts: pipe.text_encoder(pipe.tokenizer(texts, padding="max_length", max_length=77, return_tensors="pt").input_ids)[0].half()
    for first in range(0, n, 64):
        scenes = [(placed if rng.random() < 0.5 else scene)(rng) for _ in range(min(64, n - first))]
        images = np.stack([np.asarray(image) for image, _ in scenes])
        states.append(encode([caption for _, caption in scenes]))
        maps += [edges(image) > 0 for image in images]
        latents.append(pipe.vae.encode(to_tensor(images)).latent_dist.mean * pipe.vae.config.scaling_factor)
    return torch.cat(latents), torch.from_numpy(np.stack(maps))[:, None], torch.cat([*states, encode([""])])


def train(controlnet, pipe, data, steps, out):
    (latents, maps, captions), unet = data, pipe.unet.requires_grad_(False)
    noiser, ema = DDPMScheduler.from_config(pipe.scheduler.config), copy.deepcopy(controlnet)
    optimizer = torch.optim.AdamW(controlnet.parameters(), betas=(0.9, 0.99), weight_decay=1e-4)
    first, running, saved, file = 0, 0.0, time.time(), out / "state.pt"
    if file.exists():
        state = torch.load(file)
        controlnet.load_state_dict(state["controlnet"]), ema.load_state_dict(state["ema"]), optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        first, running = state["step"], state["running"]
        log("goes on from step", first)
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / 200) * min(1, (1 - step / steps) / 0.35 + 0.01)
        i = torch.randint(0, len(latents), (BATCH,))
        states, picture = captions[torch.where(torch.rand(BATCH) < 0.2, len(latents), i)].float(), maps[i].float()
        thick = torch.rand(BATCH) < 0.4  # as a pen draws
        picture[thick] = F.max_pool2d(picture[thick], 3, 1, 1)
        clean, t = latents[i], (torch.rand(BATCH).sqrt() * 1000).long()  # more of much noise, where it is settled what stands where
        noise = torch.randn_like(clean)
        noisy = noiser.add_noise(clean, noise, t)
        down, mid = controlnet(noisy, t, states, picture.expand(-1, 3, -1, -1), return_dict=False)
        velocity = unet(noisy, t, states, down_block_additional_residuals=down, mid_block_additional_residual=mid).sample
        loss = F.mse_loss(velocity, noiser.get_velocity(clean, noise, t))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(controlnet.parameters(), 1.0)
        optimizer.step()
        average(ema, controlnet, step, most=0.998)
        running = 0.98 * running + 0.02 * loss.item()
        if step % 100 == 0:
            log(step, f"loss {running / (1 - 0.98 ** (step + 1)):.4f}")
        if time.time() - saved > 240 or step == steps - 1:
            saved = time.time()
            torch.save({"controlnet": controlnet.state_dict(), "ema": ema.state_dict(), "optimizer": optimizer.state_dict(),
                        "rng": torch.get_rng_state(), "step": step + 1, "running": running}, out / "state.part")
            (out / "state.part").replace(file)
            ema.save_pretrained(out / "controlnet")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--threads", type=int, help="all cores by default")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    pipe = pipeline()
    # three widths, for the pictures are four times as large as their latents
    controlnet = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(16, 32, 64)).train()
    file = args.out / f"data{args.images}.pt"
    if not file.exists():
        with torch.no_grad():
            torch.save(dataset(pipe, args.images), file)
        log("pictures", args.images)
    train(controlnet, pipe, torch.load(file), args.steps, args.out)


if __name__ == "__main__":
    main()
