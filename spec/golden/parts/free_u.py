"""FreeU: what it makes of states of several sizes, and of the pipelines of `pipelines` and `sdxl`."""
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.utils.torch_utils import apply_freeu

from generate import HERE, channels_last, save
from parts.pipelines import ROAD, STAR, TINY, quiet, seeded

SIZES = [(2, 5, 8, 8), (1, 4, 7, 9), (1, 3, 2, 5), (1, 2, 1, 6), (2, 2, 1, 1)]
SCALES = dict(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
CASES = {"plain": (STAR, dict(seed=0, steps=3)), "large": (ROAD, dict(seed=1, steps=2, height=24, width=20))}


@torch.no_grad()
def generate():
    tensors = {}
    for i, shape in enumerate(SIZES):
        state, skip = torch.randn(*shape), torch.randn(*shape)
        tensors |= {f"{i}/state": channels_last(state), f"{i}/skip": channels_last(skip)}
        for block in (0, 1):
            weighed = apply_freeu(block, state.clone(), skip.clone(), **SCALES)
            tensors |= {f"{i}/{block}/{name}": channels_last(value) for name, value in zip(("state", "skip"), weighed)}
    pipes = {
        "sd": quiet(StableDiffusionPipeline.from_pretrained(TINY, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False)),
        "xl": StableDiffusionXLPipeline.from_pretrained(HERE / "pipelines/tiny_xl", torch_dtype=torch.float32, add_watermarker=False),
    }
    pipes["xl"].set_progress_bar_config(disable=True)
    pipes["xl"].check_inputs = lambda *args, **kwargs: None  # it asks for multiples of 8
    for kind, pipe in pipes.items():
        pipe.enable_freeu(**SCALES)
        for name, (prompt, case) in CASES.items():
            size = {k: case[k] for k in ("height", "width") if k in case}
            images = pipe(prompt, num_inference_steps=case["steps"], generator=seeded(case["seed"]), output_type="latent", **size).images
            tensors[f"{kind}/{name}"] = channels_last(images)
    save("pipelines/free_u", tensors, {"scales": SCALES, "sizes": len(SIZES), "cases": CASES})
