"""A random Stable Diffusion XL of 16 x 16 pixels, with UNets for it as a refiner's and an inpainting model's, and what diffusers' pipelines make with them."""
import shutil
import tempfile
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from generate import HERE, channels_last, save
from parts.layers import randomize
from parts.pipelines import ROAD, SCHEDULER, STAR, TEXT, VAE, mask, picture, seeded, tokenizer

FOLDER = HERE / "pipelines" / "tiny_xl"
BLOCKS = dict(block_out_channels=(4, 8), norm_num_groups=4, layers_per_block=1, attention_head_dim=[1, 2], transformer_layers_per_block=[1, 2], use_linear_projection=True,
              down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), sample_size=8)
TEXT1 = dict(TEXT, num_hidden_layers=3)
TEXT2 = dict(TEXT, hidden_size=8, intermediate_size=16, num_hidden_layers=4, hidden_act="gelu", projection_dim=12)
TOLD = dict(addition_embed_type="text_time", addition_time_embed_dim=4)
UNETS = {
    "base": dict(BLOCKS, **TOLD, cross_attention_dim=24, projection_class_embeddings_input_dim=6 * 4 + 12),
    "refiner": dict(BLOCKS, **TOLD, cross_attention_dim=8, projection_class_embeddings_input_dim=5 * 4 + 12),
    "nine": dict(BLOCKS, **TOLD, cross_attention_dim=24, projection_class_embeddings_input_dim=6 * 4 + 12, in_channels=9),
}
EULER, HEUN, DPM = "EulerDiscreteScheduler", "HeunDiscreteScheduler", "DPMSolverMultistepScheduler"
SIZES = dict(original_size=(10, 30), crops_coords_top_left=(3, 5), target_size=(32, 16))
AVOIDED = dict(negative_original_size=(4, 6), negative_crops_coords_top_left=(1, 2), negative_target_size=(20, 16))
SPREAD = dict(latents_mean=[0.1, -0.2, 0.05, 0.3], latents_std=[1.5, 0.5, 2.0, 0.8])
# name -> (prompt, options). model: whose UNet; image: seeds of pictures; latents: the seed of those to begin from; spread: latents_mean and latents_std
TEXT2IMG = {
    "euler": (STAR, dict(seeds=0, steps=5)),
    "second_prompt": (STAR, dict(seeds=1, steps=4, prompt_2=ROAD, negative_prompt="red", negative_prompt_2="a tree")),
    "empty_negative": (ROAD, dict(seeds=2, steps=4, negative_prompt="")),
    "no_zeros": (ROAD, dict(seeds=3, steps=4, zeros=False)),
    "sizes": (STAR, dict(seeds=4, steps=4, **SIZES)),
    "avoided_sizes": (STAR, dict(seeds=5, steps=4, **SIZES, **AVOIDED)),
    "list": ([STAR, ROAD], dict(seeds=[6, 7, 8, 9], steps=4, num_images_per_prompt=2, negative_prompt=["red", "blue"], prompt_2=[ROAD, STAR])),
    "unguided": (ROAD, dict(seeds=10, steps=4, guidance_scale=1.0)),
    "rescale": (STAR, dict(seeds=11, steps=4, guidance_rescale=0.7)),
    "clip_skip": (ROAD, dict(seeds=12, steps=4, clip_skip=1, negative_prompt="a star")),
    "wide": (ROAD, dict(seeds=13, steps=4, height=12, width=20)),
    "end": (STAR, dict(seeds=14, steps=6, denoising_end=0.6)),
    "end_heun": (STAR, dict(seeds=15, steps=5, denoising_end=0.5, scheduler=HEUN)),
    "embeds": (STAR, dict(seeds=16, steps=4, embeds=True)),
    "spread": (STAR, dict(seeds=17, steps=4, spread=True)),
    **{name: (STAR, dict(seeds=18, steps=4, scheduler=name)) for name in (
        "DDIMScheduler", DPM, "EulerAncestralDiscreteScheduler", "LCMScheduler", "TCDScheduler", "UniPCMultistepScheduler", "DPMSolverSinglestepScheduler")},
}
IMG2IMG = {
    "default": (STAR, dict(seeds=0, steps=8, image=[1])),
    "strong": (ROAD, dict(seeds=1, steps=5, image=[2], strength=0.8, negative_prompt="red", prompt_2=STAR)),
    "list": ([STAR, ROAD], dict(seeds=[2, 3, 4, 5], steps=5, image=[3, 4], strength=0.6, num_images_per_prompt=2)),
    "sizes": (STAR, dict(seeds=6, steps=5, image=[5], strength=0.6, negative_original_size=(4, 6), negative_target_size=(20, 16), **SIZES)),
    "start": (STAR, dict(seeds=7, steps=8, latents=20, denoising_start=0.5)),
    "start_end": (STAR, dict(seeds=8, steps=10, latents=21, denoising_start=0.3, denoising_end=0.8)),
    "start_heun": (STAR, dict(seeds=9, steps=6, latents=22, denoising_start=0.5, scheduler=HEUN)),
    "start_dpm": (STAR, dict(seeds=10, steps=8, latents=23, denoising_start=0.6, scheduler=DPM)),
    "end": (ROAD, dict(seeds=11, steps=8, image=[6], strength=0.7, denoising_end=0.75)),
    "spread": (ROAD, dict(seeds=12, steps=5, image=[7], strength=0.6, spread=True)),
    "refiner": (STAR, dict(seeds=13, steps=5, model="refiner", image=[8], strength=0.6, zeros=False)),
    "refiner_scores": (STAR, dict(seeds=14, steps=5, model="refiner", image=[9], strength=0.6, aesthetic_score=7.5, negative_aesthetic_score=1.5, zeros=False,
                                  negative_prompt="red", **AVOIDED)),
    "refiner_start": (ROAD, dict(seeds=15, steps=8, model="refiner", latents=24, denoising_start=0.6, zeros=False)),
}
INPAINT = {
    "default": (STAR, dict(seeds=0, steps=5, image=[1])),
    "whole": (STAR, dict(seeds=1, steps=4, image=[2], strength=1.0)),
    "weak": (ROAD, dict(seeds=2, steps=6, image=[3], strength=0.5, **SIZES)),
    "nine": (STAR, dict(seeds=3, steps=5, model="nine", image=[4])),
    "nine_whole": (ROAD, dict(seeds=4, steps=4, model="nine", image=[5], strength=1.0, negative_prompt="red")),
    "nine_list": ([STAR, ROAD], dict(seeds=[5, 6], steps=4, model="nine", image=[6, 7], strength=0.7)),
    "start": (STAR, dict(seeds=7, steps=8, latents=25, denoising_start=0.5)),
    "refiner": (STAR, dict(seeds=8, steps=5, model="refiner", image=[8], strength=0.7, zeros=False)),
    "crop": (ROAD, dict(seeds=10, steps=4, image=[10], strength=0.8, padding_mask_crop=1)),
    "euler_a": (STAR, dict(seeds=9, steps=5, image=[9], scheduler="EulerAncestralDiscreteScheduler")),
    "start_given": (ROAD, dict(seeds=11, steps=6, latents=26, given=27, denoising_start=0.4)),
    "no_step": (STAR, dict(seeds=12, steps=4, image=[11], strength=0.5, denoising_end=0.3, scheduler="DDPMParallelScheduler")),
}
OURS = ("seeds", "steps", "scheduler", "image", "latents", "model", "zeros", "embeds", "spread", "given")


