"""IP-Adapters with random weights in the layout of their original files, what UNets make with them, and pipelines."""
import numpy as np
import torch
from diffusers import (ControlNetModel, LCMScheduler, LatentConsistencyModelPipeline, StableDiffusionControlNetPipeline, StableDiffusionImg2ImgPipeline,
                       StableDiffusionInpaintPipeline, StableDiffusionPipeline, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline, UNet2DConditionModel)
from diffusers.image_processor import IPAdapterMaskProcessor
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from generate import HERE, channels_last, save
from parts.controlnet import golden_unet
from parts.layers import randomize
from parts.models import conditions, x
from parts.pipelines import TINY, UNET, mask, picture, quiet, seeded

FULL_STATES = 5
# of image projections: features of what they read are the image encoder's
PLUS = dict(hidden=8, heads=1, tokens=3, layers=4)


def random(*shape, scale=None):
    return (torch.randn(*shape) * (scale or shape[-1] ** -0.5)).half()


def norm(prefix, features):
    return {f"{prefix}.weight": (torch.randn(features) * 0.3 + 1).half(), f"{prefix}.bias": (torch.randn(features) * 0.3).half()}


def image_proj(kind, cross, embeds, hidden):
    """The tensors of an image projection: of the embedding of a whole picture, of `embeds` features, or of states of `hidden` features."""
    if kind == "base":
        return {"proj.weight": random(4 * cross, embeds), "proj.bias": random(4 * cross, scale=0.3), **norm("norm", cross)}
    if kind == "full":
        return {"proj.0.weight": random(hidden, hidden), "proj.0.bias": random(hidden, scale=0.3), "proj.2.weight": random(cross, hidden), "proj.2.bias": random(cross, scale=0.3), **norm("proj.3", cross)}
    size, heads = PLUS["hidden"], PLUS["heads"]
    state = {"latents": random(1, PLUS["tokens"], size, scale=1), "proj_in.weight": random(size, hidden), "proj_in.bias": random(size, scale=0.3),
             "proj_out.weight": random(cross, size), "proj_out.bias": random(cross, scale=0.3), **norm("norm_out", cross)}
    for i in range(PLUS["layers"]):
        state |= {**norm(f"layers.{i}.0.norm1", size), **norm(f"layers.{i}.0.norm2", size), f"layers.{i}.0.to_q.weight": random(64 * heads, size),
                  f"layers.{i}.0.to_kv.weight": random(128 * heads, size), f"layers.{i}.0.to_out.weight": random(size, 64 * heads),
                  **norm(f"layers.{i}.1.0", size), f"layers.{i}.1.1.weight": random(4 * size, size), f"layers.{i}.1.3.weight": random(size, 4 * size)}
    return state


def adapter(unet, kind, embeds, hidden):
    """What a file of an adapter holds."""
    cross, state, number = unet.config.cross_attention_dim, {}, 1
    for name, attention in ((name, unet.get_submodule(name.removesuffix(".processor"))) for name in unet.attn_processors):
        if not name.endswith("attn1.processor"):
            for part in ("to_k_ip", "to_v_ip"):
                state[f"{number}.{part}.weight"] = random(attention.to_q.out_features, cross)
            number += 2
    return {"image_proj": image_proj(kind, cross, embeds, hidden), "ip_adapter": state}


def flat(state):
    return {f"{part}.{k}": v.contiguous() for part, tensors in state.items() for k, v in tensors.items()}


def single(state):
    return {part: {k: v.float() for k, v in tensors.items()} for part, tensors in state.items()}


# name -> (UNet, kinds of adapters)
NETWORKS = {"sd2": ("sd2", ["base"]), "many": ("sd2", ["plus", "base", "full"]), "xl": ("xl", ["plus"])}
EMBEDS, HIDDEN = 10, 14


