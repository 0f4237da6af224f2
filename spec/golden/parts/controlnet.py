"""ControlNets with small random configs like SD1.x's, SD2.x's and SDXL's, and what they add to a UNet; pipelines that they steer."""
import json

import diffusers
import numpy as np
import torch
from diffusers import (ControlNetModel, StableDiffusionControlNetImg2ImgPipeline, StableDiffusionControlNetPipeline, StableDiffusionPipeline,
                       StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline, UNet2DConditionModel)
from safetensors import safe_open

from generate import HERE, channels_last, save
from parts.layers import randomize, weights
from parts.models import conditions, x
from parts.pipelines import TINY, picture, quiet, seeded

SMALL = dict(conditioning_embedding_out_channels=(4, 6, 8, 12))
CASES = {
    "sd2": dict(conditioning_embedding_out_channels=(4, 8), controlnet_conditioning_channel_order="bgr"),
    "plain": dict(SMALL, conditioning_channels=5, global_pool_conditions=True),
    "xl": dict(SMALL),
}


def golden_unet(name):
    """The UNet of another golden."""
    with safe_open(HERE / f"models/unet_{name}.safetensors", "pt") as file:
        unet = UNet2DConditionModel(**json.loads(file.metadata()["meta"])["config"])
        unet.load_state_dict({k.removeprefix("weights/"): file.get_tensor(k) for k in file.keys() if k.startswith("weights/")})
    return unet.eval()


def made(unet, options):
    pooled = options.get("global_pool_conditions", False)
    net = ControlNetModel.from_unet(unet, load_weights_from_unet=False, **{k: v for k, v in options.items() if k != "global_pool_conditions"})
    net.register_to_config(global_pool_conditions=pooled)
    return randomize(net)


def networks():
    for name, options in CASES.items():
        unet = golden_unet(name)
        net = made(unet, options)
        tensors = {f"weights/{k}": v for k, v in weights(net).items()}
        factor = 2 ** (len(options["conditioning_embedding_out_channels"]) - 1)
        runs = [dict(timestep=981, scale=1.0, guess=False), dict(timestep=1, scale=0.7, guess=True)]
        for r, run in enumerate(runs):
            batch, height, width, tokens = ((2, 8, 8, 7), (1, 6, 10, 5))[r]
            sample, text = x(batch, unet.config.in_channels, height, width), x(batch, tokens, unet.config.cross_attention_dim)
            picture = torch.rand(batch, options.get("conditioning_channels", 3), height * factor, width * factor)
            more = conditions(unet, batch)
            added = {k: more[k] for k in ("text_embeds", "time_ids") if k in more} or None
            with torch.no_grad():
                down, mid = net(sample, run["timestep"], text, picture, run["scale"], guess_mode=run["guess"], added_cond_kwargs=added, return_dict=False)
                out = unet(sample, run["timestep"], text, down_block_additional_residuals=down, mid_block_additional_residual=mid, added_cond_kwargs=added).sample
            tensors |= {f"{r}/{k}": channels_last(v) for k, v in dict(sample=sample, encoderHiddenStates=text, picture=picture, mid=mid, out=out).items()}
            tensors |= {f"{r}/down/{i}": channels_last(v) for i, v in enumerate(down)} | {f"{r}/{k}": v for k, v in more.items()}
        config = {k: v for k, v in net.config.items() if not k.startswith("_")}
        save(f"models/controlnet_{name}", tensors, {"config": config, "runs": runs})


PICTURES = dict(
    plain=dict(seeds=0, steps=4), unguided=dict(seeds=1, steps=4, guidance_scale=1.0), scaled=dict(seeds=2, steps=3, scale=0.5),
    guess=dict(seeds=3, steps=4, guess_mode=True, guidance_scale=4.0), guess_unguided=dict(seeds=4, steps=3, guess_mode=True, guidance_scale=1.0),
    window=dict(seeds=5, steps=6, start=0.3, end=0.7), size=dict(seeds=6, steps=3, picture=(20, 30), height=24, width=16),
    own_size=dict(seeds=7, steps=3, picture=(24, 17)), batch=dict(seeds=[8, 9, 10, 11], steps=3, prompts=2, num_images_per_prompt=2, pictures=2),
    one_for_all=dict(seeds=[12, 13], steps=3, prompts=2), two=dict(seeds=14, steps=4, nets=2), two_scaled=dict(seeds=15, steps=4, nets=2, scale=[0.7, 1.2], start=[0.0, 0.4], end=[0.6, 1.0]),
    two_guess=dict(seeds=16, steps=3, nets=2, guess_mode=True), euler=dict(seeds=17, steps=4, scheduler="EulerDiscreteScheduler"),
)
PROMPTS = ["a red star on a road", "an on at"]


