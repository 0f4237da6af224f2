"""What of inpainting the cases of `pipelines` leave open: which latents are encoded and drawn, masks of other modes, and parts of pictures that are
worked on alone. Takes the models of `pipelines`. With each case goes what its generator gives next."""
import io

import numpy as np
import torch
from diffusers import AutoencoderTiny, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from generate import HERE, channels_last, save
from parts.approximations import TINY_VAE
from parts.layers import randomize, weights
from parts.pipelines import ROAD, SECOND_UNET, STAR, TINY, mask, picture, quiet, seeded

# name -> options: how many steps of 4 (strength), and which of latents, masked image, latents as image; pictures and masks; the UNet's channels
DRAWS = {f"{unet}_{name}": dict(unet=unet, **options) for unet in ("four", "nine") for name, options in {
    "plain": dict(strength=0.5),
    "given_noise": dict(latents=True, strength=0.5),
    "given_noise_whole": dict(latents=True),
    "masked_latents": dict(masked=4, strength=0.5),
    "masked_pixels": dict(masked=3),
    "all_latents": dict(masked=4, image="latents", strength=0.75),
    "all_given": dict(masked=4, image="latents", latents=True, strength=0.5),
    "two_masks": dict(masks=2, strength=0.5),
    "two_of_both": dict(masks=2, images=2, strength=0.5),
    "tiny_vae": dict(vae="tiny", strength=0.5),
    "tiny_vae_given_noise": dict(vae="tiny", latents=True, strength=0.5),
}.items()}
MASK_MODES = ("RGBA", "LA", "P", "1", "L")
# name -> size of the picture (height, width), white part of its mask (top, bottom, left, right), padding, height and width to work at
CROPS = {
    "middle": ((40, 56), (10, 22, 20, 31), 4, (16, 16)), "wide": ((40, 56), (18, 21, 5, 50), 0, (16, 16)), "corner": ((37, 51), (0, 5, 40, 51), 3, (16, 24)),
    "tall": ((51, 23), (2, 49, 10, 12), 1, (16, 24)), "all": ((20, 30), (0, 20, 0, 30), 100, (24, 16)), "edge": ((41, 33), (30, 41, 0, 33), 2, (16, 24)),
    "odd": ((64, 19), (3, 60, 3, 15), 0, (14, 26)), "dot": ((30, 30), (7, 8, 9, 10), 0, (16, 16)),
}
PAINTED = {"middle": dict(unet="four"), "corner": dict(unet="nine", num_images_per_prompt=2), "tall": dict(unet="four", strength=0.6)}


def white(size, box):
    """A mask that is white in a box, with greys at two of its sides."""
    (height, width), (top, bottom, left, right) = size, box
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[top:bottom, left:right] = 255
    pixels[top, left:right], pixels[top:bottom, left] = 90, (10, 200, 60)
    return Image.fromarray(pixels)


def draw(pipe, name, options, tensors):
    generator, kwargs = seeded(20), dict(image=[picture(seed, 16, 16) for seed in range(options.get("images", 1))])
    kwargs["mask_image"] = [mask(16, 16), Image.fromarray(255 - np.asarray(mask(16, 16)))][:options.get("masks", 1)]
    kwargs["strength"] = options.get("strength", 1.0)
    images = max(options.get("images", 1), options.get("masks", 1))
    if "latents" in options:
        kwargs["latents"] = tensors["latents"].permute(0, 3, 1, 2)
    if options.get("image") == "latents":
        kwargs["image"] = tensors["image_latents"].permute(0, 3, 1, 2)
    if "masked" in options:
        kwargs["masked_image_latents"] = tensors["masked_latents" if options["masked"] == 4 else "masked_pixels"].permute(0, 3, 1, 2)
    out = pipe(STAR, num_images_per_prompt=images, num_inference_steps=4, generator=generator, output_type="latent", **kwargs).images
    tensors[f"{name}/out"], tensors[f"{name}/next"] = channels_last(out), torch.randn(3, generator=generator)


