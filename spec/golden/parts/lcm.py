"""A tiny UNet that knows the guidance, as latent consistency models do, and what diffusers' pipelines make with it. Takes the model of `pipelines`."""
import diffusers
import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from generate import HERE, channels_last, save
from parts.layers import randomize
from parts.pipelines import ROAD, STAR, TINY, UNET, mask, picture, quiet, seeded

FOLDER = HERE / "pipelines" / "unet_lcm"
LCM_UNET = dict(UNET, time_cond_proj_dim=10, encoder_hid_dim=16, cross_attention_dim=12)
TEXT2IMG, IMG2IMG, INPAINT, LCM, LCM_IMG2IMG = (
    "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline", "LatentConsistencyModelPipeline",
    "LatentConsistencyModelImg2ImgPipeline")
# name -> (pipeline, scheduler, prompt, options)
CASES = {
    "sd": (TEXT2IMG, "PNDMScheduler", STAR, dict(seeds=0, num_inference_steps=5)),
    "sd_weak": (TEXT2IMG, "EulerDiscreteScheduler", STAR, dict(seeds=1, num_inference_steps=4, guidance_scale=1.0, negative_prompt="red")),
    "sd_list": (TEXT2IMG, "LCMScheduler", [STAR, ROAD], dict(seeds=[2, 3], num_inference_steps=4, guidance_scale=3.3, guidance_rescale=0.5)),
    "img2img": (IMG2IMG, "DDIMScheduler", ROAD, dict(seeds=4, num_inference_steps=5, strength=0.6)),
    "inpaint": (INPAINT, "LCMScheduler", ROAD, dict(seeds=5, num_inference_steps=4, guidance_scale=6)),
    "lcm": (LCM, "LCMScheduler", STAR, dict(seeds=6)),
    "lcm_original": (LCM, "LCMScheduler", ROAD, dict(seeds=7, num_inference_steps=7, original_inference_steps=40, guidance_scale=14.0)),
    "lcm_timesteps": (LCM, "LCMScheduler", STAR, dict(seeds=8, timesteps=[999, 759, 499, 259], guidance_scale=0.5, clip_skip=1)),
    "lcm_list": (LCM, "LCMScheduler", [STAR, ROAD], dict(seeds=9, num_inference_steps=2, num_images_per_prompt=2, height=12, width=20)),
    "lcm_pixels": (LCM, "LCMScheduler", ROAD, dict(seeds=10, num_inference_steps=3, output_type="pt")),
    "lcm_one": (LCM, "LCMScheduler", ROAD, dict(seeds=11, num_inference_steps=1)),
    "lcm_img2img": (LCM_IMG2IMG, "LCMScheduler", ROAD, dict(seeds=12)),
    "lcm_img2img_weak": (LCM_IMG2IMG, "LCMScheduler", STAR, dict(seeds=13, strength=0.2, num_inference_steps=3, guidance_scale=2.0)),
    "lcm_img2img_timesteps": (LCM_IMG2IMG, "LCMScheduler", STAR, dict(seeds=14, strength=0.5, timesteps=[999, 759, 499, 259, 139])),
    "lcm_img2img_whole": (LCM_IMG2IMG, "LCMScheduler", [STAR, ROAD], dict(seeds=15, strength=1.0, original_inference_steps=20, num_inference_steps=5)),
}


@torch.no_grad()
def generate():
    randomize(UNet2DConditionModel(**LCM_UNET)).half().save_pretrained(FOLDER)
    unet, tensors = UNet2DConditionModel.from_pretrained(FOLDER, torch_dtype=torch.float32), {}
    pipe = quiet(StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, unet=unet, safety_checker=None, requires_safety_checker=False))
    for name, (pipeline, scheduler, prompt, options) in CASES.items():
        parts = pipe.components | {"scheduler": getattr(diffusers, scheduler).from_config(pipe.scheduler.config)}
        kwargs = {k: v for k, v in options.items() if k != "seeds"}
        if pipeline in (IMG2IMG, INPAINT, LCM_IMG2IMG):
            kwargs["image"] = picture(options["seeds"], 16, 16)
            tensors[f"{name}/image"] = np.asarray(kwargs["image"])[None]
        if pipeline == INPAINT:
            kwargs["mask_image"] = mask(16, 16)
            tensors[f"{name}/mask"] = np.asarray(kwargs["mask_image"])[None]
        out = quiet(getattr(diffusers, pipeline)(**parts, requires_safety_checker=False))(
            prompt, generator=seeded(options["seeds"]), **{"output_type": "latent", **kwargs}).images
        tensors[f"{name}/out"] = channels_last(torch.as_tensor(out))
    save("pipelines/lcm", tensors, {"cases": CASES})
