"""A text encoder in the folder of a whole CLIP, and what transformers loads of it."""
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextModel, CLIPTextModelWithProjection

from generate import HERE, save
from parts.layers import randomize

FOLDER = HERE / "models" / "clip"
TEXT = dict(vocab_size=30, hidden_size=16, intermediate_size=24, num_hidden_layers=2, max_position_embeddings=7, projection_dim=10, eos_token_id=5)
VISION = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=8, patch_size=4)


@torch.no_grad()
def generate():
    clip = CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=10))
    for part in clip.children():
        randomize(part)
    clip.half().save_pretrained(FOLDER)
    ids = torch.tensor([[7, 3, 5, 9], [5, 1, 2, 5]])
    out = CLIPTextModelWithProjection.from_pretrained(FOLDER, dtype=torch.float32)(ids)
    last = CLIPTextModel.from_pretrained(FOLDER, dtype=torch.float32)(ids).last_hidden_state
    save("models/clip_text", {"last": last, "embeds": out.text_embeds}, {"inputIds": ids.tolist()})
