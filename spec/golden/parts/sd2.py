"""A random pipeline as Stable Diffusion 2.1 is made: OpenCLIP's text encoder, which pads with '!', a UNet of linear projections with heads by
level, and v-prediction. What diffusers makes with it."""
import diffusers
import torch

from generate import HERE, channels_last, save
from parts.pipelines import ROAD, SCHEDULER, STAR, TEXT, UNET, seeded, tiny

SD2_UNET = dict(UNET, attention_head_dim=[2, 4], use_linear_projection=True, upcast_attention=True)
SD2_TEXT = dict(TEXT, hidden_act="gelu", projection_dim=8)
SD2_SCHEDULER = dict(SCHEDULER, prediction_type="v_prediction", set_alpha_to_one=False, timestep_spacing="leading")
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
CASES = {
    "pndm": (STAR, dict(seeds=0, steps=5)),
    "ddim": (ROAD, dict(seeds=1, steps=4, scheduler=["DDIMScheduler", {}])),
    "ddim_zero_snr": (ROAD, dict(seeds=2, steps=4, guidance_rescale=0.7, scheduler=["DDIMScheduler", ZERO_SNR])),
    "dpm": (STAR, dict(seeds=3, steps=4, scheduler=["DPMSolverMultistepScheduler", {}])),
    "euler": (STAR, dict(seeds=4, steps=4, scheduler=["EulerDiscreteScheduler", {}])),
    "euler_a": (STAR, dict(seeds=5, steps=4, scheduler=["EulerAncestralDiscreteScheduler", {}])),
    "rescale": (ROAD, dict(seeds=6, steps=4, guidance_rescale=0.5)),
    "clip_skip": (ROAD, dict(seeds=7, steps=4, clip_skip=1)),
    "clip_skip_rescale": ([STAR, ROAD], dict(seeds=[8, 9], steps=4, clip_skip=2, guidance_rescale=1.0, negative_prompt=["red", "a tree"])),
}


@torch.no_grad()
def generate():
    pipe, tensors = tiny(SD2_UNET, SD2_TEXT, SD2_SCHEDULER, HERE / "pipelines" / "tiny_sd2", pad_token="!"), {}
    config = pipe.scheduler.config
    for name, (prompt, options) in CASES.items():
        kwargs = {k: v for k, v in options.items() if k not in ("seeds", "steps", "scheduler")}
        scheduler, overrides = options.get("scheduler", ["PNDMScheduler", {}])
        pipe.scheduler = getattr(diffusers, scheduler).from_config(config, **overrides)
        out = pipe(prompt, generator=seeded(options["seeds"]), num_inference_steps=options["steps"], output_type="latent", **kwargs).images
        tensors[name] = channels_last(out)
    save("pipelines/sd2", tensors, {"cases": CASES})