def networks():
    for name, (base, kinds) in NETWORKS.items():
        unet = golden_unet(base)
        states = [adapter(unet, kind, EMBEDS, HIDDEN) for kind in kinds]
        for i, state in enumerate(states):
            save_file(flat(state), HERE / f"models/ip_adapter_{name}_{i}.safetensors")
        unet._load_ip_adapter_weights([single(state) for state in states])
        pipe = StableDiffusionPipeline.__new__(StableDiffusionPipeline)
        object.__setattr__(pipe, "unet", unet)
        tensors, runs = {}, []
        dicts = {"down": {"block_1": 0.5}, "up": {"block_1": 1.5}}
        cases = [dict(scale=1.0), dict(scale=0.6, pictures=2, size=(6, 10)), dict(scale=dicts), dict(scale=0.0), dict(scale=0.8, masks=True, pictures=2), dict(scale=[0.5, 1.5], masks=True, pictures=2, size=(6, 10))]
        for case in cases:
            r, pictures, (height, width) = len(runs), case.get("pictures", 1), case.get("size", (8, 8))
            pipe.set_ip_adapter_scale([case["scale"]] * len(kinds))
            batch = 2 if r == 0 else 1
            sample, text = x(batch, 4, height, width), x(batch, 5, unet.config.cross_attention_dim)
            embeds = [x(batch, pictures, EMBEDS) if kind == "base" else x(batch, pictures, FULL_STATES, HIDDEN) for kind in kinds]
            more = conditions(unet, batch)
            kwargs = {}
            if case.get("masks"):
                masks = [(torch.rand(1, pictures, 2 * height, 2 * width) > 0.4).float() for _ in kinds]
                kwargs = dict(cross_attention_kwargs={"ip_adapter_masks": masks})
                tensors |= {f"{r}/mask/{i}": mask[0] for i, mask in enumerate(masks)}
            with torch.no_grad():
                projected = unet.encoder_hid_proj(embeds)
                out = unet(sample, 500, text, added_cond_kwargs=dict(more, image_embeds=embeds), **kwargs).sample
            tensors |= {f"{r}/sample": channels_last(sample), f"{r}/encoderHiddenStates": text, f"{r}/out": channels_last(out)} | {f"{r}/{k}": v for k, v in more.items()}
            for i, (embed, tokens) in enumerate(zip(embeds, projected)):
                tensors |= {f"{r}/embeds/{i}": embed, f"{r}/tokens/{i}": tokens}
            runs.append(case)
        save(f"models/ip_adapter_{name}", tensors, {"unet": base, "kinds": kinds, "runs": runs})


def masks():
    """Masks of many sizes, as large as what attends."""
    tensors, cases = {}, [(16, 16, 64), (16, 16, 16), (20, 30, 96), (20, 30, 24), (16, 16, 60), (9, 33, 50), (33, 9, 21), (64, 64, 7)]
    for i, (height, width, queries) in enumerate(cases):
        mask = (torch.rand(2, height, width) > 0.5).float()
        tensors[f"{i}/mask"] = mask
        tensors[f"{i}/out"] = torch.stack([IPAdapterMaskProcessor.downsample(mask[n : n + 1], 1, queries, 1)[0, :, 0] for n in range(2)])
    save("models/ip_adapter_masks", tensors, {"queries": [queries for _, _, queries in cases]})