def pictures():
    base = quiet(StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False))
    nets = []
    for i in range(2):
        folder = HERE / f"pipelines/controlnet_{i}"
        made(base.unet, dict(conditioning_embedding_out_channels=(4, 8))).half().save_pretrained(folder)
        nets.append(ControlNetModel.from_pretrained(folder, torch_dtype=torch.float32))
    tensors, cases = {}, {}
    for name, case in PICTURES.items():
        case = dict(case)
        count, prompts = case.get("nets", 1), PROMPTS[: case.get("prompts", 1)]
        scheduler = getattr(diffusers, case.get("scheduler", "PNDMScheduler")).from_config(base.scheduler.config)
        pipe = quiet(StableDiffusionControlNetPipeline(
            vae=base.vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer, unet=base.unet, scheduler=scheduler,
            controlnet=nets[0] if count == 1 else nets, safety_checker=None, feature_extractor=None, requires_safety_checker=False))
        height, width = case.get("picture", (16, 16))
        given = [[picture(10 * n + i, height, width) for i in range(case.get("pictures", 1))] for n in range(count)]
        for n, each in enumerate(given):
            tensors[f"{name}/picture/{n}"] = np.stack([np.asarray(one) for one in each])
        image = [each if len(each) > 1 else each[0] for each in given]
        out = pipe(
            prompts, image=image[0] if count == 1 else image, num_inference_steps=case["steps"], generator=seeded(case["seeds"]), output_type="latent",
            guidance_scale=case.get("guidance_scale", 7.5), guess_mode=case.get("guess_mode", False), num_images_per_prompt=case.get("num_images_per_prompt", 1),
            controlnet_conditioning_scale=case.get("scale", 1.0), control_guidance_start=case.get("start", 0.0), control_guidance_end=case.get("end", 1.0),
            height=case.get("height"), width=case.get("width")).images
        tensors[f"{name}/out"] = channels_last(out)
        cases[name] = dict(case, prompts=prompts)
    save("pipelines/controlnet", tensors, {"cases": cases})


FROM_PICTURES = dict(
    plain=dict(seeds=20, steps=5, strength=0.8), weak=dict(seeds=21, steps=6, strength=0.4, scale=1.0), window=dict(seeds=22, steps=6, strength=0.9, start=0.2, end=0.6, guess_mode=True),
)
XL_PICTURES = dict(
    plain=dict(seeds=30, steps=4), guess=dict(seeds=31, steps=3, guess_mode=True), unguided=dict(seeds=32, steps=3, guidance_scale=1.0, scale=0.6),
    wide=dict(seeds=33, steps=3, picture=(16, 24), start=0.3, end=0.9), batch=dict(seeds=[34, 35], steps=3, num_images_per_prompt=2),
)


def drawn(pipe, name, case, tensors, key="image", **more):
    """Latents of a case, beside the picture that steers."""
    steering = picture(case["steps"], *case.get("picture", (16, 16)))
    tensors[f"{name}/picture/0"] = np.asarray(steering)[None]
    options = {k: case[v] for k, v in dict(controlnet_conditioning_scale="scale", control_guidance_start="start", control_guidance_end="end").items() if v in case}
    options |= {k: case[k] for k in ("guess_mode", "guidance_scale", "num_images_per_prompt", "strength") if k in case}
    out = pipe(PROMPTS[0], **{key: steering}, num_inference_steps=case["steps"], generator=seeded(case["seeds"]), output_type="latent", **options, **more).images
    tensors[f"{name}/out"] = channels_last(out)


def other_pictures():
    base = quiet(StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False))
    net = ControlNetModel.from_pretrained(HERE / "pipelines/controlnet_0", torch_dtype=torch.float32)
    pipe = quiet(StableDiffusionControlNetImg2ImgPipeline(
        vae=base.vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer, unet=base.unet, scheduler=base.scheduler,
        controlnet=net, safety_checker=None, feature_extractor=None, requires_safety_checker=False))
    tensors, begun = {}, picture(99, 16, 16)
    tensors["begun"] = np.asarray(begun)[None]
    for name, case in FROM_PICTURES.items():
        drawn(pipe, f"img2img/{name}", case, tensors, "control_image", image=begun)
    xl = StableDiffusionXLPipeline.from_pretrained(HERE / "pipelines/tiny_xl", torch_dtype=torch.float32, add_watermarker=False)
    folder = HERE / "pipelines/controlnet_xl"
    made(xl.unet, dict(conditioning_embedding_out_channels=(4, 8))).half().save_pretrained(folder)
    pipe = StableDiffusionXLControlNetPipeline(
        vae=xl.vae, text_encoder=xl.text_encoder, text_encoder_2=xl.text_encoder_2, tokenizer=xl.tokenizer, tokenizer_2=xl.tokenizer_2, unet=xl.unet,
        scheduler=xl.scheduler, controlnet=ControlNetModel.from_pretrained(folder, torch_dtype=torch.float32), add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    pipe.check_inputs = lambda *args, **kwargs: None
    for name, case in XL_PICTURES.items():
        drawn(pipe, f"xl/{name}", case, tensors)
    save("pipelines/controlnet_others", tensors, {"img2img": FROM_PICTURES, "xl": XL_PICTURES, "prompt": PROMPTS[0]})


def generate():
    networks()
    pictures()
    other_pictures()
