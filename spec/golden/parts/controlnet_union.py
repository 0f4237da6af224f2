"""A ControlNet-Union alone, with a small random config like xinsir's, and pipelines of the tiny SDXL of `sdxl` that one steers."""
import shutil

import numpy as np
import torch
from diffusers import (ControlNetUnionModel, StableDiffusionXLControlNetUnionImg2ImgPipeline, StableDiffusionXLControlNetUnionInpaintPipeline,
                       StableDiffusionXLControlNetUnionPipeline, StableDiffusionXLPipeline)

from generate import HERE, channels_last, save
from parts.layers import randomize
from parts.models import x
from parts.pipelines import mask, picture, seeded

BLOCKS = dict(down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), layers_per_block=1, norm_num_groups=4, attention_head_dim=(1, 2),
              transformer_layers_per_block=(1, 2), use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=4,
              projection_class_embeddings_input_dim=36, conditioning_embedding_out_channels=(4, 8), num_trans_head=2, num_trans_layer=2)
ALONE = dict(BLOCKS, block_out_channels=(8, 16), cross_attention_dim=12, num_control_type=6, num_trans_channel=8, num_proj_channel=8, norm_eps=1e-4)
STEERING = dict(BLOCKS, block_out_channels=(4, 8), cross_attention_dim=24, num_control_type=8, num_trans_channel=4, num_proj_channel=4)
RUNS = [dict(size=(2, 8, 8), modes=[1], scale=0.7), dict(size=(1, 7, 5), modes=[4, 2], scale=[0.6, 1.3], guess=True),
        dict(size=(3, 5, 6), modes=[0, 3], scale=1.0), dict(size=(2, 6, 7), modes=[5], scale=0.8, guess=True)]


def made(config):
    """Weights of few bits, which compress well."""
    net = randomize(ControlNetUnionModel(**config))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.bfloat16())
    return net


def network():
    net = made(ALONE)
    tensors, timesteps = {f"weights/{k}": v for k, v in net.state_dict().items()}, [981, 1, 500, 20]
    for r, run in enumerate(RUNS):
        batch, height, width = run["size"]
        sample, text, embeds = x(batch, 4, height, width), x(batch, 3 + r, 12), x(batch, 12)
        pictures = [torch.rand(batch, 3, 2 * height, 2 * width) for _ in run["modes"]]
        ids = torch.randint(0, 1025, (batch, 6)).float()
        kinds = torch.zeros(batch, 6)
        kinds[:, run["modes"]] = 1
        with torch.no_grad():
            down, mid = net(sample, timesteps[r], text, pictures, kinds, run["modes"], run["scale"], guess_mode=run.get("guess", False),
                            added_cond_kwargs=dict(text_embeds=embeds, time_ids=ids), return_dict=False)
        tensors |= {f"{r}/{k}": channels_last(v) for k, v in dict(sample=sample, encoderHiddenStates=text, text_embeds=embeds, time_ids=ids, mid=mid).items()}
        tensors |= {f"{r}/picture/{i}": channels_last(v) for i, v in enumerate(pictures)} | {f"{r}/down/{i}": channels_last(v) for i, v in enumerate(down)}
    save("models/controlnet_union", tensors, {"config": {k: v for k, v in net.config.items() if not k.startswith("_")}, "runs": RUNS, "timesteps": timesteps})