FOLDER = HERE / "pipelines/ip_adapter"
VISION = dict(hidden_size=HIDDEN, intermediate_size=20, num_hidden_layers=3, num_attention_heads=2, image_size=12, patch_size=5, projection_dim=EMBEDS)
PROMPTS = ["a red star on a road", "an on at"]
BASE, MASKED = dict(files=["base.bin"]), dict(files=["base.bin"], pictures=[[1, 2]], masks=True)
# files: of the adapters; pictures: for each adapter the seed of one, or of several that count together; embeds: made up instead
CASES = {
    "text": dict(
        base=dict(BASE, seeds=0, steps=4), unguided=dict(BASE, seeds=1, steps=4, guidance_scale=1.0), scaled=dict(BASE, seeds=2, steps=3, scale=0.4),
        two_pictures=dict(BASE, seeds=3, steps=3, pictures=[[1, 2]]), plus=dict(files=["plus.safetensors"], seeds=4, steps=4, pictures=[5]),
        plus_unguided=dict(files=["plus.safetensors"], seeds=5, steps=3, guidance_scale=1.0), full=dict(files=["full.bin"], seeds=6, steps=3),
        several=dict(files=["base.bin", "plus.safetensors"], seeds=7, steps=4, pictures=[3, [4, 5]], scale=[0.6, 0.9]),
        blocks=dict(BASE, seeds=8, steps=4, scale={"up": {"block_1": [0.0, 1.5]}}), all_blocks=dict(BASE, seeds=9, steps=3, scale={"down": 0.5, "mid": 0.7, "up": {"block_1": [1.2]}}),
        each_its_blocks=dict(files=["base.bin", "full.bin"], seeds=10, steps=3, pictures=[1, 2], scale=[{"down": 1.0}, {"up": {"block_1": [1.0, 0.0]}}]),
        embeds=dict(BASE, seeds=11, steps=3, embeds=2), plus_embeds=dict(files=["plus.safetensors"], seeds=12, steps=3, embeds=1, guidance_scale=1.0),
        masks=dict(MASKED, seeds=13, steps=4), masks_scaled=dict(MASKED, seeds=14, steps=3, scale=[[0.5, 1.3]], size=(24, 16)),
        batch=dict(BASE, seeds=[15, 16, 17, 18], steps=3, prompts=2, num_images_per_prompt=2)),
    "img2img": dict(base=dict(BASE, seeds=20, steps=4, strength=0.6), several=dict(files=["full.bin", "base.bin"], seeds=21, steps=4, pictures=[1, 2], strength=0.8, guidance_scale=1.0)),
    "inpaint": dict(plus=dict(files=["plus.safetensors"], seeds=22, steps=4)),
    "controlnet": dict(base=dict(BASE, seeds=23, steps=3)),
    "lcm": dict(base=dict(BASE, seeds=24, steps=3)),
    "xl": dict(
        base=dict(files=["xl_base.safetensors"], seeds=30, steps=4, scale=0.8), plus=dict(files=["xl_plus.bin"], seeds=31, steps=3, pictures=[[3, 4]]),
        unguided=dict(files=["xl_plus.bin"], seeds=32, steps=3, guidance_scale=1.0, pictures=[7]), style=dict(files=["xl_base.safetensors"], seeds=33, steps=4, scale={"up": {"block_0": [0.0, 1.0]}}),
        masks=dict(files=["xl_base.safetensors"], seeds=34, steps=3, pictures=[[1, 2]], masks=True)),
    "xl_img2img": dict(base=dict(files=["xl_base.safetensors"], seeds=35, steps=4, strength=0.7)),
}


def files(unet, xl):
    """Adapters for the tiny pipelines, as their authors save such, and the image encoder."""
    for prefix, each, names in (("", unet, ("base.bin", "plus.safetensors", "full.bin")), ("xl_", xl, ("base.safetensors", "plus.bin"))):
        for name in names:
            kind, end = name.split(".")
            state = adapter(each, kind, EMBEDS, HIDDEN)
            save_file(flat(state), FOLDER / f"{prefix}{name}") if end == "safetensors" else torch.save(state, FOLDER / f"{prefix}{name}")


