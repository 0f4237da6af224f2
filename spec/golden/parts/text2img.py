"""What diffusers makes with steps that are given as a list, and with parts of another model. Takes the models of `pipelines` and `sd2`."""
import diffusers
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionPipeline

from generate import HERE, channels_last, save
from parts.pipelines import ROAD, STAR, TINY, mask, picture, quiet, seeded

TIMESTEPS = dict(timesteps=[999, 850, 600, 343, 124, 24])
SIGMAS = dict(sigmas=[14.6, 3.9, 1.4, 0.6, 0.15, 0.0])
# name -> (prompt, options); image: the seed of a picture to begin from, or with `mask` to change a part of; swap: parts of the other model
CASES = {
    "euler_timesteps": (STAR, dict(seeds=0, scheduler="EulerDiscreteScheduler", **TIMESTEPS)),
    "euler_sigmas": (STAR, dict(seeds=1, scheduler="EulerDiscreteScheduler", **SIGMAS)),
    "dpm_timesteps": (ROAD, dict(seeds=2, scheduler="DPMSolverMultistepScheduler", **TIMESTEPS)),
    "singlestep_timesteps": (ROAD, dict(seeds=3, scheduler="DPMSolverSinglestepScheduler", **TIMESTEPS)),
    "heun_timesteps": (STAR, dict(seeds=4, scheduler="HeunDiscreteScheduler", **TIMESTEPS)),
    "ddpm_timesteps": (STAR, dict(seeds=5, scheduler="DDPMScheduler", **TIMESTEPS)),
    "lcm_timesteps": (STAR, dict(seeds=6, scheduler="LCMScheduler", timesteps=[999, 759, 499, 259])),
    "tcd_timesteps": (STAR, dict(seeds=7, scheduler="TCDScheduler", timesteps=[999, 759, 499, 259])),
    "image_timesteps": (STAR, dict(seeds=8, scheduler="DPMSolverMultistepScheduler", image=1, strength=0.6, **TIMESTEPS)),
    "image_sigmas": (STAR, dict(seeds=9, scheduler="EulerDiscreteScheduler", image=2, strength=0.5, **SIGMAS)),
    "mask_timesteps": (STAR, dict(seeds=13, scheduler="DPMSolverMultistepScheduler", image=3, mask=True, strength=0.6, **TIMESTEPS)),
    "mask_ddpm": (ROAD, dict(seeds=14, scheduler="DDPMScheduler", image=4, mask=True, strength=0.8, **TIMESTEPS)),
    "mask_sigmas": (STAR, dict(seeds=15, scheduler="EulerDiscreteScheduler", image=5, mask=True, strength=1.0, **SIGMAS)),
    "mask_heun": (STAR, dict(seeds=16, scheduler="HeunDiscreteScheduler", image=6, mask=True, strength=1.0, **TIMESTEPS)),
    **{name: (STAR, dict(seeds=17, scheduler=name, num_inference_steps=6)) for name in (
        "SASolverScheduler", "DDIMInverseScheduler", "DPMSolverMultistepInverseScheduler", "IPNDMScheduler", "DDPMParallelScheduler")},
    "image_sasolver": (ROAD, dict(seeds=18, scheduler="SASolverScheduler", image=7, strength=0.7, num_inference_steps=8)),
    "mask_sasolver": (ROAD, dict(seeds=19, scheduler="SASolverScheduler", image=8, mask=True, strength=0.7, num_inference_steps=8)),
    "vae": (STAR, dict(seeds=10, num_inference_steps=3, output_type="pt", swap=["vae"])),
    "text_encoder": (ROAD, dict(seeds=11, num_inference_steps=3, swap=["text_encoder", "tokenizer"])),
    "unet": (ROAD, dict(seeds=12, num_inference_steps=3, swap=["unet", "scheduler"])),
}


def load(folder):
    return quiet(StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False))


@torch.no_grad()
def generate():
    pipe, other, tensors = load(TINY), load(HERE / "pipelines" / "tiny_sd2"), {}
    for name, (prompt, options) in CASES.items():
        kwargs = {k: v for k, v in options.items() if k not in ("seeds", "scheduler", "image", "mask", "swap")}
        parts = pipe.components | {part: other.components[part] for part in options.get("swap", [])}
        if "scheduler" in options:
            parts["scheduler"] = getattr(diffusers, options["scheduler"]).from_config(pipe.scheduler.config)
        Pipeline = StableDiffusionPipeline
        if "image" in options:
            Pipeline, kwargs["image"] = StableDiffusionImg2ImgPipeline, picture(options["image"], 16, 16)
            tensors[f"{name}/image"] = torch.frombuffer(bytearray(kwargs["image"].tobytes()), dtype=torch.uint8).view(1, 16, 16, 3)
        if "mask" in options:
            Pipeline, kwargs["mask_image"] = StableDiffusionInpaintPipeline, mask(16, 16)
            tensors[f"{name}/mask"] = torch.frombuffer(bytearray(kwargs["mask_image"].tobytes()), dtype=torch.uint8).view(1, 16, 16, 3)
        out = quiet(Pipeline(**parts, requires_safety_checker=False))(
            prompt, generator=seeded(options["seeds"]), **{"output_type": "latent", **kwargs}).images
        tensors[f"{name}/out"] = channels_last(torch.as_tensor(out))
    save("pipelines/text2img", tensors, {"cases": CASES})
