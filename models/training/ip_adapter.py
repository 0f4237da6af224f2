"""Trains the IP-Adapter of the bundled model, and its image encoder: a picture lends its colours to what the prompt says.

    python ip_adapter.py OUT [--steps 2400]        goes on from OUT/state.pt where there is one
    cp -r OUT/ip-adapter/* models/shapes-ip-adapter        whose files.json says how large they are

Needs torch, diffusers, transformers, pillow, numpy. The bundled model itself stays as it is.
"""
import random
import re

import numpy as np
import torch
import torch.nn.functional as F
from addition import encode_images, encode_texts, prepare, train
from safetensors.torch import save_file
from scenes import COLOURS, SIZE, scene
from torch import nn
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

TOKENS, FEATURES = 4, 64
PAIRS = [(ground, colour) for ground in COLOURS for colour in COLOURS if ground != colour]
NAMES = {name: i for i, name in enumerate(COLOURS)}


def plain(caption):
    """'a small red star above a red heart on blue' -> 'a small star above a heart'"""
    return re.sub(rf"\ban? (small |large |)({'|'.join(COLOURS)}) ", r"a \1", re.split(r" on |, ", caption)[0])


def to_pixels(images):
    """uint8 [n, SIZE, SIZE, 3] -> float32 [n, 3, SIZE, SIZE], as CLIPImageProcessor gives pictures of this size"""
    mean, std = torch.tensor(CLIPImageProcessor().image_mean), torch.tensor(CLIPImageProcessor().image_std)
    return ((images / 255 - mean) / std).permute(0, 3, 1, 2)


def dataset(pipe, n):
    """-> (scaled latents [n, 4, 16, 16], states of the captions float16 [n + 1, 77, 128], the last of none, pictures uint8 [n, SIZE, SIZE, 3],
    and of each which of PAIRS its colours are)"""
    rng, latents, states, pictures = random.Random(11), [], [], []
    pairs = [i % len(PAIRS) for i in range(n)]
    for first in range(0, n, 64):
        scenes = [scene(rng, *PAIRS[pair]) for pair in pairs[first:first + 64]]
        captions = [caption if rng.random() < 0.2 else plain(caption) for _, caption in scenes]
        pictures.append(np.stack([np.asarray(image) for image, _ in scenes]))
        latents.append(encode_images(pipe, pictures[-1]))
        states.append(encode_texts(pipe, captions))
    return torch.cat(latents), torch.cat([*states, encode_texts(pipe, [""])]), torch.from_numpy(np.concatenate(pictures)), torch.tensor(pairs)


class IPAdapter(nn.Module):
    """The image encoder, the parts that diffusers adds to the UNet of `pipe`, and what names colours, which is for the training alone."""

    def __init__(self, pipe):
        super().__init__()
        self.encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(
            image_size=SIZE, patch_size=8, hidden_size=FEATURES, intermediate_size=4 * FEATURES, projection_dim=FEATURES, num_hidden_layers=3,
            num_attention_heads=4))
        paths = [path for path in pipe.unet.attn_processors if "attn2" in path]
        text = pipe.unet.state_dict()
        weight = lambda path, part: text[path.replace("processor", f"{part}.weight")].clone()
        size = pipe.unet.config.cross_attention_dim
        projection, norm = nn.Linear(FEATURES, TOKENS * size), nn.LayerNorm(size)
        pipe.load_ip_adapter({
            "image_proj": {"proj.weight": projection.weight.data, "proj.bias": projection.bias.data, "norm.weight": norm.weight.data, "norm.bias": norm.bias.data},
            # at first a picture is attended to as the text is
            "ip_adapter": {f"{2 * i + 1}.{part}_ip.weight": weight(path, part) for i, path in enumerate(paths) for part in ("to_k", "to_v")},
        }, subfolder=None, weight_name=None, image_encoder_folder=None)
        self.projection = pipe.unet.encoder_hid_proj.requires_grad_(True)
        self.attentions = nn.ModuleList([pipe.unet.attn_processors[path].requires_grad_(True) for path in paths])
        self.names = nn.Linear(FEATURES, 2 * len(COLOURS))

    def save(self, folder):
        """In the layout of the IP-Adapters' authors, which diffusers loads."""
        image = self.projection.image_projection_layers[0]
        tensors = {f"image_proj.{ours}.{kind}": getattr(getattr(image, theirs), kind)
                   for ours, theirs in (("proj", "image_embeds"), ("norm", "norm")) for kind in ("weight", "bias")}
        for i, attention in enumerate(self.attentions):
            for part in ("to_k_ip", "to_v_ip"):
                tensors[f"ip_adapter.{2 * i + 1}.{part}.weight"] = getattr(attention, part)[0].weight
        folder.mkdir(parents=True, exist_ok=True)
        save_file({key: tensor.data.half().contiguous() for key, tensor in tensors.items()}, folder / "ip_adapter.safetensors")
        encoder = CLIPVisionModelWithProjection(self.encoder.config)
        encoder.load_state_dict(self.encoder.state_dict())
        encoder.half().save_pretrained(folder / "image_encoder")


def main():
    args, pipe, (latents, captions, pictures, pairs) = prepare(__doc__, 2400, dataset)
    adapter = IPAdapter(pipe).train()
    alike = [torch.nonzero(pairs == pair)[:, 0] for pair in range(len(PAIRS))]
    grounds, colours = (torch.tensor([NAMES[pair[k]] for pair in PAIRS]) for k in (0, 1))

    def draw(i):
        n = len(i)
        pair = pairs[i]
        others = torch.stack([alike[p][torch.randint(0, len(alike[p]), ())] for p in pair])
        states = captions[torch.where(torch.rand(n) < 0.1, len(latents), i)].float()
        pixels = to_pixels(pictures[others])
        pixels = pixels + 0.15 * torch.randn(n, 3, 1, 1) + 0.2 * torch.rand(n, 1, 1, 1) * torch.randn_like(pixels)  # other shades, and grain
        embeds = adapter.encoder(pixels).image_embeds
        kept = (torch.rand(n, 1) >= 0.1) * embeds  # zeros are what stands for no picture
        ground, colour = adapter.names(embeds).chunk(2, 1)
        named = F.cross_entropy(ground, grounds[pair]) + F.cross_entropy(colour, colours[pair])
        predict = lambda noisy, t: pipe.unet(noisy, t, states, added_cond_kwargs={"image_embeds": [kept[:, None]]}).sample
        return predict, 0.05 * named

    train(adapter, pipe, latents, draw, args, lambda ema: ema.save(args.out / "ip-adapter"))


if __name__ == "__main__":
    main()