def tiny():
    """Makes the pipeline, keeps it in half precision, and returns it as read again, in single."""
    with tempfile.TemporaryDirectory() as tmp:
        first, second = tokenizer(Path(tmp) / "1"), tokenizer(Path(tmp) / "2", pad_token="!")
    end = first.eos_token_id
    ids = dict(vocab_size=end + 1, bos_token_id=end - 1, eos_token_id=end, pad_token_id=end)
    pipe = StableDiffusionXLPipeline(
        vae=randomize(AutoencoderKL(**VAE, scaling_factor=0.13025)), unet=randomize(UNet2DConditionModel(**UNETS["base"])),
        text_encoder=randomize(CLIPTextModel(CLIPTextConfig(**ids, **TEXT1))), tokenizer=first,
        text_encoder_2=randomize(CLIPTextModelWithProjection(CLIPTextConfig(**ids, **TEXT2))), tokenizer_2=second,
        scheduler=EulerDiscreteScheduler.from_config({k: v for k, v in SCHEDULER.items() if k != "skip_prk_steps"} | {"timestep_spacing": "leading"}), add_watermarker=False)
    shutil.rmtree(FOLDER, ignore_errors=True)
    pipe.to(torch.float16).save_pretrained(FOLDER)
    return StableDiffusionXLPipeline.from_pretrained(FOLDER, torch_dtype=torch.float32, add_watermarker=False)


