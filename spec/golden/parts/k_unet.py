"""UNets of k-diffusion's blocks, as the latent upscaler's, and their layers on their own; what the latent upscaler makes with one of them."""
import numpy as np
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionLatentUpscalePipeline, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.downsampling import KDownsample2D
from diffusers.models.normalization import AdaGroupNorm
from diffusers.models.resnet import ResnetBlockCondNorm2D
from diffusers.models.unets.unet_2d_blocks import KAttentionBlock
from diffusers.models.upsampling import KUpsample2D

from generate import HERE, channels_last, save
from parts.layers import randomize, weights
from parts.models import x
from parts.pipelines import ROAD, STAR, TINY, picture, quiet, seeded

K = dict(act_fn="gelu", attention_head_dim=8, norm_num_groups=None, in_channels=8, out_channels=5, conv_in_kernel=1, conv_out_kernel=1, mid_block_type=None,
         cross_attention_dim=16, resnet_time_scale_shift="scale_shift", time_embedding_type="fourier", timestep_post_act="gelu")
UNETS = {
    # The innermost attends, also to itself, and the way up goes on from it.
    "k": dict(K, block_out_channels=(32, 32), layers_per_block=[1, 2], time_embedding_dim=32, time_cond_proj_dim=144,
              down_block_types=("KDownBlock2D", "KCrossAttnDownBlock2D"), up_block_types=("KCrossAttnUpBlock2D", "KUpBlock2D")),
    # The way up joins the innermost, and attends with other channels than before.
    "k_joined": dict(K, block_out_channels=(32, 33), layers_per_block=1, norm_num_groups=8, time_embedding_dim=8, flip_sin_to_cos=False, timestep_post_act=None, attention_head_dim=[4, 16],
                     in_channels=4, out_channels=4, down_block_types=("KCrossAttnDownBlock2D", "KDownBlock2D"), up_block_types=("KCrossAttnUpBlock2D", "KUpBlock2D")),
}
SCHEDULING = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="original_sample")
# name -> (prompt, options). image: seeds of pictures; size: of these; latents: those to begin from; low: the seed of latents as the picture
CASES = {
    "default": (STAR, dict(seeds=0, steps=4)),
    "no_text": (ROAD, dict(seeds=1, steps=4, guidance_scale=0)),
    "unguided": (ROAD, dict(seeds=2, steps=4, guidance_scale=1.0)),
    "negative": (ROAD, dict(seeds=3, steps=5, guidance_scale=3.0, negative_prompt="red")),
    "wide": (STAR, dict(seeds=4, steps=3, size=(12, 20))),
    "bicubic": (STAR, dict(seeds=5, steps=3, size=(17, 13))),
    "latents": (STAR, dict(seeds=6, steps=4, low=70, guidance_scale=2.0)),
    "list": ([STAR, ROAD], dict(seeds=[7, 8], steps=3, image=[1, 2], negative_prompt=["red", "blue"])),
    "given_noise": (STAR, dict(seeds=9, steps=3, latents=10)),
    "embeds": (ROAD, dict(seeds=11, steps=3, embeds=True)),
    "picture": (STAR, dict(seeds=12, steps=3, picture=True)),
}
OURS = ("seeds", "steps", "image", "size", "latents", "low", "embeds", "picture")


