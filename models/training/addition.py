"""What trains networks that are added to the bundled model, which itself stays as it is."""
import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from bundled import pipeline
from diffusers import DDPMScheduler
from train import average, log, to_tensor

BATCH, LEARNING_RATE = 16, 1e-3


def prepare(description, steps, dataset):
    """Reads the command line. dataset: of a pipeline and how many pictures, to tensors; made once and kept in OUT -> (arguments, pipeline, its tensors)"""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--threads", type=int, help="all cores by default")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    pipe = pipeline()
    pipe.unet.requires_grad_(False)
    file = args.out / f"data{args.images}.pt"
    if not file.exists():
        with torch.no_grad():
            torch.save(dataset(pipe, args.images), file)
        log("pictures", args.images)
    return args, pipe, torch.load(file)


def encode_images(pipe, images):
    """uint8 [n, SIZE, SIZE, 3] -> scaled latents [n, 4, 16, 16]"""
    return pipe.vae.encode(to_tensor(images)).latent_dist.mean * pipe.vae.config.scaling_factor


def encode_texts(pipe, texts):
    """-> states float16 [n, 77, 128]"""
    return pipe.text_encoder(pipe.tokenizer(texts, padding="max_length", max_length=77, return_tensors="pt").input_ids)[0].half()


def train(network, pipe, latents, draw, args, save):
    """
    Goes on from OUT/state.pt where there is one. latents: of the pictures that the model is to draw; draw: of the indices of a batch, to what predicts
    the velocity of noisy latents at timesteps, and a loss of its own; save: is given the moving average of the network, now and then.
    """
    noiser, ema = DDPMScheduler.from_config(pipe.scheduler.config), copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99), weight_decay=1e-4)
    first, running, saved, file = 0, 0.0, time.time(), args.out / "state.pt"
    if file.exists():
        state = torch.load(file)
        network.load_state_dict(state["network"]), ema.load_state_dict(state["ema"]), optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        first, running = state["step"], state["running"]
        log("goes on from step", first)
    for step in range(first, args.steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / 200) * min(1, (1 - step / args.steps) / 0.35 + 0.01)
        i = torch.randint(0, len(latents), (BATCH,))
        predict, own_loss = draw(i)
        clean, t = latents[i], (torch.rand(BATCH).sqrt() * 1000).long()  # more of much noise, where it is settled what stands where
        noise = torch.randn_like(clean)
        loss = F.mse_loss(predict(noiser.add_noise(clean, noise, t), t), noiser.get_velocity(clean, noise, t))
        optimizer.zero_grad()
        (loss + own_loss).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average(ema, network, step, most=0.998)
        running = 0.98 * running + 0.02 * loss.item()
        if step % 100 == 0:
            log(step, f"loss {running / (1 - 0.98 ** (step + 1)):.4f}")
        if time.time() - saved > 240 or step == args.steps - 1:
            saved = time.time()
            torch.save({"network": network.state_dict(), "ema": ema.state_dict(), "optimizer": optimizer.state_dict(),
                        "rng": torch.get_rng_state(), "step": step + 1, "running": running}, args.out / "state.part")
            (args.out / "state.part").replace(file)
            save(ema)
