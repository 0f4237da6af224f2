"""Perturbed-attention guidance (PAG): which layers its patterns mean, a UNet with it, and what diffusers' pipelines make with the tiny models of `pipelines`,
`sdxl`, `controlnet` and `ip_adapter`."""
import diffusers
import numpy as np
import tomesd
import torch
from DeepCache import DeepCacheSDHelper
from diffusers import (ControlNetModel, StableDiffusionControlNetPAGInpaintPipeline, StableDiffusionControlNetPAGPipeline, StableDiffusionPAGImg2ImgPipeline,
                       StableDiffusionPAGInpaintPipeline, StableDiffusionPAGPipeline, StableDiffusionPipeline, StableDiffusionXLControlNetPAGPipeline,
                       StableDiffusionXLPAGImg2ImgPipeline, StableDiffusionXLPAGInpaintPipeline, StableDiffusionXLPAGPipeline, StableDiffusionXLPipeline,
                       UNet2DConditionModel)
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.pipelines.pag.pag_utils import PAGMixin
from transformers import CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from generate import HERE, channels_last, save
from parts.controlnet import golden_unet
from parts.ip_adapter import FOLDER as IP_ADAPTERS
from parts.models import x
from parts.pipelines import ROAD, SECOND_UNET, STAR, TINY, mask, picture, quiet, seeded

PATTERNS = ["mid", "down", "up", "blocks.1", "blocks.(0|1)", "down_blocks.0.attentions.0", "mid_block.attentions.1", r"attn1$", "transformer_blocks.1", "MID", "(?i:MID)",
            "^attentions", "", "attn2", "down.block_1"]
