"""A small VAE whose images are larger than its tiles: encoded and decoded tile by tile, the seams blended."""
import torch
from diffusers import AutoencoderKL

from generate import channels_last, save
from parts.layers import randomize, weights

CONFIG = dict(block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
              layers_per_block=1, norm_num_groups=4, latent_channels=4, sample_size=16)
# Latents; tiles are 8 x 8, 6 apart. Two and a bit rows of three and a bit; a row that is lower than the overlap; one row; one tile.
SIZES = ((2, 14, 20), (1, 13, 7), (1, 8, 11), (1, 8, 8))


@torch.no_grad()
def generate():
    vae = randomize(AutoencoderKL(**CONFIG))
    vae.enable_tiling()
    tensors = {f"weights/{k}": v for k, v in weights(vae).items()}
    for run, (batch, height, width) in enumerate(SIZES):
        image, latents = torch.randn(batch, 3, 2 * height, 2 * width), torch.randn(batch, 4, height, width)
        latent_dist = vae.encode(image).latent_dist
        tensors.update({f"{run}/{k}": channels_last(v) for k, v in dict(
            image=image, mean=latent_dist.mean, logvar=latent_dist.logvar, latents=latents, decoded=vae.decode(latents).sample).items()})
    save("models/vae_tiling", tensors, {"config": {k: v for k, v in vae.config.items() if not k.startswith("_")}, "runs": len(SIZES)})