def mask_modes(pipe, tensors):
    source = mask(23, 37)
    alpha = Image.fromarray(np.clip(np.mgrid[:23, :37].sum(0) * 9 - 60, 0, 255).astype(np.uint8))
    for mode in MASK_MODES:
        file = io.BytesIO()
        image = source.convert("L" if mode == "LA" else "RGB")
        if mode.endswith("A"):
            image.putalpha(alpha)
        else:
            image = source.quantize(5) if mode == "P" else source.convert(mode)
        image.save(file, "PNG")
        tensors[f"mask_{mode}/png"] = np.frombuffer(file.getvalue(), np.uint8)
        tensors[f"mask_{mode}/out"] = channels_last(pipe.mask_processor.preprocess(Image.open(file), height=16, width=20))


def crops(pipes, tensors):
    processor = VaeImageProcessor(vae_scale_factor=2)
    for name, (size, box, padding, (height, width)) in CROPS.items():
        image, white_box, made = picture(7, *size), white(size, box), picture(8, height, width)
        region = processor.get_crop_region(white_box, width, height, pad=padding)
        filled = [processor._resize_and_fill(each.crop(region), width, height) for each in (image, white_box)]
        over = processor.apply_overlay(white_box, image, made, region)
        for key, value in dict(image=image, mask=white_box, made=made, filled=filled[0], filled_mask=filled[1], over=over).items():
            tensors[f"crop_{name}/{key}"] = np.asarray(value)[None]
        tensors[f"crop_{name}/region"] = np.array(region, np.int32)
    for name, options in PAINTED.items():
        size, box, padding, (height, width) = CROPS[name]
        kwargs = {key: value for key, value in options.items() if key != "unet"}
        out = pipes[options["unet"]](ROAD, image=picture(7, *size), mask_image=white(size, box), padding_mask_crop=padding, height=height, width=width,
                                     num_inference_steps=3, generator=seeded(21), **kwargs).images
        tensors[f"crop_{name}/out"] = np.stack([np.asarray(each) for each in out])


@torch.no_grad()
def generate():
    four = StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False)
    nine = UNet2DConditionModel.from_pretrained(HERE / SECOND_UNET, torch_dtype=torch.float32)
    tiny_vae = randomize(AutoencoderTiny(**{**TINY_VAE, "encoder_block_out_channels": (8,) * 2, "decoder_block_out_channels": (8,) * 2,
                                            "num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}))
    make = lambda **parts: quiet(StableDiffusionInpaintPipeline(**{**four.components, **parts}, requires_safety_checker=False))
    pipes = {"four": make(), "nine": make(unet=nine)}
    tensors = {f"vae/{key}": value for key, value in weights(tiny_vae).items()}
    shape = lambda channels, side: torch.randn(1, side, side, channels)
    tensors |= {"latents": shape(4, 8), "image_latents": shape(4, 8), "masked_latents": shape(4, 8), "masked_pixels": shape(3, 16).clip(-1, 1)}
    for name, options in DRAWS.items():
        pipe = pipes[options["unet"]]
        draw(make(unet=pipe.unet, vae=tiny_vae) if options.get("vae") else pipe, name, options, tensors)
    img2img, generator = quiet(StableDiffusionImg2ImgPipeline(**{**four.components, "vae": tiny_vae}, requires_safety_checker=False)), seeded(22)
    out = img2img(STAR, image=picture(0, 16, 16), strength=0.5, num_inference_steps=4, generator=generator, output_type="latent").images
    tensors["img2img_tiny_vae/out"], tensors["img2img_tiny_vae/next"] = channels_last(out), torch.randn(3, generator=generator)
    mask_modes(pipes["four"], tensors)
    crops(pipes, tensors)
    save("pipelines/inpaint_draws", tensors, {"draws": DRAWS, "mask_modes": MASK_MODES, "crops": CROPS, "painted": PAINTED})
