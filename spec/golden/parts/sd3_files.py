"""checkpoints/sd3.json.gz: what diffusers' from_single_file makes of small single files of SD3 and SD3.5; the shapes of the published ones with the
configs for which diffusers takes them; which module of diffusers each of the original names is, and which key of T5 each of llama.cpp's.

The weights follow the rule of single_file.py, so that only the hashes of diffusers' files are kept.

lora/sd3_*.safetensors.gz: a LoRA in kohya's names, and what diffusers' own conversion makes of what it adds to the original weights.
"""
import gzip
import hashlib
import json
import tempfile
from pathlib import Path

import gguf
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers as to_diffusers
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from generate import HERE, save
from parts.checkpoints import clip_keys, vae_keys
from parts.single_file import digests, values

# depth, heads, the largest side in patches, norms of queries and keys, layers that attend twice
PUBLISHED = {
    "sd3_medium": dict(depth=24, heads=24, size=192),
    "sd35_medium": dict(depth=24, heads=24, size=384, norms=True, dual=range(13)),
    "sd35_large": dict(depth=38, heads=38, size=192, norms=True),
}
SMALL = {
    "sd3": dict(depth=3, heads=1, size=4, text=24, pooled=20),
    "sd35": dict(depth=3, heads=2, size=6, norms=True, dual=(0, 1), text=24, pooled=20),
}
VAE = dict(block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, layers_per_block=1,
           latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, scaling_factor=1.5305, shift_factor=0.0609, force_upcast=True, sample_size=1024)
CLIP = "text_encoders.clip_{}.transformer."
T5 = "text_encoders.t5xxl.transformer."


