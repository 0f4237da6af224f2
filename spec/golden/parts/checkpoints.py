"""checkpoints/*: single files and pickles that the converter reads.

ldm.json.gz: the keys and shapes of full-size SD1.5, SD2.1, SDXL and SDXL refiner files, and which key diffusers makes each of its own weights of.
vae.ckpt: a small VAE by CompVis' names, with vae.safetensors holding what diffusers decodes and encodes with it.
state.ckpt, legacy.bin: small files of torch.save, with state.safetensors holding the values.
"""
import gzip
import json
from collections import OrderedDict
from itertools import count

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders import single_file_utils as ldm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from generate import HERE, channels_last, save


def layer(name, *shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def norm(name, size):
    return layer(name, size)


def unet_keys(channels, mult, blocks, attention, context, linear, depth=None, added=None, up_depth=None, middle="attention", seen=4, classes=None, only_cross=()):
    """CompVis' UNetModel (openaimodel.py), as its constructor builds it; `added`: features told besides; `seen`: channels; `classes`: how many;
    `only_cross`: the levels whose transformers attend to the text alone.

    `depth`: transformer blocks of each level, or of each of its layers. What is distilled from SDXL has others on the way up (`up_depth`, of the levels
    from the outermost on as well), and in the `middle` one "resnet" or nothing (None).
    """
    depth = depth or [1] * len(mult)
    up_depth = up_depth or depth
    keys = {}
    add = keys.update
    proj = (lambda n, o, i: layer(n, o, i)) if linear else (lambda n, o, i: layer(n, o, i, 1, 1))

    def resnet(name, inner, outer):
        add(norm(f"{name}.in_layers.0", inner) | layer(f"{name}.in_layers.2", outer, inner, 3, 3) | layer(f"{name}.emb_layers.1", outer, 4 * channels))
        add(norm(f"{name}.out_layers.0", outer) | layer(f"{name}.out_layers.3", outer, outer, 3, 3))
        if inner != outer:
            add(layer(f"{name}.skip_connection", outer, inner, 1, 1))

    def transformer(name, size, count, level=None):
        add(norm(f"{name}.norm", size) | proj(f"{name}.proj_in", size, size) | proj(f"{name}.proj_out", size, size))
        for i in range(count):
            transformer_block(f"{name}.transformer_blocks.{i}", size, context if level in only_cross else size)

    def transformer_block(block, size, first_dim):
        for i in (1, 2, 3):
            add(norm(f"{block}.norm{i}", size))
        for attn, keys_dim in (("attn1", first_dim), ("attn2", context)):
            add({f"{block}.{attn}.to_q.weight": (size, size), f"{block}.{attn}.to_k.weight": (size, keys_dim), f"{block}.{attn}.to_v.weight": (size, keys_dim)})
            add(layer(f"{block}.{attn}.to_out.0", size, size))
        add(layer(f"{block}.ff.net.0.proj", 8 * size, size) | layer(f"{block}.ff.net.2", size, 4 * size))

    def depth_at(depths, level, j):
        return depths[level][j] if isinstance(depths[level], (list, tuple)) else depths[level]

    if added:
        add(layer("label_emb.0.0", 4 * channels, added) | layer("label_emb.0.2", 4 * channels, 4 * channels))
    if classes:
        add({"label_emb.weight": (classes, 4 * channels)})
    add(layer("time_embed.0", 4 * channels, channels) | layer("time_embed.2", 4 * channels, 4 * channels) | layer("input_blocks.0.0", channels, seen, 3, 3))
    skips, size, number = [channels], channels, count(1)
    for level, m in enumerate(mult):
        for j in range(blocks):
            i = next(number)
            resnet(f"input_blocks.{i}.0", size, m * channels)
            size = m * channels
            if attention[level]:
                transformer(f"input_blocks.{i}.1", size, depth_at(depth, level, j), level)
            skips.append(size)
        if level + 1 < len(mult):
            add(layer(f"input_blocks.{next(number)}.0.op", size, size, 3, 3))
            skips.append(size)
    if middle:
        resnet("middle_block.0", size, size)
    if middle == "attention":
        transformer("middle_block.1", size, depth_at(depth, -1, 0))
        resnet("middle_block.2", size, size)
    number = count()
    for level, m in reversed(list(enumerate(mult))):
        for j in range(blocks + 1):
            i = next(number)
            resnet(f"output_blocks.{i}.0", size + skips.pop(), m * channels)
            size = m * channels
            if attention[level]:
                transformer(f"output_blocks.{i}.1", size, depth_at(up_depth, level, j), level)
            if level and j == blocks:
                add(layer(f"output_blocks.{i}.{2 if attention[level] else 1}.conv", size, size, 3, 3))
    return keys | norm("out.0", size) | layer("out.2", 4, size, 3, 3)


def vae_keys(channels=128, mult=(1, 2, 4, 4), blocks=2):
    """CompVis' AutoencoderKL."""
    keys = {}

    def resnet(name, inner, outer):
        keys.update(norm(f"{name}.norm1", inner) | layer(f"{name}.conv1", outer, inner, 3, 3) | norm(f"{name}.norm2", outer) | layer(f"{name}.conv2", outer, outer, 3, 3))
        if inner != outer:
            keys.update(layer(f"{name}.nin_shortcut", outer, inner, 1, 1))

    def mid(name, size):
        resnet(f"{name}.mid.block_1", size, size)
        keys.update(norm(f"{name}.mid.attn_1.norm", size))
        for part in ("q", "k", "v", "proj_out"):
            keys.update(layer(f"{name}.mid.attn_1.{part}", size, size, 1, 1))
        resnet(f"{name}.mid.block_2", size, size)

    size = channels
    keys.update(layer("encoder.conv_in", channels, 3, 3, 3))
    for level, m in enumerate(mult):
        for j in range(blocks):
            resnet(f"encoder.down.{level}.block.{j}", size, m * channels)
            size = m * channels
        if level + 1 < len(mult):
            keys.update(layer(f"encoder.down.{level}.downsample.conv", size, size, 3, 3))
    mid("encoder", size)
    keys.update(norm("encoder.norm_out", size) | layer("encoder.conv_out", 8, size, 3, 3) | layer("decoder.conv_in", size, 4, 3, 3))
    mid("decoder", size)
    for level, m in reversed(list(enumerate(mult))):
        for j in range(blocks + 1):
            resnet(f"decoder.up.{level}.block.{j}", size, m * channels)
            size = m * channels
        if level:
            keys.update(layer(f"decoder.up.{level}.upsample.conv", size, size, 3, 3))
    keys.update(norm("decoder.norm_out", size) | layer("decoder.conv_out", 3, size, 3, 3))
    return keys | layer("quant_conv", 8, 8, 1, 1) | layer("post_quant_conv", 4, 4, 1, 1)


def clip_keys(config):
    with torch.device("meta"):
        state = CLIPTextModel(config).state_dict()
    return {f"text_model.{k}": tuple(v.shape) for k, v in state.items()} | {"text_model.embeddings.position_ids": (1, 77)}


def open_clip_keys(size, layers):
    """The text half of open_clip's CLIP."""
    keys = {"positional_embedding": (77, size), "text_projection": (size, size), "logit_scale": (), "token_embedding.weight": (49408, size)}
    for i in range(layers):
        block = f"transformer.resblocks.{i}"
        keys |= {f"{block}.attn.in_proj_weight": (3 * size, size), f"{block}.attn.in_proj_bias": (3 * size,)} | layer(f"{block}.attn.out_proj", size, size)
        keys |= norm(f"{block}.ln_1", size) | norm(f"{block}.ln_2", size) | layer(f"{block}.mlp.c_fc", 4 * size, size) | layer(f"{block}.mlp.c_proj", size, 4 * size)
    return keys | norm("ln_final", size)


SD1_TEXT = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12, hidden_act="quick_gelu")
SD2_TEXT = CLIPTextConfig(hidden_size=1024, intermediate_size=4096, num_attention_heads=16, num_hidden_layers=23, hidden_act="gelu")
XL_TEXT = CLIPTextConfig(hidden_size=1280, intermediate_size=5120, num_attention_heads=20, num_hidden_layers=32, hidden_act="gelu", projection_dim=1280)
XL = dict(use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256, sample_size=128)
# Of each: CompVis' UNet, diffusers' config of it, and the text encoders: their config, prefix and keys.
GENERATIONS = {
    "sd1": (dict(channels=320, mult=(1, 2, 4, 4), blocks=2, attention=(1, 1, 1, 0), context=768, linear=False),
            dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
            {"text_encoder": (SD1_TEXT, "cond_stage_model.transformer.", clip_keys(SD1_TEXT))}),
    "sd2": (dict(channels=320, mult=(1, 2, 4, 4), blocks=2, attention=(1, 1, 1, 0), context=1024, linear=True),
            dict(sample_size=96, cross_attention_dim=1024, attention_head_dim=[5, 10, 20, 20], use_linear_projection=True),
            {"text_encoder": (SD2_TEXT, "cond_stage_model.model.", open_clip_keys(1024, 24))}),
    "xl": (dict(channels=320, mult=(1, 2, 4), blocks=2, attention=(0, 1, 1), depth=(1, 2, 10), context=2048, linear=True, added=2816),
           dict(cross_attention_dim=2048, attention_head_dim=[5, 10, 20], block_out_channels=(320, 640, 1280), transformer_layers_per_block=[1, 2, 10],
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), projection_class_embeddings_input_dim=2816,
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), **XL),
           {"text_encoder": (SD1_TEXT, "conditioner.embedders.0.transformer.", clip_keys(SD1_TEXT)),
            "text_encoder_2": (XL_TEXT, "conditioner.embedders.1.model.", open_clip_keys(1280, 32))}),
    "refiner": (dict(channels=384, mult=(1, 2, 4, 4), blocks=2, attention=(0, 1, 1, 0), depth=(4, 4, 4, 4), context=1280, linear=True, added=2560),
                dict(cross_attention_dim=1280, attention_head_dim=[6, 12, 24, 24], block_out_channels=(384, 768, 1536, 1536),
                     transformer_layers_per_block=4, projection_class_embeddings_input_dim=2560,
                     down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
                     up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), **XL),
                {"text_encoder_2": (XL_TEXT, "conditioner.embedders.0.model.", open_clip_keys(1280, 32))}),
}
ADDED = ("addition_embed_type", "addition_time_embed_dim", "projection_class_embeddings_input_dim", "transformer_layers_per_block")
VAE = dict(block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
           layers_per_block=2, latent_channels=4)