UNETS = {"tiny": "pipelines/tiny/unet", "tiny_xl": "pipelines/tiny_xl/unet", "only_cross": "pipelines/unet_upscale"}
# name -> (class, prompt, options of the call); ours: see OURS
EULER = "EulerDiscreteScheduler"
CASES = {
    "guided": (StableDiffusionPAGPipeline, STAR, dict(seeds=0, steps=4, pag_scale=3.0, negative_prompt="red")),
    "unguided": (StableDiffusionPAGPipeline, STAR, dict(seeds=1, steps=4, pag_scale=2.0, guidance_scale=1.0, layers=["down_blocks.0", "up_blocks.1.attentions.1"])),
    "adaptive": (StableDiffusionPAGPipeline, ROAD, dict(seeds=2, steps=5, pag_scale=3.0, pag_adaptive_scale=0.006, guidance_rescale=0.7, scheduler=EULER)),
    "batch": (StableDiffusionPAGPipeline, [STAR, ROAD], dict(seeds=[3, 4, 5, 6], steps=3, pag_scale=1.5, num_images_per_prompt=2, height=12, width=20, layers="(down|up)_blocks")),
    "rescale_unguided": (StableDiffusionPAGPipeline, STAR, dict(seeds=7, steps=3, pag_scale=4.0, guidance_scale=0.0, guidance_rescale=0.7)),
    "distilled": (StableDiffusionPAGPipeline, STAR, dict(seeds=23, steps=3, pag_scale=2.0, unet="pipelines/unet_lcm", layers="down")),
    "deep_cache": (StableDiffusionPAGPipeline, STAR, dict(seeds=24, steps=5, pag_scale=3.0, layers=["mid", "up"], way="deep_cache")),
    "token_merging": (StableDiffusionPAGPipeline, STAR, dict(seeds=25, steps=3, pag_scale=3.0, layers=["mid", "down"], way="token_merging")),
    "stop": (StableDiffusionPAGPipeline, STAR, dict(seeds=26, steps=4, pag_scale=3.0, scheduler=EULER, way="stop")),
    "off": (StableDiffusionPAGPipeline, STAR, dict(seeds=8, steps=3, pag_scale=0.0)),
    "img2img": (StableDiffusionPAGImg2ImgPipeline, ROAD, dict(seeds=9, steps=5, pag_scale=3.0, strength=0.6)),
    "inpaint": (StableDiffusionPAGInpaintPipeline, STAR, dict(seeds=10, steps=4, pag_scale=3.0, pag_adaptive_scale=0.001, strength=0.9)),
    "inpaint_nine": (StableDiffusionPAGInpaintPipeline, STAR, dict(seeds=11, steps=3, pag_scale=2.0, unet=SECOND_UNET, layers="up", strength=1.0)),
    "controlnet": (StableDiffusionControlNetPAGPipeline, STAR, dict(seeds=12, steps=4, pag_scale=3.0, controlnet_conditioning_scale=0.7, control_guidance_end=0.8)),
    "controlnet_unguided": (StableDiffusionControlNetPAGPipeline, STAR, dict(seeds=13, steps=3, pag_scale=3.0, guidance_scale=1.0, guess_mode=True)),
    "controlnet_inpaint": (StableDiffusionControlNetPAGInpaintPipeline, ROAD, dict(seeds=14, steps=3, pag_scale=2.5, layers=["mid", "up"])),
    "ip_adapter": (StableDiffusionPAGPipeline, STAR, dict(seeds=15, steps=3, pag_scale=3.0, adapter="base.bin")),
    "xl": (StableDiffusionXLPAGPipeline, [STAR, ROAD], dict(seeds=[16, 17], steps=4, pag_scale=3.0, guidance_rescale=0.7, original_size=(10, 30), negative_prompt=["red", "blue"])),
    "xl_avoided_sizes": (StableDiffusionXLPAGPipeline, STAR, dict(seeds=18, steps=3, pag_scale=2.0, layers="blocks.1", negative_original_size=(4, 6), negative_target_size=(20, 16))),
    "xl_unguided": (StableDiffusionXLPAGPipeline, STAR, dict(seeds=19, steps=3, pag_scale=3.0, guidance_scale=1.0, adapter="xl_base.safetensors")),
    "xl_img2img": (StableDiffusionXLPAGImg2ImgPipeline, ROAD, dict(seeds=20, steps=5, pag_scale=3.0, strength=0.6, denoising_end=0.8)),
    "xl_inpaint": (StableDiffusionXLPAGInpaintPipeline, STAR, dict(seeds=21, steps=4, pag_scale=3.0)),
    "xl_controlnet": (StableDiffusionXLControlNetPAGPipeline, STAR, dict(seeds=22, steps=3, pag_scale=3.0)),
}
OURS = ("seeds", "steps", "layers", "scheduler", "unet", "adapter", "way")


class Guided(PAGMixin):
    """A UNet alone, with the layers that patterns mean."""

    def __init__(self, unet, layers, guided=True):
        self.unet = unet
        self.set_pag_applied_layers(layers)
        self._set_pag_attn_processor(self.pag_applied_layers, guided)


def unet_of(folder):
    return UNet2DConditionModel.from_pretrained(HERE / folder, torch_dtype=torch.float32)


def matches(folder, pattern):
    """Names of the self-attentions that a pattern means, or None where it means none."""
    try:
        return [name.removesuffix(".processor") for name in Guided(unet_of(folder), pattern).pag_attn_processors]
    except ValueError:
        return None


def networks():
    """Predictions of a UNet, of which the last third or half is perturbed."""
    tensors, runs = {}, []
    for guided, samples, layers, size in ((True, 1, "mid", (6, 10)), (False, 2, ["down_blocks.0", "up"], (8, 8))):
        unet = golden_unet("sd2")
        Guided(unet, layers, guided)
        batch, r = samples * (3 if guided else 2), len(runs)
        sample, text = x(batch, 4, *size), x(batch, 5, unet.config.cross_attention_dim)
        tensors |= {f"unet/{r}/sample": channels_last(sample), f"unet/{r}/text": text, f"unet/{r}/out": channels_last(unet(sample, 481, text).sample)}
        runs.append(dict(samples=samples, layers=layers))
    return tensors, runs


