"""Trains the bundled model: a small but complete Stable Diffusion (CLIP text encoder, UNet, VAE), saved in the diffusers layout.

    python train.py OUT [--vae-minutes 17] [--unet-minutes 60] [--init-from OUT/model] [--bfloat16]
    tfjs-diffusers convert OUT/model models/shapes

Needs torch, diffusers, transformers, pillow, numpy. What was learnt on the way: at these widths plain NCHW is faster than channels_last; a VAE of few
groups (4) learns colour, one of many does not; encode to the posterior's mean for the UNet.
"""
import argparse
import copy
import json
import math
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from scenes import dataset
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

# beta_end is above SD's 0.012: flat grounds leak through its last step (alpha_bar 0.0047), and the model then reads the ground from the noise, not
# from the prompt. With so little signal left at the end, predicting epsilon would blow small errors up 400 times: hence the velocity.
BETAS = dict(beta_start=0.00085, beta_end=0.03, beta_schedule="scaled_linear", num_train_timesteps=1000, prediction_type="v_prediction")
LATENT_SIZE, BATCH = 16, 32
SAMPLES = [
    "a red circle on a blue background", "a yellow star above a green square on a black background", "a large pink heart, white background",
    "a brown house to the left of a green tree on a cyan background", "an orange fish on blue", "a purple flower on a yellow background",
    "a small white moon on a black background", "a yellow face on a purple background",
]


def log(*words):
    print(time.strftime("%H:%M:%S"), *words, flush=True)


def to_tensor(images):
    """uint8 [n, 64, 64, 3] -> float32 [n, 3, 64, 64] in [-1, 1]"""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()


def average(ema, model, step, most):
    """Moves the moving average towards the model, faster while there have been few steps."""
    keep = min(most, (1 + step) / (10 + step))
    with torch.no_grad():
        for kept, now in zip(ema.parameters(), model.parameters()):
            kept.lerp_(now, 1 - keep)


