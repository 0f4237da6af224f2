"""T2I-Adapters of each type with small random configs, what they make of pictures and UNets of them; pipelines that they steer. Takes the
UNets of `models` and `sdxl_models`, and the pipelines of `pipelines` and `sdxl`."""
import shutil

import diffusers
import numpy as np
import torch
from DeepCache import DeepCacheSDHelper
from diffusers import (MultiAdapter, StableDiffusionAdapterPipeline, StableDiffusionPipeline, StableDiffusionXLAdapterPipeline,
                       StableDiffusionXLPipeline, T2IAdapter)

from generate import HERE, channels_last, save
from parts.controlnet import golden_unet
from parts.layers import randomize, weights
from parts.models import conditions, x
from parts.pipelines import TINY, picture, quiet, seeded

# name -> (UNet, config). The UNets' outermost state is of the size of the latents, or half of it where the first block does not attend.
CASES = {
    "full": ("sd2", dict(channels=[8, 16, 16, 16], num_res_blocks=1, downscale_factor=2)),
    "light": ("sd2", dict(channels=[8, 16, 16], num_res_blocks=2, downscale_factor=4, in_channels=1, adapter_type="light_adapter")),
    "xl": ("xl", dict(channels=None, num_res_blocks=1, downscale_factor=4, adapter_type="full_adapter_xl")),
    "no_mid": ("no_mid", dict(channels=[8, 16, 16], num_res_blocks=1, downscale_factor=2, in_channels=5, adapter_type="full_adapter_xl")),
    "outermost": ("plain", dict(channels=[8], num_res_blocks=1, downscale_factor=2)),
}


def networks():
    for name, (unet_name, options) in CASES.items():
        unet = golden_unet(unet_name)
        first, *rest = unet.config.block_out_channels
        net = randomize(T2IAdapter(**dict(options, channels=options["channels"] or [first, *rest, rest[-1]])))
        attends = unet.config.down_block_types[0].startswith("CrossAttn")
        factor = options["downscale_factor"] // (1 if attends else 2)
        tensors, timesteps = {f"weights/{k}": v for k, v in weights(net).items()}, [981, 1]
        for r, (batch, height, width, tokens) in enumerate(((2, 8, 8, 7), (1, 7, 10, 5) if attends else (1, 6, 10, 5))):
            sample, text = x(batch, unet.config.in_channels, height, width), x(batch, tokens, unet.config.cross_attention_dim)
            given = torch.rand(batch, net.config.in_channels, height * factor, width * factor)
            more = conditions(unet, batch)
            added = {k: more[k] for k in ("text_embeds", "time_ids") if k in more} or None
            with torch.no_grad():
                states = net(given)
                out = unet(sample, timesteps[r], text, down_intrablock_additional_residuals=[s.clone() for s in states], added_cond_kwargs=added).sample
            tensors |= {f"{r}/{k}": channels_last(v) for k, v in dict(sample=sample, encoderHiddenStates=text, picture=given, out=out).items()}
            tensors |= {f"{r}/states/{i}": channels_last(v) for i, v in enumerate(states)} | {f"{r}/{k}": v for k, v in more.items()}
        config = {k: v for k, v in net.config.items() if not k.startswith("_")}
        save(f"models/t2i_adapter_{name}", tensors, {"config": config, "unet": unet_name, "timesteps": timesteps, "totalDownscaleFactor": net.total_downscale_factor})
    several()


def several():
    config = dict(channels=[4, 8], num_res_blocks=1, downscale_factor=2)
    nets = MultiAdapter([randomize(T2IAdapter(**config)), randomize(T2IAdapter(**config, in_channels=1))])
    tensors = {f"weights/{k}": v for k, v in weights(nets).items()}
    given = [torch.rand(2, channels, 6, 10) for channels in (3, 1)]
    tensors |= {f"picture/{i}": channels_last(v) for i, v in enumerate(given)}
    for name, by in dict(default=None, weighted=[0.7, -0.4], second=[0.0, 1.2]).items():
        with torch.no_grad():
            tensors |= {f"{name}/{i}": channels_last(v) for i, v in enumerate(nets(given, by))}
    save("models/multi_adapter", tensors, {"configs": [{k: v for k, v in net.config.items() if not k.startswith("_")} for net in nets.adapters]})