def stop(pipe, i, t, kwargs):
    """No guidance after the first 2 steps."""
    if i == 1:
        pipe._guidance_scale = pipe._pag_scale = 0.0
        pipe.unet.set_attn_processor(AttnProcessor2_0())
        kwargs["prompt_embeds"] = kwargs["prompt_embeds"].chunk(3)[-1]
    return kwargs


def deep_cache(pipe):
    helper = DeepCacheSDHelper(pipe=pipe)
    helper.set_params(cache_interval=3, cache_branch_id=0)
    helper.enable()
    return helper.disable


def token_merging(pipe):
    tomesd.apply_patch(pipe, ratio=0.5, use_rand=False)
    return lambda: tomesd.remove_patch(pipe)


def pipelines(tensors):
    base = quiet(StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False))
    xl = StableDiffusionXLPipeline.from_pretrained(HERE / "pipelines/tiny_xl", torch_dtype=torch.float32, add_watermarker=False)
    tensors |= {"image": np.asarray(picture(3, 16, 16))[None], "control": np.asarray(picture(5, 16, 16))[None], "mask": np.asarray(mask(16, 16))[None]}
    for name, (Pipeline, prompt, options) in CASES.items():
        is_xl = name.startswith("xl")
        parts = dict((xl if is_xl else base).components, **(dict(add_watermarker=False) if is_xl else dict(requires_safety_checker=False)))
        if "scheduler" in options:
            parts["scheduler"] = getattr(diffusers, options["scheduler"]).from_config(parts["scheduler"].config)
        if "unet" in options:
            parts["unet"] = unet_of(options["unet"])
        kwargs = {k: v for k, v in options.items() if k not in OURS}
        begun, steering = picture(3, 16, 16), picture(5, 16, 16)
        if "ControlNet" in Pipeline.__name__:
            parts["controlnet"] = ControlNetModel.from_pretrained(HERE / f"pipelines/controlnet_{'xl' if is_xl else 0}", torch_dtype=torch.float32)
            kwargs["image"] = steering
        if "inpaint" in name:
            kwargs |= dict(image=begun, mask_image=mask(16, 16), control_image=steering)
            if "controlnet" not in name:
                kwargs.pop("control_image")
        if "img2img" in name:
            kwargs["image"] = begun
        pipe = Pipeline(**parts, pag_applied_layers=options.get("layers", "mid"))
        pipe.set_progress_bar_config(disable=True)
        pipe.check_inputs = lambda *args, **kwargs: None  # it asks for multiples of 8, also where the VAE's factor is 2
        if "adapter" in options:
            encoder = CLIPVisionModelWithProjection.from_pretrained(IP_ADAPTERS / "image_encoder", torch_dtype=torch.float32)
            size = encoder.config.image_size
            pipe.register_modules(image_encoder=encoder, feature_extractor=CLIPImageProcessorPil(size=size, crop_size=size))
            pipe.load_ip_adapter(str(IP_ADAPTERS), subfolder="", weight_name=options["adapter"])
            kwargs["ip_adapter_image"] = begun
        end = {"deep_cache": deep_cache, "token_merging": token_merging}.get(options.get("way"), lambda pipe: lambda: None)(pipe)
        if options.get("way") == "stop":
            kwargs |= dict(callback_on_step_end=stop, callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"])
        out = pipe(prompt, num_inference_steps=options["steps"], generator=seeded(options["seeds"]), output_type="latent", **kwargs).images
        tensors[f"{name}/out"] = channels_last(out)
        end()
        if "adapter" in options:
            pipe.unload_ip_adapter()


@torch.no_grad()
def generate():
    tensors, runs = networks()
    pipelines(tensors)
    layers = {name: {pattern: matches(folder, pattern) for pattern in PATTERNS} for name, folder in UNETS.items()}
    cases = {name: [Pipeline.__name__, prompt, options] for name, (Pipeline, prompt, options) in CASES.items()}
    save("pipelines/pag", tensors, {"cases": cases, "layers": layers, "unets": UNETS, "runs": runs})
