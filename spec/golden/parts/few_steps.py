"""What is distilled to a few steps, by the recipes of its model cards, on the tiny models of `sdxl` and `sd2`: what diffusers makes."""
import diffusers
import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from generate import HERE, channels_last, save
from parts.pipelines import ROAD, STAR, picture, seeded
from parts.pipelines import quiet as quiet_sd
from parts.sdxl import SPREAD, UNETS, quiet
from parts.sdxl_adapters import in_peft_keys, load, lora

TRAILING = {"timestep_spacing": "trailing"}
EULER, DDIM, TCD, LCM = "EulerDiscreteScheduler", "DDIMScheduler", "TCDScheduler", "LCMScheduler"
EDM = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}
# name -> (prompt, options). lora: its scale; lcm: with a UNet that knows the guidance; spread: as Playground's VAE; sd: the tiny Stable Diffusion 2
CASES = {
    "sd_turbo": (STAR, dict(sd=True, seed=0, num_inference_steps=1, guidance_scale=0.0, scheduler=[EULER, {**TRAILING, "prediction_type": "epsilon"}])),
    "sd_turbo_image": (STAR, dict(sd=True, seed=1, image=1, num_inference_steps=2, strength=0.5, guidance_scale=0.0, scheduler=[EULER, {**TRAILING, "prediction_type": "epsilon"}])),
    "turbo": (STAR, dict(seed=2, num_inference_steps=1, guidance_scale=0.0, scheduler=["EulerAncestralDiscreteScheduler", TRAILING])),
    "turbo_four": (ROAD, dict(seed=3, num_inference_steps=4, guidance_scale=0.0, scheduler=["EulerAncestralDiscreteScheduler", TRAILING])),
    "turbo_image": (STAR, dict(seed=4, image=2, num_inference_steps=2, strength=0.5, guidance_scale=0.0, scheduler=["EulerAncestralDiscreteScheduler", TRAILING])),
    "lightning": (STAR, dict(seed=5, num_inference_steps=4, guidance_scale=0.0, scheduler=[EULER, TRAILING])),
    "lightning_one": (STAR, dict(seed=6, num_inference_steps=1, guidance_scale=0.0, scheduler=[EULER, {**TRAILING, "prediction_type": "sample"}])),
    "lightning_lora": (ROAD, dict(seed=7, num_inference_steps=2, guidance_scale=0.0, lora=1.0, scheduler=[EULER, TRAILING])),
    "hyper": (STAR, dict(seed=8, num_inference_steps=2, guidance_scale=0.0, lora=0.125, scheduler=[DDIM, TRAILING])),
    "hyper_guided": (STAR, dict(seed=9, num_inference_steps=8, guidance_scale=5.0, lora=0.125, scheduler=[DDIM, TRAILING])),
    "hyper_unified": (ROAD, dict(seed=10, num_inference_steps=1, guidance_scale=0.0, eta=1.0, lora=1.0, scheduler=[TCD, {}])),
    "hyper_unet": (STAR, dict(seed=11, timesteps=[800], guidance_scale=0.0, scheduler=[LCM, {}])),
    "lcm": (STAR, dict(seed=12, num_inference_steps=4, guidance_scale=8.0, lcm=True, scheduler=[LCM, {}])),
    "lcm_image": (ROAD, dict(seed=13, image=3, num_inference_steps=4, strength=0.5, guidance_scale=6.0, lcm=True, scheduler=[LCM, {}])),
    "lcm_lora": (STAR, dict(seed=14, num_inference_steps=4, guidance_scale=1.0, lora=1.0, scheduler=[LCM, {}])),
    "lcm_lora_guided": (STAR, dict(seed=15, num_inference_steps=4, guidance_scale=1.8, lora=0.8, negative_prompt="red", scheduler=[LCM, {}])),
    "tcd": (ROAD, dict(seed=16, num_inference_steps=4, guidance_scale=0.0, eta=0.3, lora=1.0, scheduler=[TCD, {}])),
    "playground": (STAR, dict(seed=17, num_inference_steps=5, guidance_scale=3.0, spread=True, scheduler=["EDMDPMSolverMultistepScheduler", EDM])),
    "playground_euler": (STAR, dict(seed=18, num_inference_steps=5, guidance_scale=3.0, spread=True, scheduler=["EDMEulerScheduler", EDM])),
}
OURS = ("sd", "seed", "image", "scheduler", "lora", "lcm", "spread")


def guided_unet(base, tensors):
    """The same UNet, told the guidance as well."""
    torch.manual_seed(5)
    unet = UNet2DConditionModel(**UNETS["base"], time_cond_proj_dim=10)
    weight = tensors["cond_proj"] = torch.randn(unet.time_embedding.cond_proj.weight.shape).half().float()
    unet.load_state_dict({**base.state_dict(), "time_embedding.cond_proj.weight": weight})
    return unet.eval()


def scheduler_of(pipe, name, overrides):
    """EDM's schedulers do not take the config of others."""
    scheduler = getattr(diffusers, name)
    return scheduler(**overrides) if name.startswith("EDM") else scheduler.from_config(pipe.scheduler.config, **overrides)


@torch.no_grad()
def generate():
    tensors, unet = {}, None
    for name, (prompt, options) in CASES.items():
        if options.get("sd"):
            pipe = quiet_sd(StableDiffusionPipeline.from_pretrained(HERE / "pipelines" / "tiny_sd2", torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False))
        else:
            pipe = load()
        pipe.scheduler = scheduler_of(pipe, *options["scheduler"])
        if options.get("lcm"):
            unet = unet or guided_unet(pipe.unet, tensors)
            pipe.unet = unet
        if options.get("spread"):
            pipe.vae.register_to_config(**SPREAD)
        if "lora" in options:
            pipe.load_lora_weights(in_peft_keys(*lora(pipe)))
            pipe.fuse_lora(lora_scale=options["lora"])
        kwargs = {k: v for k, v in options.items() if k not in OURS}
        if "image" in options:
            kwargs["image"] = picture(options["image"], 16, 16)
            tensors[f"{name}/image"] = np.asarray(kwargs["image"])[None]
            kind = "StableDiffusionImg2ImgPipeline" if options.get("sd") else "StableDiffusionXLImg2ImgPipeline"
            parts = {k: v for k, v in pipe.components.items() if options.get("sd") or k not in ("image_encoder", "feature_extractor")}
            pipe = getattr(diffusers, kind)(**parts, **({"requires_safety_checker": False} if options.get("sd") else {"add_watermarker": False}))
            pipe = (quiet_sd if options.get("sd") else quiet)(pipe)
        images = pipe(prompt, generator=seeded(options["seed"]), output_type="pt", **kwargs).images
        tensors[f"{name}/out"] = channels_last(images)
    save("pipelines/few_steps", tensors, {"cases": CASES, "spread": SPREAD})