FOLDER = HERE / "pipelines/t2i"
FULL = dict(channels=[8, 16], num_res_blocks=1, downscale_factor=2)
XL = dict(channels=[4, 8], num_res_blocks=1, downscale_factor=4, adapter_type="full_adapter_xl")
PICTURES = dict(
    plain=dict(seeds=0, steps=4), unguided=dict(seeds=1, steps=4, guidance_scale=1.0), scaled=dict(seeds=2, steps=3, scale=0.5),
    none=dict(seeds=3, steps=3, scale=0.0), size=dict(seeds=4, steps=3, picture=(20, 30), height=24, width=16), own_size=dict(seeds=5, steps=3, picture=(25, 18)),
    odd=dict(seeds=6, steps=3, picture=(18, 22)), batch=dict(seeds=[7, 8, 9, 10], steps=3, prompts=2, num_images_per_prompt=2, pictures=2),
    batch_unguided=dict(seeds=[11, 12], steps=3, prompts=2, pictures=2, guidance_scale=1.0), several=dict(seeds=[13, 14], steps=3, num_images_per_prompt=2),
    sketch=dict(seeds=15, steps=4, nets="light", grey=True), sketch_size=dict(seeds=16, steps=3, nets="light", grey=True, picture=(20, 30), height=16, width=24),
    two=dict(seeds=17, steps=4, nets="both", scale=[1.0, 1.0]), two_scaled=dict(seeds=18, steps=3, nets="both", scale=[0.7, 1.2], picture=(16, 24)),
    two_batch=dict(seeds=[19, 20], steps=3, nets="both", scale=[0.5, 0.0], prompts=2, pictures=2), euler=dict(seeds=21, steps=4, scheduler="EulerDiscreteScheduler"),
    deep_cache=dict(seeds=22, steps=7, cache=(3, 0)), deep_cache_inner=dict(seeds=23, steps=5, cache=(2, 1), guidance_scale=1.0),
)
XL_PICTURES = dict(
    plain=dict(seeds=30, steps=4), unguided=dict(seeds=31, steps=3, guidance_scale=1.0, scale=0.6), half=dict(seeds=32, steps=5, factor=0.5), never=dict(seeds=33, steps=3, factor=0.2),
    wide=dict(seeds=34, steps=3, picture=(17, 30)), size=dict(seeds=35, steps=3, picture=(20, 30), height=24, width=16),
    batch=dict(seeds=[36, 37], steps=3, num_images_per_prompt=2, factor=0.7), prompts=dict(seeds=[38, 39], steps=3, prompts=2, pictures=2),
    two=dict(seeds=40, steps=3, nets="both", scale=[0.8, 0.4]), early=dict(seeds=41, steps=6, denoising_end=0.7, factor=0.5),
    heun=dict(seeds=42, steps=4, scheduler="HeunDiscreteScheduler"), heun_early=dict(seeds=43, steps=4, scheduler="HeunDiscreteScheduler", denoising_end=0.8, factor=0.6),
    pndm=dict(seeds=44, steps=4, scheduler="PNDMScheduler", factor=0.9),
)
PROMPTS = ["a red star on a road", "an on at"]
# of which whole pictures are kept too
WHOLE, XL_WHOLE = ["size", "batch", "sketch_size", "two_scaled"], ["wide", "two"]


def saved(name, *configs):
    """Adapters, kept in half precision side by side as diffusers keeps several, and read from there in single."""
    nets = [randomize(T2IAdapter(**config)).half() for config in configs]
    path = str(FOLDER / name)
    (MultiAdapter(nets) if len(nets) > 1 else nets[0]).save_pretrained(path)
    return (MultiAdapter if len(nets) > 1 else T2IAdapter).from_pretrained(path, torch_dtype=torch.float32)