def sources(converted, model, names):
    """diffusers key -> [LDM key, which third of it], by the numbers that the converted tensors hold; the shapes must be the model's."""
    expected = {k.removeprefix("text_model."): tuple(v.shape) for k, v in model.state_dict().items()}
    converted = {k.removeprefix("text_model."): v for k, v in converted.items()}
    converted = {k: v for k, v in converted.items() if not k.endswith("position_ids") and (k in expected or not k.startswith("text_projection"))}
    assert {k: tuple(v.shape) for k, v in converted.items()} == expected
    tags = {k: int(v.flatten()[0]) for k, v in converted.items()}
    return {k: [names[tag // 3], tag % 3] for k, tag in tags.items()}


def tagged(number, key, shape):
    """A tensor full of 3 * number, and in the fused projections of 3 * number + the third."""
    if ".in_proj_" not in key:
        return torch.full((), 3.0 * number).expand(shape)
    thirds = (3.0 * number + torch.arange(3)).repeat_interleave(shape[0] // 3)
    return thirds.reshape(-1, *[1] * (len(shape) - 1)).expand(shape)


def ldm_golden():
    golden = {}
    for name, (unet, unet_config, texts) in GENERATIONS.items():
        is_xl = name in ("xl", "refiner")
        shapes = {f"model.diffusion_model.{k}": v for k, v in unet_keys(**unet).items()}
        shapes |= {f"first_stage_model.{k}": v for k, v in vae_keys().items()}
        shapes |= {f"{prefix}{k}": v for _, prefix, text in texts.values() for k, v in text.items()}
        names = list(shapes)
        checkpoint = {key: tagged(i, key, shapes[key]) for i, key in enumerate(names)}
        with torch.device("meta"):
            vae = dict(VAE, scaling_factor=0.13025, force_upcast=True) if is_xl else VAE
            models = {"unet": UNet2DConditionModel(**unet_config), "vae": AutoencoderKL(**vae)}
            models |= {part: (CLIPTextModelWithProjection if part.endswith("2") else CLIPTextModel)(config) for part, (config, *_) in texts.items()}
        converted = {part: ldm.convert_ldm_clip_checkpoint(checkpoint, prefix) if prefix.endswith("transformer.")
                     else ldm.convert_open_clip_checkpoint(models[part], checkpoint, prefix) for part, (_, prefix, _) in texts.items()}
        converted |= {
            "unet": ldm.convert_ldm_unet_checkpoint(checkpoint, models["unet"].config),
            "vae": ldm.convert_ldm_vae_checkpoint(checkpoint, models["vae"].config),
        }
        golden[name] = {
            "shapes": shapes,
            "sources": {part: sources(converted[part], model, names) for part, model in models.items()},
            "unet": {k: models["unet"].config[k] for k in (
                "sample_size", "in_channels", "out_channels", "down_block_types", "up_block_types", "block_out_channels", "layers_per_block",
                "cross_attention_dim", "attention_head_dim", "use_linear_projection", "norm_num_groups", *(ADDED if is_xl else ()))},
            "vae": {k: models["vae"].config[k] for k in (
                "in_channels", "out_channels", "latent_channels", "block_out_channels", "down_block_types", "up_block_types", "layers_per_block",
                "norm_num_groups", "scaling_factor", "use_quant_conv", "use_post_quant_conv", *(("force_upcast",) if is_xl else ()))},
            **{part: {k: getattr(config, k) for k in (
                "vocab_size", "hidden_size", "max_position_embeddings", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act",
                "layer_norm_eps", *(("projection_dim",) if part.endswith("2") else ()))} for part, (config, *_) in texts.items()},
        }
    path = HERE / "checkpoints" / "ldm.json.gz"
    path.write_bytes(gzip.compress(json.dumps(golden).encode(), 9, mtime=0))
    print(path.relative_to(HERE), f"{path.stat().st_size / 1e6:.2f} MB")


def torch_files():
    dtypes = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
    state = OrderedDict((str(dtype).removeprefix("torch."), (torch.randn(3, 4) * 50).abs().to(dtype)) for dtype in dtypes)
    state["bool"] = torch.tensor([True, False])
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.zeros(2, 0, 3)
    state["transposed"] = torch.randn(4, 3, 2).permute(2, 0, 1)
    state["view"] = torch.randn(10)[3:7]
    state["expanded"] = torch.randn(5, 2)[:, :1].expand(5, 2)
    state["tied"] = state["float32"]
    state["parameter"] = torch.nn.Parameter(torch.randn(2))
    extra = {"global_step": 875000, "epoch": 3, "big": 10**20, "lr": [1e-4, -1, -70000, (None, True, b"\x80bytes")], "metadata": {1: "one", (2, 3): "two"}}
    torch.save({"state_dict": state, **extra, "optimizer_states": [{"state": {0: {"exp_avg": torch.randn(3)}}}]}, HERE / "checkpoints" / "state.ckpt")
    torch.save({"state_dict": {k: v for k, v in state.items() if k != "expanded"}}, HERE / "checkpoints" / "legacy.bin", _use_new_zipfile_serialization=False)
    as_float = {k: v.detach().to(torch.float64 if v.dtype in (torch.int64, torch.float64) else torch.float32) for k, v in state.items()}
    save("checkpoints/state", {k: v.contiguous().clone() for k, v in as_float.items()})


def vae_file():
    state = {k: torch.randn(shape) * 0.5 / max(1, shape[-1] * shape[1] if len(shape) == 4 else 4) + (len(shape) == 1 and k.endswith("weight"))
             for k, shape in vae_keys(channels=32, mult=(1, 1), blocks=1).items()}
    state = {k: v.half() for k, v in state.items()}
    torch.save({"state_dict": state | {"loss.logvar": torch.zeros(())}, "global_step": 5}, HERE / "checkpoints" / "vae.ckpt")
    vae = AutoencoderKL(block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, layers_per_block=1)
    vae.load_state_dict({k: v.float() for k, v in ldm.convert_ldm_vae_checkpoint(state, vae.config).items()})
    latents, image = torch.randn(1, 4, 3, 5), torch.rand(1, 3, 6, 8) * 2 - 1
    with torch.no_grad():
        values = {"latents": latents, "decoded": vae.decode(latents).sample, "image": image, "mean": vae.encode(image).latent_dist.mean}
    save("checkpoints/vae", {k: channels_last(v) for k, v in values.items()})


def generate():
    (HERE / "checkpoints").mkdir(exist_ok=True)
    ldm_golden()
    torch_files()
    vae_file()