def unets(base):
    made = {"base": base}
    for name in ("refiner", "nine"):
        folder = HERE / "pipelines" / f"unet_xl_{name}"
        randomize(UNet2DConditionModel(**UNETS[name])).half().save_pretrained(folder)
        made[name] = UNet2DConditionModel.from_pretrained(folder, torch_dtype=torch.float32)
    return made


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    pipe.check_inputs = lambda *args, **kwargs: None  # it asks for multiples of 8, also where the VAE's factor is 2
    return pipe


def run(kind, parts, made, name, prompt, options, tensors):
    model = options.get("model", "base")
    parts = dict(parts, unet=made[model], scheduler=getattr(diffusers, options.get("scheduler", EULER)).from_config(parts["scheduler"].config),
                 force_zeros_for_empty_prompt=options.get("zeros", True), add_watermarker=False)
    if model == "refiner":
        parts.update(text_encoder=None, tokenizer=None)
    if kind != "StableDiffusionXLPipeline":
        parts["requires_aesthetics_score"] = model == "refiner"
    vae = parts["vae"]
    spread = SPREAD if options.get("spread") else dict(latents_mean=None, latents_std=None)
    vae.register_to_config(**spread)
    pipe = quiet(getattr(diffusers, kind)(**parts))
    kwargs = {k: v for k, v in options.items() if k not in OURS}
    if "image" in options:
        kwargs["image"] = [picture(seed, 16, 16) for seed in options["image"]]
        tensors[f"{name}/image"] = np.stack([np.asarray(each) for each in kwargs["image"]])
    if "latents" in options:
        kwargs["image"] = torch.randn(1, 4, 8, 8, generator=seeded(options["latents"]))
        tensors[f"{name}/latents"] = channels_last(kwargs["image"])
    if "given" in options:
        kwargs["latents"] = torch.randn(1, 4, 8, 8, generator=seeded(options["given"]))
        tensors[f"{name}/given"] = channels_last(kwargs["latents"])
    if "Inpaint" in kind:
        kwargs["mask_image"] = mask(16, 16)
        tensors[f"{name}/mask"] = np.asarray(kwargs["mask_image"])[None]
    if "padding_mask_crop" in options:  # of one picture, and put back into it
        kwargs["image"] = kwargs["image"][0]
        images = pipe(prompt, generator=seeded(options["seeds"]), num_inference_steps=options["steps"], **kwargs).images
        tensors[f"{name}/pictures"] = np.stack([np.asarray(image) for image in images])
        return
    if options.get("embeds"):
        keys = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        kwargs.update(zip(keys, pipe.encode_prompt(prompt, negative_prompt="red")))
        tensors.update({f"{name}/{k}": kwargs[k] for k in keys})
        prompt = None
    latents = pipe(prompt, generator=seeded(options["seeds"]), num_inference_steps=options["steps"], output_type="latent", **kwargs).images
    tensors[f"{name}/out"] = channels_last(latents)
    mean, std = (torch.tensor(v).view(1, 4, 1, 1) if v else d for v, d in ((spread["latents_mean"], 0), (spread["latents_std"], 1)))
    images = pipe.image_processor.postprocess(vae.decode(latents * std / vae.config.scaling_factor + mean).sample, output_type="pil")
    tensors[f"{name}/pictures"] = np.stack([np.asarray(image) for image in images])


@torch.no_grad()
def generate():
    pipe = tiny()
    made = unets(pipe.unet)
    parts = {k: v for k, v in pipe.components.items() if k not in ("image_encoder", "feature_extractor")}
    for file, kind, cases in (
        ("sdxl", "StableDiffusionXLPipeline", TEXT2IMG), ("sdxl_img2img", "StableDiffusionXLImg2ImgPipeline", IMG2IMG),
        ("sdxl_inpaint", "StableDiffusionXLInpaintPipeline", INPAINT),
    ):
        tensors = {}
        for name, (prompt, options) in cases.items():
            run(kind, parts, made, name, prompt, options, tensors)
        save(f"pipelines/{file}", tensors, {"cases": cases, "spread": SPREAD})
