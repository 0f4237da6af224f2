"""The bundled model as diffusers has it, of the files in models/shapes, whose weights lie as this library has them."""
from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors import safe_open
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

MODEL = Path(__file__).parents[1] / "shapes"


def state_dict(model, file):
    """Our layout -> torch's: linear weights, 1x1 convolutions among them, are stored [in, out], convolutions [height, width, in, out]."""
    with safe_open(file, "pt") as f:
        tensors = {k: f.get_tensor(k).float() for k in f.keys()}
        assert f.metadata()["format"] == "tfjs"
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            ours = tensors[f"{name}.weight"]
            tensors[f"{name}.weight"] = (ours.T if ours.ndim == 2 else ours.permute(3, 2, 0, 1)).reshape(module.weight.shape)
    return tensors


def load(network, folder):
    """folder: within the model's, or a path of its own"""
    folder = MODEL / folder
    config = CLIPTextConfig.from_pretrained(folder) if network is CLIPTextModel else network.load_config(folder)
    model = network(config) if network is CLIPTextModel else network.from_config(config)
    (file,) = folder.glob("*.safetensors")
    model.load_state_dict(state_dict(model, file))
    return model.eval()


def pipeline():
    pipe = StableDiffusionPipeline(
        vae=load(AutoencoderKL, "vae"), unet=load(UNet2DConditionModel, "unet"), text_encoder=load(CLIPTextModel, "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(MODEL / "tokenizer"), scheduler=PNDMScheduler.from_pretrained(MODEL / "scheduler"),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe
