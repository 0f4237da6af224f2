"""A small random safety checker, and what it hides of the tiny pipeline's pictures."""
import copy

import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker, cosine_distance
from transformers import CLIPConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from generate import HERE, channels_last, save
from parts.layers import randomize
from parts.pipelines import TINY, picture, quiet, seeded

VISION = dict(hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, image_size=12, patch_size=5)
PROJECTED = 8
FOLDER = HERE / "pipelines/safety_checker"
PROMPTS = ["a red star on a road", "an on at"]
RUNS = dict(two=dict(seeds=[0, 1], steps=3), batch=dict(seeds=[2, 3, 4, 5], steps=3, prompts=2, num_images_per_prompt=2), begun=dict(seeds=6, steps=4, strength=0.5))


def cosines(checker, pixels):
    embeds = checker.visual_projection(checker.vision_model(pixels)[1])
    return cosine_distance(embeds, checker.concept_embeds), cosine_distance(embeds, checker.special_care_embeds)


@torch.no_grad()
def generate():
    checker = randomize(StableDiffusionSafetyChecker(CLIPConfig(vision_config=VISION, text_config=dict(hidden_size=4, num_attention_heads=1), projection_dim=PROJECTED)))
    processor = CLIPImageProcessorPil(size=VISION["image_size"], crop_size=VISION["image_size"])
    seen = [picture(i, 20, 20 + i) for i in range(6)]
    pixels = processor(seen, return_tensors="pt").pixel_values
    concepts, special = cosines(checker, pixels)
    # One of six pictures calls for care, and is near a concept only therefore; another, which does not, is near another concept.
    checker.concept_embeds_weights.fill_(2.0)
    checker.special_care_embeds_weights.fill_(2.0)
    order = special[:, 1].argsort(descending=True)
    cared = order[0].item()
    checker.special_care_embeds_weights[1] = special[order[:2], 1].mean()
    ahead = concepts - concepts[cared]
    near, concept = divmod(ahead.argmax().item(), concepts.shape[1])
    checker.concept_embeds_weights[concept] = concepts[near, concept] - 0.002
    other = (concepts[cared] - concepts.sum(0)).argmax().item()
    checker.concept_embeds_weights[other] = concepts[cared, other] + 0.005
    tensors = {"pixels": channels_last(pixels), "concepts": concepts, "special": special}
    detected = checker(clip_input=pixels, images=[np.zeros((2, 2, 3))] * len(seen))[1]
    tensors |= {f"weights/{k}": v for k, v in checker.state_dict().items() if not k.endswith("position_ids")}

    pipe = quiet(StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False))
    begun, cases = picture(99, 16, 16), {}
    tensors["begun"] = np.asarray(begun)[None]
    made = {}
    for name, run in RUNS.items():
        kwargs = {k: run[k] for k in ("num_images_per_prompt", "strength") if k in run}
        Pipeline, more = (StableDiffusionImg2ImgPipeline, dict(image=begun)) if "strength" in run else (StableDiffusionPipeline, {})
        made[name] = lambda checker, run=run, kwargs=kwargs, Pipeline=Pipeline, more=more: quiet(Pipeline(
            **(pipe.components | dict(safety_checker=checker, feature_extractor=processor)), requires_safety_checker=False))(
                PROMPTS[: run.get("prompts", 1)] if "strength" in run or run.get("prompts") else PROMPTS[:1] * len(run["seeds"]), generator=seeded(run["seeds"]), num_inference_steps=run["steps"], output_type="np", **kwargs, **more)
    plain = np.concatenate([made[name](None).images for name in RUNS])
    mine = copy.deepcopy(checker)
    concepts, _ = cosines(mine, processor([(each * 255).round().astype(np.uint8) for each in plain], return_tensors="pt", input_data_format="channels_last").pixel_values)
    mine.concept_embeds_weights.fill_(2.0)
    mine.special_care_embeds_weights.fill_(2.0)
    mine.concept_embeds_weights[2] = concepts[:, 2].sort().values[-4:-2].mean()  # three of them are near
    mine.half().save_pretrained(FOLDER)
    loaded = StableDiffusionSafetyChecker.from_pretrained(FOLDER, dtype=torch.float32)
    for name, run in RUNS.items():
        out = made[name](loaded)
        tensors[f"{name}/images"] = (out.images * 255).round().astype(np.uint8)
        cases[name] = dict(run, detected=out.nsfw_content_detected)
    save("models/safety_checker", tensors, {"config": dict(projection_dim=PROJECTED, vision_config=VISION), "detected": detected, "cases": cases, "prompts": PROMPTS})
    print(detected, cases)
