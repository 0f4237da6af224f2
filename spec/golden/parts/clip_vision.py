"""CLIP's image encoder at two small configs, and what its image processor makes of pictures of odd sizes."""
import numpy as np
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from generate import channels_last, save
from parts.layers import randomize, weights
from parts.pipelines import picture

MODELS = {
    "gelu": dict(hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=3, image_size=20, patch_size=6, projection_dim=10, hidden_act="gelu"),
    "quick": dict(hidden_size=16, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4, projection_dim=16, layer_norm_eps=1e-3),
}
# name -> (config, (width, height) of pictures)
PROCESSORS = {
    "default": (dict(), [(13, 31)]),
    "small": (dict(size=20, crop_size=20), [(37, 53), (200, 31), (20, 20), (5, 9), (21, 20), (91, 64)]),
    "odd": (dict(size={"shortest_edge": 33}, crop_size={"height": 21, "width": 18}), [(50, 77), (41, 40)]),
    "both": (dict(size={"height": 24, "width": 31}, crop_size=24, resample=1, image_mean=[0.5, 0.4, 0.3], image_std=[0.5, 0.6, 0.7]), [(17, 90)]),
    "plain": (dict(size=30, do_center_crop=False, do_normalize=False, rescale_factor=0.5), [(60, 91)]),
    "bytes": (dict(do_resize=False, do_rescale=False, crop_size=16), [(17, 25)]),
}


def models():
    for name, config in MODELS.items():
        model = randomize(CLIPVisionModelWithProjection(CLIPVisionConfig(**config)))
        tensors = {f"weights/{k}": v for k, v in weights(model).items() if not k.endswith("position_ids")}
        for r, batch in enumerate((2, 1)):
            pixels = torch.randn(batch, 3, config["image_size"], config["image_size"])
            with torch.no_grad():
                out = model(pixels, output_hidden_states=True)
            tensors |= {f"{r}/pixels": channels_last(pixels), f"{r}/embeds": out.image_embeds, f"{r}/last": out.last_hidden_state}
            tensors |= {f"{r}/hidden/{i}": state for i, state in enumerate(out.hidden_states)}
        save(f"models/clip_vision_{name}", tensors, {"config": config})


def processors():
    tensors = {}
    for name, (config, sizes) in PROCESSORS.items():
        for i, (width, height) in enumerate(sizes):
            image = picture(i, height, width)
            tensors[f"{name}/{i}/image"] = np.asarray(image)
            pixels = channels_last(CLIPImageProcessorPil(**config)(image, return_tensors="pt").pixel_values)
            tensors[f"{name}/{i}/pixels"] = pixels[:, ::20] if name == "default" else pixels  # some rows tell enough
    save("models/clip_image_processor", tensors, {"cases": PROCESSORS})


def generate():
    models()
    processors()