def linear(name, inputs, outputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def transformer_keys(depth, heads, size, norms=False, dual=(), text=4096, pooled=2048):
    """The keys of Stability's MMDiT with their shapes."""
    width = 64 * heads
    shapes = {"pos_embed": (1, size * size, width), "x_embedder.proj.weight": (width, 16, 2, 2), "x_embedder.proj.bias": (width,)}
    for name, inputs in (("t_embedder", 256), ("y_embedder", pooled)):
        shapes |= linear(f"{name}.mlp.0", inputs, width) | linear(f"{name}.mlp.2", width, width)
    shapes |= linear("context_embedder", text, width)
    for i in range(depth):
        for side in ("context_block", "x_block"):
            block, last = f"joint_blocks.{i}.{side}", side == "context_block" and i == depth - 1
            for attn in ("attn", "attn2") if side == "x_block" and i in dual else ("attn",):
                shapes |= linear(f"{block}.{attn}.qkv", width, 3 * width)
                shapes |= {} if last else linear(f"{block}.{attn}.proj", width, width)
                shapes |= {f"{block}.{attn}.ln_{x}.weight": (64,) for x in "qk"} if norms else {}
            shapes |= {} if last else linear(f"{block}.mlp.fc1", width, 4 * width) | linear(f"{block}.mlp.fc2", 4 * width, width)
            shapes |= linear(f"{block}.adaLN_modulation.1", width, (2 if last else 9 if side == "x_block" and i in dual else 6) * width)
    return shapes | linear("final_layer.linear", width, 64) | linear("final_layer.adaLN_modulation.1", width, 2 * width)


def transformer_config(depth, heads, size, norms=False, dual=(), text=4096, pooled=2048):
    return dict(sample_size=128, patch_size=2, in_channels=16, num_layers=depth, attention_head_dim=64, num_attention_heads=heads, joint_attention_dim=text,
                caption_projection_dim=64 * heads, pooled_projection_dim=pooled, out_channels=16, pos_embed_max_size=size, dual_attention_layers=list(dual),
                qk_norm="rms_norm" if norms else None)


def latent_16(vae):
    """The same autoencoder with 16 channels of latents, and no convolutions around them."""
    changed = {"encoder.conv_out.weight": (32, *vae["encoder.conv_out.weight"][1:]), "encoder.conv_out.bias": (32,),
               "decoder.conv_in.weight": (vae["decoder.conv_in.weight"][0], 16, 3, 3)}
    return {k: v for k, v in (vae | changed).items() if "quant_conv" not in k}


def t5_keys(config):
    inner, features, hidden = config.num_heads * config.d_kv, config.d_model, config.d_ff
    shapes = {"shared.weight": (config.vocab_size, features), "encoder.embed_tokens.weight": (config.vocab_size, features)}
    for i in range(config.num_layers):
        block = f"encoder.block.{i}.layer"
        shapes |= {f"{block}.0.SelfAttention.{x}.weight": (inner, features) for x in "qkv"} | {f"{block}.0.SelfAttention.o.weight": (features, inner)}
        shapes |= {f"{block}.0.SelfAttention.relative_attention_bias.weight": (32, config.num_heads)} if i == 0 else {}
        shapes |= {f"{block}.1.DenseReluDense.wi_{x}.weight": (hidden, features) for x in "01"} | {f"{block}.1.DenseReluDense.wo.weight": (features, hidden)}
        shapes |= {f"{block}.{x}.layer_norm.weight": (features,) for x in "01"}
    return shapes | {"encoder.final_layer_norm.weight": (features,)}


def config_of(model):
    return {k: v for k, v in model.config.items() if not k.startswith("_")}


def published(layout):
    """That the shapes are those that diffusers takes for the config, at full size."""
    shapes = transformer_keys(**layout)
    with torch.device("meta"):
        model = SD3Transformer2DModel(**transformer_config(**layout))
        converted = to_diffusers({key: torch.empty(shape) for key, shape in shapes.items()})
    assert {k: v.shape for k, v in converted.items()} == {k: v.shape for k, v in model.state_dict().items()}
    return {"shapes": {f"model.diffusion_model.{k}": v for k, v in shapes.items()}, "transformer": config_of(model), "count": sum(p.numel() for p in model.parameters())}


def single_file(folder, layout, texts, t5):
    first = CLIPTextConfig(vocab_size=49408, hidden_size=64, intermediate_size=128, num_attention_heads=1, num_hidden_layers=2, hidden_act="quick_gelu",
                           projection_dim=64)
    second = CLIPTextConfig(vocab_size=49408, hidden_size=128, intermediate_size=256, num_attention_heads=2, num_hidden_layers=1, hidden_act="gelu",
                            projection_dim=48)
    third = T5Config(vocab_size=40, d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=3, feed_forward_proj="gated-gelu")
    shapes = {f"model.diffusion_model.{k}": v for k, v in transformer_keys(**layout).items()}
    shapes |= {f"first_stage_model.{k}": v for k, v in latent_16(vae_keys(channels=32, mult=(1, 1), blocks=1)).items()}
    if texts:
        shapes |= {CLIP.format("l") + k: v for k, v in clip_keys(first).items()} | {CLIP.format("l") + "logit_scale": ()}
        shapes |= {CLIP.format("g") + k: v for k, v in clip_keys(second).items()} | {CLIP.format("g") + "text_projection.weight": (48, 128)}
    if t5:
        shapes |= {T5 + k: v for k, v in t5_keys(third).items()}
    file = folder / "model.safetensors"
    tensors = {key: values(i, shape) for i, (key, shape) in enumerate(shapes.items())}
    if t5:  # which are the same in published files
        tensors[T5 + "encoder.embed_tokens.weight"] = tensors[T5 + "shared.weight"].clone()
    save_file(tensors, file)

    config = folder / "config"
    with torch.device("meta"):
        SD3Transformer2DModel(**transformer_config(**layout)).save_config(config / "transformer")
        AutoencoderKL(**VAE).save_config(config / "vae")
    first.architectures = second.architectures = ["CLIPTextModelWithProjection"]
    third.architectures = ["T5EncoderModel"]
    first.save_pretrained(config / "text_encoder"), second.save_pretrained(config / "text_encoder_2"), third.save_pretrained(config / "text_encoder_3")
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_config(config / "scheduler")
    index = {"_class_name": "StableDiffusion3Pipeline", "transformer": ["diffusers", "SD3Transformer2DModel"], "vae": ["diffusers", "AutoencoderKL"],
             "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"], "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
             "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"], "text_encoder_3": ["transformers", "T5EncoderModel"],
             "tokenizer": ["transformers", "CLIPTokenizer"], "tokenizer_2": ["transformers", "CLIPTokenizer"], "tokenizer_3": ["transformers", "T5TokenizerFast"]}
    (config / "model_index.json").write_text(json.dumps(index))
    parts = ["transformer", "vae"] + ["text_encoder", "text_encoder_2"] * texts + ["text_encoder_3"] * t5
    without = {part: None for part in index if part not in (*parts, "_class_name", "scheduler")}
    pipe = StableDiffusion3Pipeline.from_single_file(str(file), config=str(config), torch_dtype=torch.float16, **without)
    assert isinstance(pipe.text_encoder, CLIPTextModelWithProjection) == texts and isinstance(pipe.text_encoder_3, T5EncoderModel) == t5
    if t5:
        pipe.text_encoder_3.half()  # of which it keeps some in float32
    pipe.save_pretrained(folder / "saved")
    saved = {part: digests(folder / f"saved/{part}/{'model' if part.startswith('text') else 'diffusion_pytorch_model'}.safetensors") for part in parts}
    assert set(saved["transformer"]) == set(pipe.transformer.state_dict()) and set(saved["vae"]) == set(pipe.vae.state_dict())
    kept = dict(text_encoder=first, text_encoder_2=second, text_encoder_3=third)
    configs = {name: kept[name].to_dict() for name in parts if name in kept}
    configs |= {"transformer": config_of(pipe.transformer), "vae": config_of(pipe.vae)}
    return {"shapes": shapes, "saved": saved, "configs": configs}