# `pictures`: one for each prompt; `nets`: several ControlNets.
CASES = dict(
    one=dict(seeds=0, steps=4, modes=[3]), two=dict(seeds=1, steps=4, modes=[0, 6]), wide=dict(seeds=2, steps=3, modes=[2], scale=0.4, picture=(18, 25)),
    two_scaled=dict(seeds=[3, 4], steps=3, modes=[7, 1], scale=[0.4, 1.2], num_images_per_prompt=2), prompts=dict(seeds=[5, 6], steps=3, modes=[5], pictures=2),
    window=dict(seeds=7, steps=6, modes=[4], start=0.3, end=0.7), two_windows=dict(seeds=8, steps=5, modes=[0, 2], start=[0.2, 0.4], end=[0.5, 0.8]),
    unguided=dict(seeds=9, steps=3, modes=[6, 3], guidance_scale=1.0), guess_unguided=dict(seeds=10, steps=3, modes=[1], guidance_scale=1.0, guess_mode=True, scale=0.8),
    guess=dict(seeds=[16, 17], steps=3, modes=[3, 0], guess_mode=True, scale=[0.9, 0.6], num_images_per_prompt=2),
    several=dict(seeds=11, steps=3, modes=[2, 5], nets=2, scale=[0.7, 0.5], start=[0.0, 0.5], end=[0.7, 1.0]),
    img2img=dict(seeds=12, steps=5, modes=[7]), img2img_two=dict(seeds=13, steps=4, modes=[1, 4], strength=0.6, scale=1.0, size=(16, 24), start=0.1),
    inpaint=dict(seeds=14, steps=4, modes=[2]), inpaint_two=dict(seeds=15, steps=4, modes=[7, 0], strength=0.7, scale=[0.9, 0.3], guidance_scale=1.0),
)
PROMPTS = ["a red star on a road", "an on at"]


def loaded(folder):
    """Takes as many rows of modes as there are samples: in guess mode with guidance the pipelines give twice as many, and stop with an error."""
    net = ControlNetUnionModel.from_pretrained(folder, torch_dtype=torch.float32)
    forward = net.forward
    net.forward = lambda sample, *args, control_type, **options: forward(sample, *args, control_type=control_type[: len(sample)], **options)
    return net


def pictures():
    folder = HERE / "pipelines/controlnet_union"
    shutil.rmtree(folder, ignore_errors=True)
    made(STEERING).half().save_pretrained(folder)
    xl = StableDiffusionXLPipeline.from_pretrained(HERE / "pipelines/tiny_xl", torch_dtype=torch.float32, add_watermarker=False)
    nets = [loaded(folder), loaded(folder)]
    tensors = {}
    for name, case in CASES.items():
        begins, paints = "img2img" in name, "inpaint" in name
        Pipeline = StableDiffusionXLControlNetUnionInpaintPipeline if paints else StableDiffusionXLControlNetUnionImg2ImgPipeline if begins else StableDiffusionXLControlNetUnionPipeline
        pipe = Pipeline(**dict(xl.components, controlnet=nets if "nets" in case else nets[0], add_watermarker=False))
        pipe.set_progress_bar_config(disable=True)
        size, count = case.get("picture", case.get("size", (16, 16))), case.get("pictures", 1)
        given = [[picture(20 * m + i, *size) for i in range(count)] for m in range(len(case["modes"]))]
        tensors |= {f"{name}/control/{m}": np.stack([np.asarray(each) for each in row]) for m, row in enumerate(given)}
        options = {k: case[v] for k, v in dict(controlnet_conditioning_scale="scale", control_guidance_start="start", control_guidance_end="end").items() if v in case}
        options |= {k: case[k] for k in ("guess_mode", "guidance_scale", "num_images_per_prompt", "strength") if k in case}
        if begins or paints:
            options["image"] = picture(7, *size)
            tensors[f"{name}/picture"] = np.asarray(options["image"])[None]
        if paints:
            options["mask_image"] = mask(*size)
            tensors[f"{name}/mask"] = np.asarray(options["mask_image"])[None]
        out = pipe(PROMPTS[:count], control_image=[row if count > 1 else row[0] for row in given], control_mode=case["modes"], num_inference_steps=case["steps"],
                   generator=seeded(case["seeds"]), output_type="latent", **options).images
        tensors[f"{name}/out"] = channels_last(out)
    save("pipelines/controlnet_union", tensors, {"cases": CASES, "prompts": PROMPTS})


def generate():
    network()
    pictures()
