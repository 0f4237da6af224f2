"""IP-Adapters with random weights in the layout of their original files, what UNets make with them, and pipelines."""
import torch
from diffusers import StableDiffusionPipeline
from diffusers.image_processor import IPAdapterMaskProcessor
from safetensors.torch import save_file

from generate import HERE, channels_last, save
from parts.controlnet import golden_unet
from parts.models import conditions, x

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


def generate():
    networks()
    masks()