def layers():
    tensors, meta = {}, []
    made = [
        ("AdaGroupNorm", [12, 64, 2, 1e-4], randomize(AdaGroupNorm(12, 64, 2, eps=1e-4)), lambda b, h, w: (x(b, 64, h, w), x(b, 12))),
        ("ResnetBlockCondNorm2D", [{"inChannels": 36, "outChannels": 32, "midChannels": 32, "tembChannels": 12, "groups": [1, 1], "epsilon": 1e-5}],
         randomize(ResnetBlockCondNorm2D(in_channels=36, out_channels=32, temb_channels=12, groups=1, groups_out=1, eps=1e-5, non_linearity="gelu", conv_shortcut_bias=False)),
         lambda b, h, w: (x(b, 36, h, w), x(b, 12))),
        ("KAttentionBlock", [{"channels": 32, "headDim": 8, "crossAttentionDim": 10, "tembChannels": 12, "groupSize": 32, "selfAttention": True}],
         randomize(KAttentionBlock(32, 4, 8, cross_attention_dim=10, temb_channels=12, attention_bias=True, add_self_attention=True, cross_attention_norm="layer_norm", group_size=32)),
         lambda b, h, w: (x(b, 32, h, w), x(b, 12), x(b, 3, 10))),
        ("blurHalve", [], KDownsample2D(), lambda b, h, w: (x(b, 3, h, w),)),
        ("blurDouble", [], KUpsample2D(), lambda b, h, w: (x(b, 3, h, w),)),
    ]
    for i, (name, args, module, inputs) in enumerate(made):
        tensors |= {f"{i}/weights/{k}": v for k, v in weights(module).items()}
        for r, shape in enumerate(((2, 4, 6), (1, 5, 3))):
            given = inputs(*shape)
            call = (lambda *a: module(a[0], encoder_hidden_states=a[2], emb=a[1])) if name == "KAttentionBlock" else module
            tensors |= {f"{i}/{r}/in/{n}": channels_last(v) for n, v in enumerate(given)} | {f"{i}/{r}/out": channels_last(call(*given))}
        meta.append({"layer": name, "args": args})
    save("k_layers", tensors, meta)


def networks():
    made = {}
    for name, config in UNETS.items():
        unet = randomize(UNet2DConditionModel(**config))
        if name == "k":
            unet.half().save_pretrained(HERE / "pipelines/unet_k")
            unet.float()
        tensors, timesteps = {} if name == "k" else {f"weights/{k}": v for k, v in weights(unet).items()}, []
        for r, ((batch, height, width), tokens, timestep) in enumerate((((2, 8, 6), 5, 0.66), ((1, 4, 10), 3, -1.25), ((2, 4, 4), 4, [0.5, -0.25]))):
            sample, states = x(batch, config["in_channels"], height, width), x(batch, tokens, 16)
            condition = x(batch, 144) if "time_cond_proj_dim" in config else None
            out = unet(sample, torch.tensor(timestep), states, timestep_cond=condition).sample
            tensors |= {f"{r}/sample": channels_last(sample), f"{r}/encoderHiddenStates": states, f"{r}/out": channels_last(out)}
            tensors |= {f"{r}/timestep_cond": condition} if condition is not None else {}
            timesteps.append(timestep)
        save(f"models/unet_{name}", tensors, {"config": {k: v for k, v in unet.config.items() if not k.startswith("_")}, "timesteps": timesteps})
        made[name] = unet
    return made


def pictures(unet):
    base = StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False)
    pipe = quiet(StableDiffusionLatentUpscalePipeline(vae=base.vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer, unet=unet,
                                                      scheduler=EulerDiscreteScheduler(**SCHEDULING)))
    tensors = {}
    for name, (prompt, options) in CASES.items():
        kwargs = {k: v for k, v in options.items() if k not in OURS}
        given = [picture(seed, *options.get("size", (16, 16))) for seed in options.get("image", [3])]
        kwargs["image"] = given if len(given) > 1 else given[0]
        if "low" in options:
            kwargs["image"] = torch.randn(1, 4, 5, 8, generator=seeded(options["low"]))
            tensors[f"{name}/image"] = channels_last(kwargs["image"])
        else:
            tensors[f"{name}/image"] = np.stack([np.asarray(each) for each in given])
        if "latents" in options:
            kwargs["latents"] = torch.randn(1, 4, 16, 16, generator=seeded(options["latents"]))
            tensors[f"{name}/latents"] = channels_last(kwargs["latents"])
        if options.get("embeds"):
            embeds = dict(prompt_embeds=x(1, 77, 16), negative_prompt_embeds=x(1, 77, 16), pooled_prompt_embeds=x(1, 16), negative_pooled_prompt_embeds=x(1, 16))
            kwargs |= embeds
            tensors |= {f"{name}/{k}": v for k, v in embeds.items()}
        out = pipe(None if options.get("embeds") else prompt, generator=seeded(options["seeds"]), num_inference_steps=options["steps"],
                   output_type="pt" if options.get("picture") else "latent", **kwargs).images
        tensors[f"{name}/out"] = channels_last(out)
    save("pipelines/latent_upscale", tensors, {"cases": CASES, "scheduler": SCHEDULING})


@torch.no_grad()
def generate():
    layers()
    pictures(networks()["k"])
