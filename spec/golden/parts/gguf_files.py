"""checkpoints/gguf.json.gz: what the package gguf makes of blocks of each type, and what diffusers and transformers compute with the weights of a small
GGUF file of SD1.x in stable-diffusion.cpp's names, and of a UNet alone in the form of ComfyUI-GGUF, whose matrices lie in rows of 256.

The files are written by gguf's writer, of bytes that follow a rule which the spec knows as well, so that only the hashes of the files are kept.
"""
import gzip
import hashlib
import json
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
from diffusers import AutoencoderKL, GGUFQuantizationConfig, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.quantizers.gguf.utils import GGUFParameter, dequantize_gguf_tensor
from gguf import GGMLQuantizationType as Type
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from generate import HERE, channels_last
from parts.checkpoints import clip_keys, unet_keys, vae_keys

# Of each type of blocks: where its float16 scales are, and the bits of the smallest of them.
BLOCKS = {
    "Q8_0": ((0,), 0x1000), "Q4_0": ((0,), 0x2000), "Q4_1": ((0, 2), 0x2000), "Q5_0": ((0,), 0x1C00), "Q5_1": ((0, 2), 0x1C00), "Q2_K": ((80, 82), 0x1C00),
    "Q3_K": ((108,), 0x1400), "Q4_K": ((0, 2), 0x0C00), "Q5_K": ((0, 2), 0x0800), "Q6_K": ((208,), 0x0400),
}
UNET = dict(channels=64, mult=(1, 2), blocks=1, attention=(1, 0), context=64, linear=False)
UNET_CONFIG = dict(sample_size=64, block_out_channels=(64, 128), layers_per_block=1, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                   up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), attention_head_dim=8, cross_attention_dim=64)
VAE_CONFIG = dict(block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
                  layers_per_block=1)


def hashes(number, count):
    j = np.arange(count, dtype=np.int64)
    return (31 * j * j + 17 * j + 131 * number) // 8 % 65536


def halves(number, count):
    """float16: 2^-6 to 2^-4, of either sign."""
    h = hashes(number, count)
    return (0x2400 + (h & 0x7FF) | (h >> 11 & 1) << 15).astype(np.uint16).view(np.float16)