def modules(layout):
    """For each module of the original with a weight of two axes: where its rows go, as `[module, first row, last row]` in the order of diffusers'."""
    shapes = transformer_keys(**layout)
    rows = {key: torch.arange(shape[0], dtype=torch.float32).view(-1, *[1] * (len(shape) - 1)) for key, shape in shapes.items()}
    state = {key: rows[key].expand(shape).clone() + 1e5 * i for i, (key, shape) in enumerate(shapes.items())}
    found = {}
    for path, weight in to_diffusers(dict(state)).items():
        if path.endswith(".weight") and weight.ndim > 1:
            column = weight.flatten(1)[:, 0]
            key = list(shapes)[int(column[0]) // 100000]
            found.setdefault(key.removesuffix(".weight"), []).append([path.removesuffix(".weight"), (column % 1e5).int().tolist()])
    return found


def ranges(found):
    """Rows one behind the other as `[begin, end]`."""
    def short(rows):
        cuts = [0] + [i for i in range(1, len(rows)) if rows[i] != rows[i - 1] + 1] + [len(rows)]
        return [[rows[a], rows[b - 1] + 1] for a, b in zip(cuts, cuts[1:])]
    return {key: [[path, short(rows)] for path, rows in targets] for key, targets in found.items()}


def lora():
    """Low ranks on modules of the original, in float16, and what these change after diffusers' conversion of the sums with the weights: each row of the
    difference times a vector, to be small. The lengths of DoRA are converted as biases are, which lie as the rows of the weights do."""
    layout = dict(SMALL["sd35"], depth=2, heads=1, dual=(0,))
    torch.manual_seed(0)
    half = lambda *shape: torch.randn(*shape).mul(0.3).half()
    shapes = transformer_keys(**layout)
    state = {key: torch.zeros(shape) for key, shape in shapes.items()}
    names = [key.removesuffix(".weight") for key, shape in shapes.items() if key.endswith(".weight") and len(shape) == 2]
    file, changed = {}, dict(state)
    for name in names:
        outputs, inputs = shapes[f"{name}.weight"]
        flat, down, up, lengths = f"lora_unet_{name.replace('.', '_')}", half(2, inputs), half(outputs, 2), half(outputs, 1)
        file |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up, f"{flat}.alpha": torch.tensor(3.0).half(), f"{flat}.dora_scale": lengths}
        changed |= {f"{name}.weight": 1.5 * up.double() @ down.double(), f"{name}.bias": lengths.flatten().double()}
    vector = lambda inputs: torch.cos(torch.arange(inputs, dtype=torch.float64))  # in doubles, so that a second run rounds to the same floats
    found = to_diffusers(changed)
    out = {k: (v.double() @ vector(v.shape[1]) if v.ndim == 2 else v).float() for k, v in found.items() if v.ndim < 3 and v.any()}
    save("lora/sd3_out", out, {"config": transformer_config(**layout), "shapes": {k: v.shape for k, v in found.items()}, "names": names})
    save("lora/sd3_kohya", file)


def write(name, golden):
    path = HERE / "checkpoints" / f"{name}.json.gz"
    path.write_bytes(gzip.compress(json.dumps(golden).encode(), 9, mtime=0))
    print(path.relative_to(HERE), f"{path.stat().st_size / 1e6:.2f} MB")


@torch.no_grad()
def generate():
    golden = {"published": {name: published(layout) for name, layout in PUBLISHED.items()}, "small": {}}
    for name, (layout, texts, t5) in {"alone": (SMALL["sd3"], False, False), "clips": (SMALL["sd35"], True, False), "t5": (SMALL["sd3"], True, True)}.items():
        with tempfile.TemporaryDirectory() as folder:
            golden["small"][name] = single_file(Path(folder), layout, texts, t5)
    golden["modules"] = ranges(modules(SMALL["sd35"]))
    llama = gguf.get_tensor_name_map(gguf.MODEL_ARCH.T5ENCODER, 2)
    golden["llama"] = {llama.get_name(key.removesuffix(".weight")) + ".weight": key for key in golden["small"]["t5"]["saved"]["text_encoder_3"]
                       if "embed_tokens" not in key}
    write("sd3", golden)
    lora()
