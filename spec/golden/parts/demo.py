"""One forward pass of each network of the bundled model, by diffusers on the same weights."""
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from generate import channels_last, save
from parts.images import load


def generate():
    unet, vae, text_encoder = load(UNet2DConditionModel, "unet"), load(AutoencoderKL, "vae"), load(CLIPTextModel, "text_encoder")
    ids = torch.randint(0, text_encoder.config.vocab_size, (2, 77))
    tensors, timesteps = {}, [951, [1, 500]]
    with torch.no_grad():
        tensors["text"] = text_encoder(ids).last_hidden_state
        for i, (timestep, size) in enumerate(zip(timesteps, ((16, 16), (9, 14)))):
            sample = torch.randn(2, 4, *size)
            tensors |= {f"{i}/sample": channels_last(sample), f"{i}/predicted": channels_last(unet(sample, torch.tensor(timestep), tensors["text"]).sample),
                        f"{i}/decoded": channels_last(vae.decode(sample).sample)}
    save("models/demo", tensors, {"inputIds": ids.tolist(), "timesteps": timesteps})
