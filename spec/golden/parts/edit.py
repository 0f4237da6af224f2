"""What changes and enlarges pictures: InstructPix2Pix, of Stable Diffusion and of SDXL, depth to image, and the upscaler in pixels. UNets for the models of
`pipelines` and `sdxl` that see a picture, its depths or a small picture behind the latents, and what diffusers' pipelines make with them."""
import diffusers
import numpy as np
import torch
from diffusers import (AutoencoderKL, DDIMScheduler, DDPMScheduler, StableDiffusionDepth2ImgPipeline, StableDiffusionInstructPix2PixPipeline,
                       StableDiffusionPipeline, StableDiffusionUpscalePipeline, StableDiffusionXLInstructPix2PixPipeline, StableDiffusionXLPipeline,
                       UNet2DConditionModel)

from safetensors.torch import save_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from generate import HERE, channels_last, save
from parts import ip_adapter, sdxl
from parts.layers import randomize
from parts.pipelines import ROAD, STAR, TINY, UNET, VAE, picture, quiet, seeded

SMALL = dict(UNET, block_out_channels=(4, 8))
UNETS = {
    "edit": dict(SMALL, in_channels=8), "depth": dict(SMALL, in_channels=5),
    "upscale": dict(SMALL, in_channels=7, num_class_embeds=360, only_cross_attention=[True, False], use_linear_projection=True),
    "xl_edit": dict(sdxl.UNETS["base"], in_channels=8),
}
LARGE_VAE = dict(VAE, block_out_channels=(8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3, scaling_factor=0.08333)
# As the model's own: what the UNet denoises by, and how noise comes onto the small picture.
UPSCALE_SCHEDULER = dict(beta_start=0.0001, beta_end=0.02, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1,
                         prediction_type="v_prediction")
LOW_RES_SCHEDULER = dict(beta_start=0.0001, beta_end=0.02, beta_schedule="scaled_linear", clip_sample=True)
BOTH = [STAR, ROAD]
# name -> (prompt, options). image: seeds of pictures; size: of these; as_tensor: "pixels" or "latents"; latents: the seed of those to begin from;
# maps: seeds of depth maps; map_size: of these; picture: whether what is compared is pixels
PIX2PIX = {
    "default": (STAR, dict(seeds=0, steps=5)),
    "scales": (ROAD, dict(seeds=1, steps=4, guidance_scale=4.0, image_guidance_scale=2.3, negative_prompt="red")),
    "image_scale_1": (STAR, dict(seeds=2, steps=4, image_guidance_scale=1.0)),
    "image_scale_below_1": (STAR, dict(seeds=3, steps=4, image_guidance_scale=0.9)),
    "unguided": (ROAD, dict(seeds=4, steps=4, guidance_scale=1.0, image_guidance_scale=3.0)),
    "odd": (ROAD, dict(seeds=5, steps=4, size=(19, 33))),
    "list": (BOTH, dict(seeds=[6, 7, 8, 9], steps=4, image=[1, 2], num_images_per_prompt=2, negative_prompt=["red", "blue"])),
    "one_for_all": (BOTH, dict(seeds=10, steps=4, image=[1], image_guidance_scale=1.2)),
    "pixels": (STAR, dict(seeds=11, steps=4, as_tensor="pixels", size=(12, 20))),
    "latents": (STAR, dict(seeds=12, steps=4, as_tensor="latents")),
    "given_noise": (STAR, dict(seeds=13, steps=4, latents=14)),
    "picture": (ROAD, dict(seeds=15, steps=3, picture=True)),
    **{name: (STAR, dict(seeds=16, steps=5, scheduler=[name, {}])) for name in (
        "DDIMScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "UniPCMultistepScheduler")},
    "own_config": (STAR, dict(seeds=17, steps=4, scheduler=["DDIMScheduler", dict(steps_offset=0, clip_sample=True)])),
}
XL_PIX2PIX = {
    "default": (STAR, dict(seeds=0, steps=4)),
    "scales": (ROAD, dict(seeds=1, steps=4, guidance_scale=3.0, image_guidance_scale=2.1, negative_prompt="red", prompt_2=STAR)),
    "sized": (ROAD, dict(seeds=2, steps=4, size=(23, 31), height=12, width=20, guidance_rescale=0.6, **sdxl.SIZES)),
    "below_1": (STAR, dict(seeds=3, steps=4, image_guidance_scale=0.5)),
    "list": (BOTH, dict(seeds=[4, 5, 6, 7], steps=3, image=[1, 2], num_images_per_prompt=2)),
    "cosxl": (STAR, dict(seeds=8, steps=4, cosxl=True)),
    "end": (STAR, dict(seeds=9, steps=6, denoising_end=0.6)),
}
DEPTH = {
    "default": (STAR, dict(seeds=0, steps=5)),
    "weak": (ROAD, dict(seeds=1, steps=6, strength=0.4, negative_prompt="red")),
    "whole": (ROAD, dict(seeds=2, steps=4, strength=1.0, guidance_scale=1.0)),
    "odd": (ROAD, dict(seeds=3, steps=4, size=(19, 33), map_size=(11, 7))),
    "small_map": (STAR, dict(seeds=4, steps=4, map_size=(3, 5))),
    "large_map": (STAR, dict(seeds=5, steps=4, map_size=(41, 37))),
    "list": (BOTH, dict(seeds=[6, 7, 8, 9], steps=4, image=[1, 2], maps=[3, 4], num_images_per_prompt=2, strength=0.7)),
    "one_map": (BOTH, dict(seeds=10, steps=4, image=[1, 2])),
    "picture": (ROAD, dict(seeds=11, steps=4, picture=True)),
    "euler": (STAR, dict(seeds=12, steps=5, strength=0.6, scheduler=["EulerDiscreteScheduler", {}])),
    "own_config": (STAR, dict(seeds=13, steps=5, scheduler=["DDIMScheduler", dict(steps_offset=0, clip_sample=True)])),
}
UPSCALE = {
    "default": (STAR, dict(seeds=0, steps=5, size=(8, 12))),
    "no_noise": (ROAD, dict(seeds=1, steps=4, size=(8, 8), noise_level=0, negative_prompt="red")),
    "much_noise": (ROAD, dict(seeds=2, steps=4, size=(12, 8), noise_level=350, guidance_scale=4.0)),
    "unguided": (STAR, dict(seeds=3, steps=4, size=(8, 8), guidance_scale=1.0, noise_level=57)),
    "bicubic": (ROAD, dict(seeds=4, steps=4, size=(13, 11))),
    "list": (BOTH, dict(seeds=[5, 6, 7, 8], steps=3, size=(8, 8), image=[1, 2], num_images_per_prompt=2)),
    "one_generator": (BOTH, dict(seeds=9, steps=3, size=(8, 8), image=[1, 2])),
    "pixels": (STAR, dict(seeds=10, steps=3, size=(9, 14), as_tensor="pixels")),
    "given_noise": (STAR, dict(seeds=11, steps=3, size=(8, 8), latents=12)),
    "picture": (ROAD, dict(seeds=13, steps=3, size=(8, 12), picture=True)),
    "ddpm": (STAR, dict(seeds=14, steps=4, size=(8, 8), scheduler=["DDPMScheduler", {}])),
    "euler": (STAR, dict(seeds=15, steps=4, size=(8, 8), scheduler=["EulerDiscreteScheduler", {}])),
}
OURS = ("seeds", "steps", "scheduler", "image", "size", "as_tensor", "latents", "maps", "map_size", "picture", "cosxl")


def depths(seed, height, width):
    """A map as an estimator gives one, of whole numbers, to be a grey picture too."""
    return np.asarray(picture(seed, height, width).convert("L"))


def unets(names):
    """Kept in half precision, and read again in single. What they predict is small, so that much guidance does not make the last digits loud."""
    made = {}
    for name in names:
        folder = HERE / f"pipelines/unet_{name}"
        unet = randomize(UNet2DConditionModel(**UNETS[name]))
        unet.conv_out.weight *= 0.25
        unet.half().save_pretrained(folder)
        made[name] = UNet2DConditionModel.from_pretrained(folder, torch_dtype=torch.float32)
    return made


def run(kind, pipe, own, name, prompt, options, tensors):
    kwargs = {k: v for k, v in options.items() if k not in OURS}
    scheduler, overrides = options.get("scheduler", [type(own).__name__, {}])
    pipe.scheduler = getattr(diffusers, scheduler).from_config({**own.config, **overrides})
    key, size = f"{kind}/{name}", options.get("size", (16, 16))
    pictures = [picture(seed, *size) for seed in options.get("image", [3])]
    tensors[f"{key}/image"] = np.stack([np.asarray(each) for each in pictures])
    kwargs["image"] = pictures if len(pictures) > 1 or kind != "upscale" else pictures[0]
    if options.get("as_tensor") == "pixels":
        kwargs["image"] = torch.from_numpy(tensors[f"{key}/image"] / np.float32(255)).permute(0, 3, 1, 2)
    if options.get("as_tensor") == "latents":
        kwargs["image"] = torch.randn(1, 4, 8, 8, generator=seeded(99))
        tensors[f"{key}/image"] = channels_last(kwargs["image"])
    if "latents" in options:
        kwargs["latents"] = torch.randn(1, 4, 8, 8, generator=seeded(options["latents"]))
        tensors[f"{key}/latents"] = channels_last(kwargs["latents"])
    if kind == "depth":
        maps = np.stack([depths(seed, *options.get("map_size", (9, 14))) for seed in options.get("maps", [5])])
        tensors[f"{key}/maps"] = maps
        kwargs["depth_map"] = torch.from_numpy(maps.astype(np.float32))
    if options.get("cosxl"):
        pipe.is_cosxl_edit = True
    out = pipe(prompt, generator=seeded(options["seeds"]), num_inference_steps=options["steps"], output_type="pt" if options.get("picture") else "latent",
               **kwargs).images
    pipe.is_cosxl_edit = False
    tensors[f"{key}/out"] = channels_last(out)


# What InstructPix2Pix makes led by another picture, through an IP-Adapter.
LED = {"led": (STAR, dict(seeds=20, steps=4)), "led_unguided": (ROAD, dict(seeds=21, steps=3, image_guidance_scale=0.5))}


def led(pipe, own, tensors):
    state = ip_adapter.adapter(pipe.unet, "base", ip_adapter.EMBEDS, ip_adapter.HIDDEN)
    save_file(ip_adapter.flat(state), HERE / "pipelines/edit_ip_adapter.safetensors")
    size = ip_adapter.VISION["image_size"]
    pipe.register_modules(feature_extractor=CLIPImageProcessorPil(size=size, crop_size=size))
    pipe.load_ip_adapter(str(HERE / "pipelines"), subfolder="", weight_name="edit_ip_adapter.safetensors", image_encoder_folder="ip_adapter/image_encoder")
    tensors["edit/leading"] = np.asarray(picture(8, 20, 17))[None]
    for name, (prompt, options) in LED.items():
        run("edit", pipe, own, name, prompt, dict(options, ip_adapter_image=picture(8, 20, 17)), tensors)


@torch.no_grad()
def generate():
    base = StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False)
    xl = StableDiffusionXLPipeline.from_pretrained(sdxl.FOLDER, torch_dtype=torch.float32, add_watermarker=False)
    made = unets(UNETS)
    folder = HERE / "pipelines/vae_upscale"
    randomize(AutoencoderKL(**LARGE_VAE)).half().save_pretrained(folder)
    vae = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32)

    shared = dict(vae=base.vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer, scheduler=base.scheduler)
    edit = quiet(StableDiffusionInstructPix2PixPipeline(**shared, unet=made["edit"], safety_checker=None, feature_extractor=None, requires_safety_checker=False))
    depth = quiet(StableDiffusionDepth2ImgPipeline(**shared, unet=made["depth"], depth_estimator=None, feature_extractor=None))
    upscale = quiet(StableDiffusionUpscalePipeline(
        **{**shared, "vae": vae, "scheduler": DDIMScheduler(**UPSCALE_SCHEDULER)}, unet=made["upscale"], low_res_scheduler=DDPMScheduler(**LOW_RES_SCHEDULER)))
    xl_edit = sdxl.quiet(StableDiffusionXLInstructPix2PixPipeline(
        vae=xl.vae, text_encoder=xl.text_encoder, text_encoder_2=xl.text_encoder_2, tokenizer=xl.tokenizer, tokenizer_2=xl.tokenizer_2, unet=made["xl_edit"],
        scheduler=xl.scheduler, add_watermarker=False))
    tensors, kinds = {}, {"edit": (edit, PIX2PIX), "xl_edit": (xl_edit, XL_PIX2PIX), "depth": (depth, DEPTH), "upscale": (upscale, UPSCALE)}
    for kind, (pipe, cases) in kinds.items():
        own = pipe.scheduler
        for name, (prompt, options) in cases.items():
            run(kind, pipe, own, name, prompt, options, tensors)
    led(edit, base.scheduler, tensors)
    save("pipelines/edit", tensors, {**{kind: cases for kind, (_, cases) in kinds.items()},
                                     "led": LED, "schedulers": {"upscale": UPSCALE_SCHEDULER, "low_res": LOW_RES_SCHEDULER}})