def pipelines():
    FOLDER.mkdir(exist_ok=True)
    randomize(CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION))).half().save_pretrained(FOLDER / "image_encoder")
    options = dict(torch_dtype=torch.float32)
    base = StableDiffusionPipeline.from_pretrained(TINY, **options, safety_checker=None, requires_safety_checker=False)
    xl = StableDiffusionXLPipeline.from_pretrained(HERE / "pipelines/tiny_xl", **options, add_watermarker=False)
    files(base.unet, xl.unet)
    net = ControlNetModel.from_pretrained(HERE / "pipelines/controlnet_0", **options)
    told = UNet2DConditionModel(**UNET, time_cond_proj_dim=10)  # the same, told the guidance
    told.load_state_dict(dict(base.unet.state_dict(), **{"time_embedding.cond_proj.weight": torch.full((8, 10), 0.1)}))
    lcm = dict(unet=told, scheduler=LCMScheduler.from_config(base.scheduler.config))
    more = dict(requires_safety_checker=False)
    pipes = {
        "text": base, "img2img": StableDiffusionImg2ImgPipeline(**base.components, **more), "inpaint": StableDiffusionInpaintPipeline(**base.components, **more),
        "controlnet": StableDiffusionControlNetPipeline(**base.components, controlnet=net, **more), "lcm": LatentConsistencyModelPipeline(**dict(base.components, **lcm), **more),
        "xl": xl, "xl_img2img": StableDiffusionXLImg2ImgPipeline(**xl.components),
    }
    tensors = {"begun": np.asarray(picture(99, 16, 16))[None], "mask": np.asarray(mask(16, 16))[None]}
    for family, cases in CASES.items():
        torch.manual_seed(0)
        pipe = quiet(pipes[family])
        pipe.register_modules(feature_extractor=CLIPImageProcessorPil(size=VISION["image_size"], crop_size=VISION["image_size"]))
        for name, case in cases.items():
            pipe.load_ip_adapter(str(FOLDER), subfolder="", weight_name=case["files"])
            if "scale" in case:
                pipe.set_ip_adapter_scale(case["scale"])
            tensors[f"{family}/{name}/out"] = channels_last(drawn(pipe, family, case, tensors, f"{family}/{name}"))
            pipe.unload_ip_adapter()
            pipe.register_modules(feature_extractor=CLIPImageProcessorPil(size=VISION["image_size"], crop_size=VISION["image_size"]))
    save("pipelines/ip_adapter", tensors, {"cases": CASES, "prompts": PROMPTS})


def drawn(pipe, family, case, tensors, name):
    height, width = case.get("size", (16, 16))
    kwargs = {k: case[k] for k in ("guidance_scale", "num_images_per_prompt", "strength") if k in case}
    seeds = case.get("pictures", [1] * len(case["files"]))
    if "embeds" in case:
        states = () if case["files"][0].startswith("base") else (5, HIDDEN)
        embeds = torch.randn(1 if case.get("guidance_scale") == 1 else 2, case["embeds"], *(states or (EMBEDS,)))
        tensors[f"{name}/embeds"] = embeds
        kwargs["ip_adapter_image_embeds"] = [embeds]
    else:
        kwargs["ip_adapter_image"] = [[picture(each, 17, 23) for each in seed] if isinstance(seed, list) else picture(seed, 31, 13) for seed in seeds]
    if case.get("masks"):
        given = [mask(height, width), mask(height, width).rotate(180)]
        tensors[f"{name}/masks"] = np.stack([np.asarray(each) for each in given])
        kwargs["cross_attention_kwargs"] = {"ip_adapter_masks": [IPAdapterMaskProcessor(vae_scale_factor=2).preprocess(given, height=height, width=width).permute(1, 0, 2, 3)]}
    if family in ("img2img", "inpaint", "xl_img2img", "controlnet"):
        kwargs["image"] = picture(99, 16, 16)
    if family == "inpaint":
        kwargs["mask_image"] = mask(16, 16)
    if "size" in case:
        kwargs |= dict(height=height, width=width)
    return pipe(PROMPTS[: case.get("prompts", 1)], num_inference_steps=case["steps"], generator=seeded(case["seeds"]), output_type="latent", **kwargs).images


@torch.no_grad()
def generate():
    networks()
    masks()
    pipelines()