def blocks(number, kind, count):
    """Bytes of `count` numbers."""
    size, per_block = gguf.GGML_QUANT_SIZES[Type[kind]]
    data = (hashes(number, count // size * per_block) & 255).astype(np.uint8).reshape(-1, per_block)
    places, least = BLOCKS[kind]
    for place in places:
        bits = (least + (hashes(number + place, len(data)) & 0x3FF)).astype("<u2")
        data[:, place:place + 2] = bits.view(np.uint8).reshape(-1, 2)
    return data


def kind_of(number, shape):
    """The types take turns among the matrices whose rows are whole blocks of them."""
    kind = list(BLOCKS)[number % len(BLOCKS)]
    if len(shape) == 1:
        return "F32"
    return kind if shape[-1] % gguf.GGML_QUANT_SIZES[Type[kind]][0] == 0 else "Q8_0" if shape[-1] % 32 == 0 else "F16"


def write(path, shapes, rearranged):
    """Writes the file, and gives the float32 values."""
    writer = gguf.GGUFWriter(path, "sd1")
    values = {}
    for number, (key, shape) in enumerate(shapes.items()):
        count = int(np.prod(shape))
        lies = (count // 256, 256) if rearranged and len(shape) > 1 and count % 256 == 0 and shape[-1] % 256 != 0 else shape
        if lies != shape:
            writer.add_array(f"comfy.gguf.orig_shape.{key}", [int(size) for size in shape])
        kind = kind_of(number, lies)
        if kind == "F32":
            data = (key.endswith(".weight") + halves(number, count).astype(np.float32)).astype(np.float32).reshape(lies)
            wide = data
        elif kind == "F16":
            data = halves(number, count).reshape(lies)
            wide = data.astype(np.float32)
        else:
            data = blocks(number, kind, count).reshape(*lies[:-1], -1)
            wide = gguf.quants.dequantize(data, Type[kind]).reshape(lies)
            by_diffusers = dequantize_gguf_tensor(GGUFParameter(torch.from_numpy(data.copy()), quant_type=Type[kind]))
            assert np.allclose(by_diffusers.float().numpy(), wide, rtol=2e-3, atol=1e-4)  # it computes in float16
        writer.add_tensor(key, data, raw_dtype=None if kind in ("F32", "F16") else Type[kind])
        values[key] = torch.from_numpy(np.ascontiguousarray(wide.reshape(shape)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def rounded(tensor):
    return [float(f"{value:.6g}") for value in channels_last(tensor).flatten().tolist()]


def generate():
    golden = {"blocks": {}}
    for number, kind in enumerate(BLOCKS):
        wide = gguf.quants.dequantize(blocks(number, kind, 2048), Type[kind]).astype(np.float32) + np.float32(0)  # no -0
        golden["blocks"][kind] = {"digest": digest(wide.tobytes()), "first": [float(value) for value in wide.flatten()[:40]]}

    text = CLIPTextConfig(vocab_size=49408, hidden_size=64, intermediate_size=256, num_attention_heads=1, num_hidden_layers=2, hidden_act="quick_gelu")
    text.architectures = ["CLIPTextModel"]
    unet = unet_keys(**UNET)
    shapes = {f"model.diffusion_model.{k}": v for k, v in unet.items()} | {
        f"first_stage_model.{k}": v for k, v in vae_keys(channels=32, mult=(1, 1), blocks=1).items()} | {
        f"cond_stage_model.transformer.{k}": v for k, v in clip_keys(text).items()}
    shapes = {k: v for k, v in shapes.items() if not k.endswith("position_ids")}
    torch.manual_seed(0)
    sample, states, latents = torch.randn(2, 4, 8, 8), torch.randn(2, 7, 64), torch.randn(1, 4, 4, 4)
    ids = torch.tensor([[49406, 320, 736, 7178, 49407], [49406, 1, 2, 3, 49407]])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        values = write(folder / "model.gguf", shapes, False)
        save_file(values, folder / "model.safetensors")
        config = folder / "config"
        with torch.device("meta"):
            UNet2DConditionModel(**UNET_CONFIG).save_config(config / "unet")
            AutoencoderKL(**VAE_CONFIG).save_config(config / "vae")
        text.save_pretrained(config / "text_encoder")
        PNDMScheduler().save_config(config / "scheduler")
        (config / "model_index.json").write_text(json.dumps({
            "_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
            "text_encoder": ["transformers", "CLIPTextModel"], "scheduler": ["diffusers", "PNDMScheduler"], "tokenizer": ["transformers", "CLIPTokenizer"],
            "safety_checker": [None, None], "feature_extractor": [None, None]}))
        pipe = StableDiffusionPipeline.from_single_file(
            str(folder / "model.safetensors"), config=str(config), tokenizer=None, safety_checker=None, feature_extractor=None)
        assert isinstance(pipe.text_encoder, CLIPTextModel)
        alone = write(folder / "unet.gguf", unet, True)
        save_file({f"model.diffusion_model.{key}": value for key, value in alone.items()}, folder / "unet.safetensors")
        single = UNet2DConditionModel.from_single_file(str(folder / "unet.safetensors"), config=str(config / "unet"))
        quantized = UNet2DConditionModel.from_single_file(
            str(folder / "model.gguf"), config=str(config), subfolder="unet", torch_dtype=torch.float32,
            quantization_config=GGUFQuantizationConfig(compute_dtype=torch.float32))
        golden["files"] = {
            kind: {"digest": digest((folder / f"{kind}.gguf").read_bytes()), "shapes": {key: list(shape) for key, shape in of.items()}}
            for kind, of in (("model", shapes), ("unet", unet))}
    with torch.no_grad():
        inputs = {"sample": rounded(sample), "states": rounded(states), "latents": rounded(latents)}
        sample, states, latents = (torch.tensor(inputs[key]) for key in inputs)
        sample, latents = sample.reshape(2, 8, 8, 4).permute(0, 3, 1, 2), latents.reshape(1, 4, 4, 4).permute(0, 3, 1, 2)
        states = states.reshape(2, 7, 64)
        expected = pipe.unet(sample, 500, states).sample
        assert torch.allclose(quantized(sample, 500, states).sample, expected, atol=2e-3 * expected.abs().max()), "diffusers' own reader computes in float16"
        golden |= {"inputs": inputs, "ids": ids.tolist(), "outputs": {
            "unet": rounded(pipe.unet(sample, 500, states).sample), "single": rounded(single(sample, 500, states).sample),
            "vae": rounded(pipe.vae.decode(latents).sample), "text": rounded(pipe.text_encoder(ids).last_hidden_state)}}
    path = HERE / "checkpoints/gguf.json.gz"
    path.write_bytes(gzip.compress(json.dumps(golden).encode(), 9, mtime=0))
    print(path.relative_to(HERE), f"{path.stat().st_size / 1e6:.3f} MB")
