"""Stable Diffusion 3's transformer with small random configs like SD3's and SD3.5's, and its ControlNets."""
import torch
from diffusers import SD3ControlNetModel, SD3Transformer2DModel

from generate import channels_last, save
from parts.layers import randomize, weights
from parts.models import x

SMALL = dict(
    sample_size=8, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=4, num_attention_heads=2, joint_attention_dim=12, caption_projection_dim=8,
    pooled_projection_dim=10, out_channels=4, pos_embed_max_size=6)
TRANSFORMERS = {
    "3": dict(SMALL, out_channels=6),
    "35_large": dict(SMALL, num_layers=3, attention_head_dim=2, num_attention_heads=4, qk_norm="rms_norm", out_channels=None, pos_embed_max_size=9),
    "35_medium": dict(SMALL, num_layers=3, attention_head_dim=8, caption_projection_dim=16, qk_norm="rms_norm", dual_attention_layers=(0, 2), pos_embed_max_size=7),
}
RUNS = (
    dict(shape=(2, 8, 8), tokens=7, timestep=987.6543), dict(shape=(1, 6, 12), tokens=5, timestep=0.25, skip=[1]),
    dict(shape=(3, 4, 2), tokens=3, timestep=[1000.0, 333.3333, 0.0], control=1), dict(shape=(2, 10, 4), tokens=4, timestep=500.5, control=2, skip=[0]),
)
CONTROLNETS = {
    "3": dict(SMALL, extra_conditioning_channels=1, force_zeros_for_pooled_projection=False),
    "35_medium": dict(SMALL, num_layers=3, qk_norm="rms_norm", dual_attention_layers=(1,), out_channels=None),
    "35_large": dict(SMALL, joint_attention_dim=None, use_pos_embed=False),
    "unplaced": dict(SMALL, num_layers=1, pos_embed_type=None),
}


def plain(config):
    return {k: v for k, v in config.items() if not k.startswith("_")}


def transformers():
    for name, config in TRANSFORMERS.items():
        net = randomize(SD3Transformer2DModel(**config))
        net.pos_embed.pos_embed.copy_(net.pos_embed.pos_embed.half())
        tensors = {f"weights/{k}": v for k, v in weights(net).items()}
        for r, run in enumerate(RUNS):
            batch, height, width = run["shape"]
            given = dict(sample=x(batch, net.config.in_channels, height, width), encoderHiddenStates=x(batch, run["tokens"], 12), pooledProjections=x(batch, 10))
            control = [x(batch, height * width // 4, net.inner_dim) for _ in range(run.get("control", 0))]
            with torch.no_grad():
                out = net(given["sample"], given["encoderHiddenStates"], given["pooledProjections"], torch.tensor(run["timestep"]).expand(batch),
                          block_controlnet_hidden_states=control or None, skip_layers=run.get("skip")).sample
            tensors |= {f"{r}/{k}": channels_last(v) for k, v in dict(given, out=out).items()} | {f"{r}/control/{i}": v for i, v in enumerate(control)}
        save(f"models/sd3_transformer_{name}", tensors, {"config": plain(net.config), "runs": RUNS})


def controlnets():
    for name, config in CONTROLNETS.items():
        net = randomize(SD3ControlNetModel(**config))
        tensors = {f"weights/{k}": v for k, v in weights(net).items()}
        if net.pos_embed is not None and net.pos_embed.pos_embed is not None:
            net.pos_embed.pos_embed.copy_(net.pos_embed.pos_embed.half())
        runs = [dict(timestep=876.5, scale=1.0), dict(timestep=12.34, scale=0.7)]
        for r, run in enumerate(runs):
            batch, height, width = ((2, 8, 6), (1, 4, 10))[r]
            sample = x(batch, 4, height, width) if net.pos_embed is not None else x(batch, height * width // 4, 8)
            given = dict(sample=sample, pooledProjections=x(batch, 10), controlnetCond=x(batch, 4 + net.config.extra_conditioning_channels, height, width))
            text = None if net.config.joint_attention_dim is None else x(batch, 5, 12)
            with torch.no_grad():
                out = net(sample, given["controlnetCond"], run["scale"], text, given["pooledProjections"], torch.tensor(run["timestep"]).expand(batch), return_dict=False)[0]
            tensors |= {f"{r}/{k}": channels_last(v) for k, v in given.items()} | {f"{r}/out/{i}": v for i, v in enumerate(out)}
            if text is not None:
                tensors[f"{r}/encoderHiddenStates"] = text
        save(f"models/sd3_controlnet_{name}", tensors, {"config": plain(net.config), "runs": runs})


def generate():
    transformers(), controlnets()