def train_tokenizer(texts, folder, max_merges=400):
    """CLIP's byte-level BPE, learnt on the captions: 256 bytes, the same with </w>, merges, two specials."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    chars = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]
    words = Counter(w for t in texts for w in re.findall(r"[a-z]+|[^\sa-z]+", t.lower()))
    parts, merges = {w: (*w[:-1], w[-1] + "</w>") for w in words}, []
    while len(merges) < max_merges:
        pairs = Counter()
        for w, p in parts.items():
            for pair in zip(p, p[1:]):
                pairs[pair] += words[w]
        if not pairs:
            break
        best = max(pairs, key=lambda p: (pairs[p], p))
        merges.append(best)
        for w, p in parts.items():
            merged, i = [], 0
            while i < len(p):
                hit = p[i:i + 2] == best
                merged.append("".join(p[i:i + 2]) if hit else p[i])
                i += 2 if hit else 1
            parts[w] = tuple(merged)
    vocab = chars + [c + "</w>" for c in chars] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(vocab)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, merges), ""]))
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def train_vae(images, minutes):
    """images: uint8 [n, 64, 64, 3]. First on 32x32 crops, then whole; noise in the latents and an edge loss join on the way."""
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, sample_size=64, layers_per_block=1, norm_num_groups=4, block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3)
    optimizer, ema = torch.optim.Adam(vae.parameters(), betas=(0.9, 0.99)), copy.deepcopy(vae)
    rng, start, step = np.random.default_rng(0), time.time(), 0
    while (done := (time.time() - start) / (minutes * 60)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 1.5e-3 * min(1, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * done)) + 2e-5
        batch = images[rng.integers(0, len(images), 5 if done > 0.6 else 14)]
        if done <= 0.6:
            y, x = rng.integers(4, 29, 2)
            batch = batch[:, y:y + 32, x:x + 32]
        wanted = to_tensor(batch)
        posterior = vae.encode(wanted).latent_dist
        error = vae.decode(posterior.mean if done < 0.15 else posterior.sample()).sample - wanted
        loss = error.abs().mean() + (error * error).mean() + 2e-6 * posterior.kl().mean()
        if done > 0.3:
            loss = loss + error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        average(ema, vae, step, most=0.998)
        if step % 250 == 0:
            log("vae", step, f"loss {loss.item():.4f} l1 {error.abs().mean().item():.4f}")
        step += 1
    return ema.eval()


def new_networks(vocab_size):
    text_encoder = CLIPTextModel(CLIPTextConfig(
        vocab_size=vocab_size, hidden_size=128, intermediate_size=512, projection_dim=128, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=77, hidden_act="quick_gelu", bos_token_id=vocab_size - 2, eos_token_id=vocab_size - 1, pad_token_id=vocab_size - 1))
    unet = UNet2DConditionModel(
        sample_size=LATENT_SIZE, layers_per_block=1, block_out_channels=(64, 128, 128), norm_num_groups=16, attention_head_dim=4, cross_attention_dim=128,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"))
    return text_encoder, unet


def train_unet(unet, text_encoder, latents, ids, empty, minutes, learning_rate, bfloat16, save):
    """latents: scaled, [n, 4, 16, 16]; ids: token ids of their captions; empty: of no caption, which stands in for one in ten."""
    noiser, parameters = DDPMScheduler(**BETAS), [*unet.parameters(), *text_encoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.99), weight_decay=1e-4)
    unet_ema, text_ema = copy.deepcopy(unet), copy.deepcopy(text_encoder)
    start, saved, step, running = time.time(), time.time(), 0, 0.0
    while (done := (time.time() - start) / (minutes * 60)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1, (step + 1) / 200) * min(1, (1 - done) / 0.35 + 0.01)
        i = torch.randint(0, len(latents), (BATCH,))
        tokens = ids[i].clone()
        tokens[torch.rand(BATCH) < 0.1] = empty
        clean, noise, t = latents[i], torch.randn(BATCH, 4, LATENT_SIZE, LATENT_SIZE), torch.randint(0, 1000, (BATCH,))
        states = text_encoder(tokens)[0]
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            velocity = unet(noiser.add_noise(clean, noise, t), t, states).sample
        loss = F.mse_loss(velocity.float(), noiser.get_velocity(clean, noise, t))
        running = 0.98 * running + 0.02 * loss.item()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average(unet_ema, unet, step, most=0.998)
        average(text_ema, text_encoder, step, most=0.998)
        if step % 250 == 0:
            log("unet", step, f"loss {running / (1 - 0.98 ** (step + 1)):.4f}")
        if time.time() - saved > 600:
            saved = time.time()
            save(unet_ema, text_ema)
        step += 1
    save(unet_ema, text_ema)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--vae-minutes", type=float, default=17)
    parser.add_argument("--unet-minutes", type=float, default=60)
    parser.add_argument("--images", type=int, default=24000)
    parser.add_argument("--init-from", help="go on from a model in the diffusers layout; its VAE stays as it is")
    parser.add_argument("--learning-rate", type=float, default=1.2e-3)
    parser.add_argument("--bfloat16", action="store_true", help="the UNet in bfloat16 autocast: a third faster where the processor has it")
    args = parser.parse_args()
    torch.manual_seed(0)
    images, captions = dataset(args.images)
    if args.init_from:
        old = StableDiffusionPipeline.from_pretrained(args.init_from, torch_dtype=torch.float32, safety_checker=None)
        tokenizer, vae, text_encoder, unet = old.tokenizer, old.vae.eval(), old.text_encoder.train(), old.unet.train()
    else:
        tokenizer, vae = train_tokenizer(captions, args.out / "tokenizer"), train_vae(images, args.vae_minutes)
        text_encoder, unet = new_networks(len(tokenizer))
    with torch.no_grad():
        latents = torch.cat([vae.encode(to_tensor(images[i:i + 64])).latent_dist.mean for i in range(0, len(images), 64)])
    if not args.init_from:
        vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    latents *= vae.config.scaling_factor
    encode = lambda texts: torch.tensor(tokenizer(texts, padding="max_length", max_length=77, truncation=True).input_ids)

    def save(unet, text_encoder):
        scheduler = PNDMScheduler(**BETAS, set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1)
        scheduler.register_to_config(clip_sample=False)  # for the schedulers that would: latents go beyond 1
        pipe = StableDiffusionPipeline(vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None,
                                       feature_extractor=None, requires_safety_checker=False)
        pipe.save_pretrained(args.out / "model")
        generators = [torch.Generator().manual_seed(i) for i in range(len(SAMPLES))]
        pictures = pipe(SAMPLES, num_inference_steps=25, guidance_scale=5.0, generator=generators, output_type="np").images
        Image.fromarray((np.concatenate(pictures, 1) * 255).round().astype(np.uint8)).save(args.out / "samples.png")

    train_unet(unet, text_encoder, latents, encode(captions), encode([""])[0], args.unet_minutes, args.learning_rate, args.bfloat16, save)


if __name__ == "__main__":
    main()