def drawn(pipe, nets, cases, prefix, tensors, output_type="latent"):
    usual = pipe.scheduler
    for name, case in cases.items():
        which = case.get("nets", "one")
        pipe.adapter = nets[which]
        pipe.scheduler = getattr(diffusers, case.get("scheduler", type(usual).__name__)).from_config(usual.config)
        height, width = case.get("picture", (16, 16))
        given = [[picture(10 * n + i, height, width) for i in range(case.get("pictures", 1))] for n in range(2 if which == "both" else 1)]
        if "grey" in case:
            given = [[one.convert("L") for one in each] for each in given]
        for n, each in enumerate(given):
            tensors[f"{prefix}{name}/picture/{n}"] = np.stack([np.asarray(one.convert("RGB")) for one in each])
        image = [each if len(each) > 1 else each[0] for each in given]
        options = {k: case[v] for k, v in dict(adapter_conditioning_scale="scale", adapter_conditioning_factor="factor").items() if v in case}
        options |= {k: case[k] for k in ("guidance_scale", "num_images_per_prompt", "height", "width", "denoising_end") if k in case}
        prompts = PROMPTS[: case.get("prompts", 1)]
        helper = None
        if "cache" in case:
            helper = DeepCacheSDHelper(pipe=pipe)
            helper.set_params(cache_interval=case["cache"][0], cache_branch_id=case["cache"][1])
            helper.enable()
        out = pipe(prompts if len(prompts) > 1 else prompts[0], image=image if which == "both" else image[0], num_inference_steps=case["steps"],
                   generator=seeded(case["seeds"]), output_type=output_type, **options).images
        if helper:
            helper.disable()
        tensors[f"{prefix}{name}/out"] = channels_last(out) if output_type == "latent" else np.stack([np.asarray(image) for image in out])
    pipe.scheduler = usual


def pictures():
    shutil.rmtree(FOLDER, ignore_errors=True)
    base = quiet(StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False))
    both = saved("adapter", FULL, FULL)
    light = saved("light", dict(FULL, in_channels=1, adapter_type="light_adapter"))
    pipe = quiet(StableDiffusionAdapterPipeline(
        vae=base.vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer, unet=base.unet, scheduler=base.scheduler, adapter=both,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False))
    tensors = {}
    drawn(pipe, dict(one=both.adapters[0], both=both, light=light), PICTURES, "", tensors)
    whole = {}
    drawn(pipe, dict(one=both.adapters[0], both=both, light=light), {name: PICTURES[name] for name in WHOLE}, "", whole, "pil")
    xl = StableDiffusionXLPipeline.from_pretrained(HERE / "pipelines/tiny_xl", torch_dtype=torch.float32, add_watermarker=False)
    both = saved("xl", XL, XL)
    pipe = StableDiffusionXLAdapterPipeline(
        vae=xl.vae, text_encoder=xl.text_encoder, text_encoder_2=xl.text_encoder_2, tokenizer=xl.tokenizer, tokenizer_2=xl.tokenizer_2, unet=xl.unet,
        scheduler=xl.scheduler, adapter=both)
    pipe.set_progress_bar_config(disable=True)
    pipe.check_inputs = lambda *args, **kwargs: None  # it asks for multiples of 8
    drawn(pipe, dict(one=both.adapters[0], both=both), XL_PICTURES, "xl/", tensors)
    drawn(pipe, dict(one=both.adapters[0], both=both), {name: XL_PICTURES[name] for name in XL_WHOLE}, "xl/", whole, "pil")
    save("pipelines/t2i_adapter", tensors, {"cases": PICTURES, "xl": XL_PICTURES, "prompts": PROMPTS})
    save("images/t2i_adapter", {name: tensor for name, tensor in whole.items() if name.endswith("/out")})


def generate():
    networks()
    pictures()
